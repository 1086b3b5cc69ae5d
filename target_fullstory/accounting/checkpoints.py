"""Which STATE may be written: the rule that makes a crash harmless.

A STATE may be written when every record before it has been accepted by Fullstory or is on disk as a
reject, and when no batch of events lies across it: after a restart from that STATE the tap repeats exactly
the records behind it, so that the batches of events are formed again as they were and Fullstory recognises
them by their keys.

Every batch holds a ticket from its first record to its acceptance. A ticket remembers the last STATE before
that first record: the latest one that a restart could use without losing the batch. What may be written
is the earliest STATE of all open tickets, or the latest STATE received where none is open.

Where STATEs become due faster than their lines may be written, only the latest of them is written, later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from target_fullstory.accounting.rejects import Rejects
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.errors import OutputError


@dataclass(frozen=True)
class Position:
    """A place between two STATE messages: how many were received, and the last one's value as JSON."""

    number: int
    value: bytes


@dataclass(eq=False)
class Ticket:
    """An unfinished batch's claim: no STATE after `position` may be written."""

    position: Position


class Allowance:
    """How much may be written: so much at once, and so much a second.

    A STATE line is as large as the run has streams and jobs; a tap may cause one with every record.
    """

    BYTES_AT_ONCE = 1024 * 1024
    BYTES_A_SECOND = 256 * 1024

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(self.BYTES_AT_ONCE)
        self._at = clock()

    def wait(self) -> float:
        """The seconds until a line may be written, of any size: a large one makes the next wait longer."""
        now = self._clock()
        self._left = min(self.BYTES_AT_ONCE, self._left + (now - self._at) * self.BYTES_A_SECOND)
        self._at = now
        return max(0.0, -self._left / self.BYTES_A_SECOND)

    def take(self, size: int) -> None:
        """Note a line."""
        self._left -= size


class Checkpoints:
    """The run's STATE messages and open tickets; used by the reading thread and the sending threads."""

    def __init__(
        self,
        block: StateBlock,
        rejects: Rejects,
        write: Callable[[bytes], None],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start before the first STATE; `write` takes each line, none while one is not `allowed`."""
        self._lock = threading.RLock()
        self._block = block
        self._rejects = rejects
        self._write_line = write
        self._allowed = allowed
        self._now = Position(0, b"")
        self._written = 0
        self._tickets: set[Ticket] = set()
        self._earliest: Position | None = None  # of the tickets, where that is known
        self._allowance = Allowance()
        self._timer: threading.Timer | None = None
        self._forbidden: list[range] = []
        self._last_value: bytes | None = None
        self._last_line: bytes | None = None
        self._ended = False

    @property
    def received_any(self) -> bool:
        """Whether the tap has sent a STATE."""
        return self._now.number > 0

    @property
    def next_number(self) -> int:
        """The number that the tap's next STATE will have; the first has 1."""
        return self._now.number + 1

    def last_written(self) -> int:
        """The number of the STATE written last, 0 before the first: a restart begins behind it."""
        with self._lock:
            return self._written

    def receive(self, value: bytes) -> None:
        """Take a STATE message's value, as JSON; `write_due` writes it once that is allowed.

        Raises:
            InputError: It has a place of its own where the block is to go.
        """
        self._block.check(value)
        with self._lock:
            self._now = Position(self._now.number + 1, value)

    def open(self) -> Ticket:
        """A ticket for a batch whose first record has just come."""
        with self._lock:
            ticket = Ticket(self._now)
            self._tickets.add(ticket)
            return ticket

    def open_beside(self, ticket: Ticket) -> Ticket:
        """A ticket for a part of another ticket's batch."""
        with self._lock:
            part = Ticket(ticket.position)
            self._tickets.add(part)
            return part

    def release(self, ticket: Ticket) -> None:
        """Give up a ticket: all records of its batch are accepted, or on disk as rejects."""
        with self._lock:
            self._tickets.discard(ticket)
            self._earliest = None
            self.write_due()

    def pin(self, ticket: Ticket) -> None:
        """Keep every STATE inside a batch of events that is about to be sent from being written.

        The batch reaches from the ticket's position to now. A batch of users opened in between would, once
        it is the oldest, allow a STATE inside these events; it is tied to where they begin.
        """
        with self._lock:
            begin, end = ticket.position, self._now.number
            for other in self._tickets:
                if begin.number < other.position.number < end:
                    other.position = begin
            self._earliest = None

    def forbid(self, numbers: range) -> None:
        """Forbid the STATEs of these numbers: what a restart from one of them would send is not the same."""
        with self._lock:
            self._forbidden = [one for one in self._forbidden if one.stop > self._written]
            self._forbidden.append(numbers)

    def write_due(self, *, at_once: bool = False) -> None:
        """Write the latest STATE that may be written, if there is a new one; `at_once` whatever its size."""
        with self._lock:
            due = self._due()
            if due is None or self._ended:
                return
            if due.value != self._last_value:
                wait = 0.0 if at_once else self._allowance.wait()
                if wait:
                    self._write_in(wait)
                    return
                self._write(due.value, final=False)
            self._written = due.number

    def _write_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._write_late)
            self._timer.daemon = True
            self._timer.start()

    def _write_late(self) -> None:
        with self._lock:
            self._timer = None
            # Whoever writes next meets the same error, and is heard.
            with suppress(OutputError):
                self.write_due()

    def write_last(self, *, complete: bool) -> None:
        """End the run's STATE lines with one that holds the final job statuses and, if complete, counts."""
        with self._lock:
            due = self._due()
            value = due.value if due is not None else self._last_value
            if value is not None:
                self._write(value, final=complete)
            if due is not None:
                self._written = due.number
            # A STATE that a late response allows is left to the next run.
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()

    def _due(self) -> Position | None:
        position = self._now
        if self._tickets:
            # A ticket is opened behind all others: the earliest one changes with their end alone.
            if self._earliest is None:
                positions = (ticket.position for ticket in self._tickets)
                self._earliest = min(positions, key=lambda position: position.number)
            position = self._earliest
        number = position.number
        if number <= self._written or any(number in numbers for numbers in self._forbidden):
            return None
        if not self._allowed():
            return None
        return position

    def _write(self, value: bytes, *, final: bool) -> None:
        self._rejects.sync()
        line = self._block.insert(value, final=final)
        if line != self._last_line:
            self._write_line(line)
            self._allowance.take(len(line))
        self._last_line, self._last_value = line, value
