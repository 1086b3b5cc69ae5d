"""Events of a deleted user: a restart deletes the user again, and must bring the events back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from target_fullstory.accounting.checkpoints import Position, Ticket
from target_fullstory.batching.batch import OpenBatch
from target_fullstory.batching.encoded_requests import deleted_with
from target_fullstory.sandbox import Sandbox
from target_fullstory.sending.pending_deletions import PendingDeletions
from tests.conftest import EVENTS, Outcome, SandboxApi, event, record, schema, state

SCHEMAS = [schema("users", {"uid": "string"}, ["uid"]), schema("user_deletions", {"uid": "string"}), EVENTS]
DELETION = record("user_deletions", uid="u1")
AGAIN = record("users", uid="u1")
OF_U1 = event(1)
OF_U2 = event(2, user={"uid": "u2"})
deliveries = pytest.mark.parametrize("delivery", ["batch", "single"])


def kept(api: SandboxApi) -> list[str]:
    return sorted(one["user"]["uid"] for one in api.events())


@deliveries
def test_an_event_behind_a_deletion_survives_a_repetition(
    delivery: str, sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    lines = [*SCHEMAS, AGAIN, DELETION, AGAIN, OF_U1, OF_U2, state(done=True)]
    for _ in range(2):
        outcome = run_target(lines, api_url=sandbox.url, delivery=delivery)
        assert outcome.code == 0, outcome.stderr
        assert kept(api) == ["u1", "u2"]


@deliveries
def test_an_event_is_recognised_where_the_deletion_is_not_repeated(
    delivery: str, sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    head = [*SCHEMAS, AGAIN, DELETION, AGAIN, state(deleted=True)]
    tail = [OF_U1, OF_U2, state(done=True)]
    for lines in (head + tail, SCHEMAS + tail):
        outcome = run_target(lines, api_url=sandbox.url, delivery=delivery)
        assert outcome.code == 0, outcome.stderr
        assert kept(api) == ["u1", "u2"]


def test_a_deletion_is_repeated_until_a_state_behind_it_is_written() -> None:
    last_written = 0
    forbidden: list[range] = []
    pending = PendingDeletions(lambda: last_written, forbidden.append)
    pending.add({"a": 1})
    pending.add({"b": 2})
    assert pending.repeated() == {"a", "b"}
    last_written = 1
    assert pending.repeated() == {"b"}
    last_written = 2
    assert not pending.repeated()


def test_a_restart_is_to_have_both_the_deletion_and_the_event_or_neither() -> None:
    forbidden: list[range] = []
    pending = PendingDeletions(lambda: 1, forbidden.append)
    pending.add({"a": 2})
    assert pending.repeated_before([b'{"user":{"uid":"b"}}'], covered_by=4) == frozenset()
    assert forbidden == []
    assert pending.repeated_before([b'{"user":{"uid":"a"}}'], covered_by=4) == {"a"}
    assert forbidden == [range(2, 4)]


def test_an_event_of_a_session_when_the_state_behind_the_deletions_has_just_been_written() -> None:
    """While the dispatcher waits for the responses to what was sent before."""
    forbidden: list[range] = []
    last_written = 0
    pending = PendingDeletions(lambda: last_written, forbidden.append)
    pending.add({"a": 1})
    assert pending.repeated()
    last_written = 1
    assert pending.repeated_before([b'{"session":{"id":"1:2"}}'], covered_by=2) == frozenset()
    assert forbidden == []


@pytest.mark.parametrize(
    ("request_", "deleted"),
    [
        (b'{"name":"n","user":{"uid":"a"}}', True),
        (b'{"name":"n","user":{"id":"a"}}', True),
        (b'{"name":"n","user":{"uid":"b"},"session":{"use_most_recent":true}}', False),
        (b'{"name":"n","session":{"id":"1:2"}}', True),
        (b'{"name":"n"}', False),
    ],
)
def test_whose_session_it_is_cannot_be_told(request_: bytes, deleted: bool) -> None:
    assert deleted_with(request_, {"a"}) is deleted


def test_a_batch_of_deletions_across_a_state_is_repeated_in_part() -> None:
    """Behind that STATE, a restart repeats the second deletion only."""
    batch = OpenBatch("gone", "user_deletions", Ticket(Position(0, b"")))
    for uid, number in (("a", 1), ("b", 1), ("b", 2), ("c", 2)):
        body = f'{{"uid":"{uid}"}}'.encode()
        batch.add(body, 1, [uid], timed=False, covered_by=number)
    pending = PendingDeletions(lambda: 1, lambda _: None)
    pending.add(batch.close().deleted)
    assert pending.repeated() == {"b", "c"}
