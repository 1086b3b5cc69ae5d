"""`sync: changed` through the executable: what Fullstory has confirmed is not sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.mapping import MappingSpec
from target_fullstory.sandbox import Sandbox
from target_fullstory.snapshot import mapping_scope as mapping_scope_module
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user

Run = Callable[..., Outcome]
CHANGED = {"users": {"kind": "users", "sync": "changed"}, "events": {"kind": "events", "sync": "changed"}}


def counts(done: Outcome, stream: str) -> tuple[int, int, int]:
    assert done.code == 0, done.stderr
    found = done.block["streams"][stream]
    ends = ("delivered", "rejected", "merged", "ignored", "unchanged")
    assert found["received"] == sum(found[end] for end in ends)
    return found["received"], found["delivered"], found["unchanged"]


@pytest.fixture
def load(run_target: Run, sandbox: Sandbox) -> Run:
    def run(lines: list[Any], **config: Any) -> Outcome:
        return run_target([*lines, state(read=1)], **{"api_url": sandbox.url, "streams": CHANGED, **config})

    return run


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_unchanged_users_are_not_sent_again(load: Run, api: SandboxApi, delivery: str) -> None:
    first = [USERS, *(user(number, seats=number) for number in range(40))]
    assert counts(load(first, delivery=delivery), "users") == (40, 40, 0)
    second = [USERS, *(user(number, seats=number + (number == 7)) for number in range(41))]
    assert counts(load(second, delivery=delivery), "users") == (41, 2, 39)
    assert api.user("u7")["properties"] == {"seats": 8}
    assert counts(load(second, delivery=delivery), "users") == (41, 0, 41)


def test_an_event_is_sent_once_for_ever(load: Run, api: SandboxApi) -> None:
    made = [event(number, amount=number) for number in range(30)]
    assert counts(load([EVENTS, *made, *made]), "events") == (60, 30, 30)
    again = [EVENTS, *reversed(made), event(30, amount=1)]
    assert counts(load(again, delivery="single"), "events") == (31, 1, 30)
    # As other bytes, they are the same events all the same.
    spaced = [one.replace('"amount"', ' "amount"') for one in made]
    assert counts(load([EVENTS, *spaced]), "events") == (30, 0, 30)
    assert len(api.events()) == 31


def test_a_user_that_changes_and_changes_back_is_sent_each_time(load: Run, api: SandboxApi) -> None:
    load([USERS, user(1, seats=1)])
    there_and_back = [USERS, user(1, seats=2), user(1, seats=1)]
    done = load(there_and_back)
    assert (found := done.block["streams"]["users"]) | {"delivered": 1, "merged": 1} == found
    assert api.user("u1")["properties"] == {"seats": 1}
    # The last word counts, be it one that Fullstory has confirmed before.
    done = load([USERS, user(1, seats=1), user(1, seats=2), user(1, seats=1)], delivery="single")
    assert counts(done, "users")[2] == 1
    assert api.user("u1")["properties"] == {"seats": 1}


def test_a_column_that_is_not_sent_makes_no_difference(load: Run) -> None:
    streams = {"users": {"kind": "users", "sync": "changed", "exclude": ["read_at"]}}
    for night in range(3):
        lines = [schema("users", {"id": "string", "read_at": "string", "seats": "integer"}, ["id"])]
        lines += [
            record("users", id=f"u{one}", read_at=f"2026-01-0{night + 1}", seats=one) for one in range(9)
        ]
        assert counts(load(lines, streams=streams), "users") == (9, 0 if night else 9, 9 if night else 0)


def test_another_mapping_sends_what_it_changes(load: Run, api: SandboxApi) -> None:
    lines = [USERS, user(1, seats=1, email="one@example.com"), user(2, seats=2)]
    assert counts(load(lines), "users") == (2, 2, 0)
    streams = {"users": {"kind": "users", "sync": "changed", "fields": {"display_name": "email"}}}
    assert counts(load(lines, streams=streams), "users") == (2, 1, 1)
    assert api.user("u1")["display_name"] == "one@example.com"
    assert counts(load(lines, streams=streams), "users") == (2, 0, 2)


def test_a_setting_of_the_mapping_sends_what_it_changes(load: Run) -> None:
    lines = [USERS, user(1, seats=None), user(2, seats=1)]
    assert counts(load(lines), "users") == (2, 2, 0)
    assert counts(load(lines, null_values="send"), "users") == (2, 1, 1)
    assert counts(load(lines, null_values="send"), "users") == (2, 0, 2)


def test_a_record_that_is_to_be_validated_now_is_not_held_back(load: Run) -> None:
    lines = [USERS, user(1, seats="many"), *(user(number, seats=1) for number in range(2, 5))]
    assert counts(load(lines, validate_records=False), "users") == (4, 4, 0)
    done = load(lines, validate_records=True, max_rejected_records=None)
    assert done.block["streams"]["users"]["rejected"] == 1
    assert done.block["streams"]["users"]["unchanged"] == 3


def test_an_upgrade_compares_the_requests_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = set()
    for version in ("1.0", "1.1"):
        monkeypatch.setattr(mapping_scope_module, "version", lambda _, version=version: version)
        scopes.add(mapping_scope_module.mapping_scope(MappingSpec(kind="users"), {}, ["uid"]))
    assert len(scopes) == 2


def test_a_deleted_user_is_sent_again(load: Run, api: SandboxApi) -> None:
    streams = CHANGED | {"gone": {"kind": "user_deletions", "fields": {"uid": "uid"}}}
    load([USERS, user(1, seats=1), user(2, seats=1)])
    gone = schema("gone", {"uid": "string"})
    done = load([gone, record("gone", uid="u1"), USERS, user(1, seats=1), user(2, seats=1)], streams=streams)
    assert counts(done, "users") == (2, 1, 1)
    assert api.user("u1")["properties"] == {"seats": 1}


def test_a_stream_that_sends_everything_again_is_not_held_back(load: Run) -> None:
    """Its users are in the snapshot, and a deletion looks for them there."""
    load([USERS, *(user(number, seats=1) for number in range(3))])
    streams = {"events": CHANGED["events"], "gone": {"kind": "user_deletions", "fields": {"uid": "uid"}}}
    gone = [schema("gone", {"uid": "string"}), record("gone", uid="u2")]
    done = load([*gone, USERS, *(user(number, seats=1) for number in range(3))], streams=streams)
    assert counts(done, "users") == (3, 3, 0)


def test_users_that_were_sent_in_another_mode_meanwhile_are_sent_again(load: Run, api: SandboxApi) -> None:
    """Fullstory has what came last, and the snapshot what came before it."""
    streams = CHANGED | {"users": {"kind": "users"}}
    load([USERS, user(1, seats=1), user(2, seats=1), EVENTS, event(1, amount=1)])
    done = load([USERS, user(1, seats=2), user(2, seats=1), EVENTS], streams=streams)
    assert counts(done, "users") == (2, 2, 0)
    done = load([USERS, user(1, seats=1), user(2, seats=1), EVENTS, event(1, amount=1)])
    assert counts(done, "users") == (2, 2, 0)
    assert api.user("u1")["properties"] == {"seats": 1}
    assert counts(done, "events") == (1, 0, 1)


def test_events_that_were_sent_in_another_mode_meanwhile_stay_known(load: Run, api: SandboxApi) -> None:
    streams = CHANGED | {"events": {"kind": "events"}}
    load([EVENTS, event(1, amount=1)])
    load([USERS, EVENTS, event(2, amount=1)], streams=streams)
    assert counts(load([EVENTS, event(1, amount=1)]), "events") == (1, 0, 1)
    assert len(api.events()) == 2


@pytest.mark.parametrize("covered", [True, False])
def test_events_of_a_deleted_user_are_there_after_a_restart(
    load: Run, run_target: Run, sandbox: Sandbox, api: SandboxApi, *, covered: bool
) -> None:
    """A restart repeats the deletion, which takes the event away, unless a STATE lies behind both."""
    streams = CHANGED | {"gone": {"kind": "user_deletions", "fields": {"uid": "uid"}}}
    load([USERS, user(1, seats=1)])
    gone = [schema("gone", {"uid": "string"}), record("gone", uid="u1"), USERS, user(1, seats=1)]
    events = [EVENTS, event(1, user={"uid": "u1"}), event(2, user={"uid": "u2"})]
    lines = [*gone, *events, *([state(read=2)] if covered else [])]
    first = run_target(lines, api_url=sandbox.url, streams=streams, max_rejected_records=None)
    assert first.code == 0, first.stderr
    again = events if covered else [*gone, *events]
    second = run_target(
        [*again, state(read=3)], api_url=sandbox.url, streams=streams, max_rejected_records=None
    )
    assert second.block["streams"]["events"]["unchanged"] == (2 if covered else 1)
    assert len(api.events(uid="u1")) == len(api.events(uid="u2")) == 1
