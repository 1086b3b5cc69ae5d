"""Events of a deleted user: a restart deletes the user again, and must bring the events back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from target_fullstory.accounting.checkpoints import Checkpoints
from target_fullstory.batching.batch import OpenBatch
from target_fullstory.mapping import Mapped
from target_fullstory.sandbox import Sandbox
from target_fullstory.sending.pending_deletions import Erasures, is_erased
from tests.conftest import EVENTS, Outcome, SandboxApi, event, record, schema, state

SCHEMAS = [
    schema("users", {"uid": "string"}, ["uid"]),
    schema("user_deletions", {"uid": "string"}),
    EVENTS,
]
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
    restart = 0
    barred: list[range] = []
    erasures = Erasures(lambda: restart, barred.append)
    erasures.add({"a": 1})
    erasures.add({"b": 2})
    assert erasures.repeated() == {"a", "b"}
    restart = 1
    assert erasures.repeated() == {"b"}
    restart = 2
    assert not erasures.any_repeated()


def test_a_restart_is_to_have_both_the_deletion_and_the_event_or_neither() -> None:
    barred: list[range] = []
    erasures = Erasures(lambda: 1, barred.append)
    erasures.add({"a": 2})
    assert erasures.among([b'{"user":{"uid":"b"}}'], covered_by=4) == frozenset()
    assert barred == []
    assert erasures.among([b'{"user":{"uid":"a"}}'], covered_by=4) == {"a"}
    assert barred == [range(2, 4)]


@pytest.mark.parametrize(
    ("request_", "erased"),
    [
        (b'{"name":"n","user":{"uid":"a"}}', True),
        (b'{"name":"n","user":{"id":"a"}}', True),
        (b'{"name":"n","user":{"uid":"b"},"session":{"use_most_recent":true}}', False),
        (b'{"name":"n","session":{"id":"1:2"}}', True),
        (b'{"name":"n"}', False),
    ],
)
def test_whose_session_it_is_cannot_be_told(request_: bytes, erased: bool) -> None:
    assert is_erased(request_, {"a"}) is erased


def test_a_batch_of_deletions_across_a_state_is_repeated_in_part() -> None:
    """Behind that STATE, a restart repeats the second deletion only."""
    batch = OpenBatch("gone", "user_deletions", Checkpoints().open())
    for uid, number in (("a", 1), ("b", 1), ("b", 2), ("c", 2)):
        batch.add(Mapped(body=f'{{"uid":"{uid}"}}'.encode(), key=uid))
        batch.cover(number)
    erasures = Erasures(lambda: 1, lambda _: None)
    erasures.add(batch.close().deleted)
    assert erasures.repeated() == {"b", "c"}
