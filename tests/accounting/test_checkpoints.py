"""Which STATE may be written, for any interleaving of records, STATEs and completions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from target_fullstory.accounting.checkpoints import Allowance, Checkpoints, Ticket
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.rejects import Rejects
from target_fullstory.accounting.state_block import StateBlock


def checkpoints(write: Callable[[bytes], None]) -> Checkpoints:
    """Writes the tap's values as they are, and no file."""
    ledger = Ledger(responses=0)
    rejects = Rejects(ledger, "nowhere", "run")
    return Checkpoints(StateBlock(None, "run", ledger, rejects), rejects, write)


@dataclass
class Batch:
    """A batch in the model: the places of its records in the input."""

    ticket: Ticket
    records: list[int] = field(default_factory=list)


class Model:
    """Streams with open batches on one side, what is safe on the other."""

    def __init__(self) -> None:
        self.checkpoints = checkpoints(self.write)
        self.open: dict[str, Batch] = {}
        self.sent: list[tuple[str, Batch]] = []
        self.records = 0
        self.safe: set[int] = set()
        self.states: list[int] = [0]  # records before the n-th STATE
        self.event_spans: list[tuple[int, int]] = []
        self.written: list[int] = []

    def record(self, stream: str) -> None:
        batch = self.open.get(stream)
        if batch is None:
            batch = self.open[stream] = Batch(self.checkpoints.open())
        batch.records.append(self.records)
        self.records += 1

    def state(self) -> None:
        self.states.append(self.records)
        self.checkpoints.receive(str(len(self.states) - 1).encode())
        self.checkpoints.write_due()

    def flush_users(self, stream: str) -> None:
        if stream in self.open:
            self.sent.append((stream, self.open.pop(stream)))

    def flush_events(self) -> None:
        """Cut every batch of events at the last STATE, as the batcher does."""
        boundary = self.states[-1]
        parts = []
        for stream in [name for name in self.open if name.startswith("events")]:
            batch = self.open[stream]
            head = [at for at in batch.records if at < boundary]
            tail = [at for at in batch.records if at >= boundary]
            if not head:
                continue
            del self.open[stream]
            if tail:
                self.open[stream] = Batch(self.checkpoints.open(), tail)
            parts.append((stream, Batch(batch.ticket, head)))
        if parts:
            first = min((part.ticket for _, part in parts), key=lambda t: t.position.number)
            self.checkpoints.pin(first)
            self.event_spans.extend((part.records[0], part.records[-1]) for _, part in parts)
            self.sent.extend(parts)

    def complete(self, index: int) -> None:
        if self.sent:
            _, batch = self.sent.pop(index % len(self.sent))
            self.safe.update(batch.records)
            self.checkpoints.release(batch.ticket)

    def write(self, line: bytes) -> None:
        """Stands in for stdout."""
        self.check(int(line))
        self.written.append(int(line))

    def check(self, number: int) -> None:
        before = self.states[number]
        assert set(range(before)) <= self.safe, "a STATE covers a record that is not safe"
        assert not self.written or number > self.written[-1], "STATEs go backwards"
        for first, last in self.event_spans:
            assert not first < before <= last, "a STATE lies inside a batch of events that was sent"


steps = st.lists(
    st.one_of(
        st.sampled_from(["users-a", "users-b", "events-a", "events-b"]).map(lambda s: ("record", s)),
        st.just(("state", "")),
        st.sampled_from(["users-a", "users-b"]).map(lambda s: ("flush", s)),
        st.just(("flush_events", "")),
        st.integers(0, 7).map(lambda n: ("complete", n)),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(steps)
def test_no_interleaving_breaks_the_rule(moves: list[tuple[str, str | int]]) -> None:
    model = Model()
    for what, argument in moves:
        if what == "record":
            model.record(str(argument))
        elif what == "state":
            model.state()
        elif what == "flush":
            model.flush_users(str(argument))
        elif what == "flush_events":
            model.flush_events()
        else:
            model.complete(int(argument))
    # The end of the input: everything is flushed and completes, and the last STATE is written.
    model.flush_events()
    for stream in list(model.open):
        model.sent.append((stream, model.open.pop(stream)))
    while model.sent:
        model.complete(0)
    if len(model.states) > 1:
        assert model.written
        assert model.written[-1] == len(model.states) - 1


def test_a_state_waits_for_the_record_before_it() -> None:
    model = Model()
    model.record("users-a")
    model.state()
    assert model.written == []
    model.flush_users("users-a")
    model.complete(0)
    assert model.written == [1]


def test_nothing_is_written_before_the_tap_sends_a_state() -> None:
    model = Model()
    model.record("users-a")
    model.flush_users("users-a")
    model.complete(0)
    assert model.written == []


def test_a_user_batch_begun_inside_a_batch_of_events_does_not_allow_a_state_there() -> None:
    model = Model()
    model.record("events-a")
    model.state()
    model.record("users-a")
    model.record("events-a")
    model.state()
    model.flush_events()
    model.complete(0)  # the events are in, the user is not
    assert model.written == []
    model.flush_users("users-a")
    model.complete(0)
    assert model.written == [2]


def test_a_forbidden_state_is_not_written_but_the_next_one_is() -> None:
    written: list[int] = []
    states = checkpoints(lambda line: written.append(int(line)))
    states.forbid(range(2, 4))
    for number in range(1, 6):
        states.receive(str(number).encode())
        states.write_due()
        assert states.last_written() == written[-1]
    assert written == [1, 4, 5]


def test_states_that_come_faster_than_they_may_be_written_are_written_later() -> None:
    written: list[bytes] = []
    states = checkpoints(written.append)
    line = b'{"n": %06d, "pad": "' + b"x" * 20_000 + b'"}'
    began = time.monotonic()
    for number in range(2000):
        states.receive(line % number)
        states.write_due()
    taken = time.monotonic() - began
    most = Allowance.BYTES_AT_ONCE + taken * Allowance.BYTES_A_SECOND + 2 * len(line)
    assert sum(map(len, written)) <= most
    assert states.last_written() < 2000
    deadline = time.monotonic() + 10
    while states.last_written() < 2000:
        assert time.monotonic() < deadline, "it waits for nothing but time"
        time.sleep(0.01)
    assert written[-1] == line % 1999


def test_one_that_must_be_written_at_once_is() -> None:
    written: list[bytes] = []
    states = checkpoints(written.append)
    for number in range(1, 4):
        states.receive(b"%d" % number + b" " * 2 * Allowance.BYTES_AT_ONCE)
        states.write_due(at_once=number > 2)
    assert [int(line) for line in written] == [1, 3]


def test_an_allowance_fills_up_again() -> None:
    now = 0.0
    allowance = Allowance(lambda: now)
    allowance.take(3 * Allowance.BYTES_AT_ONCE)
    assert allowance.wait() == 2 * Allowance.BYTES_AT_ONCE / Allowance.BYTES_A_SECOND
    now = allowance.wait()
    assert allowance.wait() == 0
    allowance.take(1)
    assert allowance.wait() > 0
    now = 1000.0
    assert allowance.wait() == 0
    allowance.take(Allowance.BYTES_AT_ONCE)
    assert allowance.wait() == 0
    allowance.take(1)
    assert allowance.wait() > 0
