"""Which STATE may be written: the rule that makes a crash harmless.

A STATE may be written when every record before it has been accepted by Fullstory or is on disk as a
reject, and when no batch of events lies across it: after a restart from that STATE the tap repeats exactly
the records behind it, so that the batches of events are formed again as they were and Fullstory recognises
them by their keys.

Every batch holds a ticket from its first record to its acceptance. A ticket remembers the last STATE before
that first record: the latest one that a restart could use without losing the batch. What may be written
is the earliest STATE of all open tickets, or the latest STATE received where none is open.

Pure bookkeeping: no I/O and no lock. The caller serialises the calls.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """A place between two STATE messages: how many were received, and the last one's value as JSON."""

    epoch: int
    value: bytes | None


@dataclass(eq=False)
class Ticket:
    """An unfinished batch's hold on the checkpoint: no STATE after `position` may be written."""

    position: Position


class Checkpoints:
    """Follows STATE messages and unfinished batches."""

    def __init__(self) -> None:
        self._now = Position(0, None)
        self._written = 0
        self._tickets: set[Ticket] = set()
        self._barred: list[range] = []

    @property
    def now(self) -> Position:
        """The place after the last STATE received."""
        return self._now

    @property
    def restart(self) -> int:
        """The number of the STATE written last, 0 before the first: a restart begins behind it."""
        return self._written

    def received(self, value: bytes) -> None:
        """Take note of a STATE message.

        Args:
            value: The STATE's value as JSON.
        """
        self._now = Position(self._now.epoch + 1, value)

    def open(self) -> Ticket:
        """A ticket for a batch whose first record has just come."""
        ticket = Ticket(self._now)
        self._tickets.add(ticket)
        return ticket

    def settle(self, ticket: Ticket) -> None:
        """Give up a ticket: all records of its batch are accepted, or on disk as rejects."""
        self._tickets.discard(ticket)

    def close_over(self, ticket: Ticket) -> None:
        """Forbid every STATE inside a batch of events that is about to be sent.

        The batch reaches from the ticket's position to now. A batch of users begun in between would, once
        it is the oldest, allow a STATE in the midst of these events; it is tied to where they begin.
        """
        begin, end = ticket.position, self._now.epoch
        for other in self._tickets:
            if begin.epoch < other.position.epoch < end:
                other.position = begin

    def bar(self, numbers: range) -> None:
        """Forbid the STATEs of these numbers: what a restart from one of them would send is not the same."""
        self._barred = [barred for barred in self._barred if barred.stop > self._written]
        self._barred.append(numbers)

    def due(self) -> Position | None:
        """The STATE that may be written now, None where there is none that is new."""
        position = min(
            (ticket.position for ticket in self._tickets),
            key=lambda position: position.epoch,
            default=self._now,
        )
        if position.epoch <= self._written or position.value is None:
            return None
        if any(position.epoch in numbers for numbers in self._barred):
            return None
        return position

    def written(self, position: Position) -> None:
        """Take note that a STATE was written."""
        self._written = position.epoch
