"""Writes STATE lines to stdout, each only when every record before it is safe.

The bookkeeping is shared by the reading thread and the sending threads; its lock is here.
"""

from __future__ import annotations

import sys
import threading

from target_fullstory.accounting.checkpoints import Checkpoints, Ticket
from target_fullstory.accounting.rejects import Rejects
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.errors import OutputError


class CheckpointWriter:
    """The checkpoints of a run and the place where they are written."""

    def __init__(self, block: StateBlock, rejects: Rejects) -> None:
        """Start before the first STATE.

        Args:
            block: Inserts the run's block into a STATE.
            rejects: Brought to the disk before every STATE.
        """
        self._lock = threading.Lock()
        self._block = block
        self._rejects = rejects
        self._checkpoints = Checkpoints()
        self._last_value: bytes | None = None
        self._last_line: bytes | None = None
        self._ended = False

    @property
    def any_received(self) -> bool:
        """Whether the tap has sent a STATE."""
        return self._checkpoints.now.value is not None

    def count(self) -> int:
        """How many STATE messages the tap has sent."""
        return self._checkpoints.now.epoch

    def restart(self) -> int:
        """The number of the STATE written last, 0 before the first: a restart begins behind it."""
        with self._lock:
            return self._checkpoints.restart

    def received(self, value: bytes) -> None:
        """Take note of a STATE message; `write_due` writes it when its time has come."""
        with self._lock:
            self._checkpoints.received(value)

    def open(self) -> Ticket:
        """A ticket for a batch whose first record has just come."""
        with self._lock:
            return self._checkpoints.open()

    def close_over(self, ticket: Ticket) -> None:
        """Forbid the STATEs inside a batch of events that is about to be sent."""
        with self._lock:
            self._checkpoints.close_over(ticket)

    def bar(self, numbers: range) -> None:
        """Forbid the STATEs of these numbers, as those are that a restart could not go on from."""
        with self._lock:
            self._checkpoints.bar(numbers)

    def settle(self, ticket: Ticket) -> None:
        """A batch is safe: accepted, or on disk as rejects.

        Raises:
            OutputError: The STATE that this allows cannot be written.
        """
        with self._lock:
            self._checkpoints.settle(ticket)
            self._write_due()

    def write_due(self) -> None:
        """Write the latest STATE that may be written, if there is a new one.

        Raises:
            OutputError: It cannot be written, or the rejects before it cannot.
        """
        with self._lock:
            self._write_due()

    def write_last(self, *, complete: bool) -> None:
        """End the run's STATE lines with one that holds the final counts and job statuses.

        Args:
            complete: Whether every record received has its end.

        Raises:
            OutputError: It cannot be written.
        """
        with self._lock:
            due = self._checkpoints.due()
            value = due.value if due is not None else self._last_value
            if value is not None:
                self._write(value, final=complete)
            # What a late answer still allows belongs to the next run.
            self._ended = True

    def _write_due(self) -> None:
        due = self._checkpoints.due()
        if due is None or due.value is None or self._ended:
            return
        if due.value != self._last_value:
            self._write(due.value, final=False)
        self._checkpoints.written(due)

    def _write(self, value: bytes, *, final: bool) -> None:
        self._rejects.sync()
        line = self._block.insert(value, self._rejects.summary(), final=final)
        if line != self._last_line:
            _print(line)
        self._last_line, self._last_value = line, value


def _print(line: bytes) -> None:
    try:
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        raise OutputError(
            f"The STATE cannot be written to stdout ({type(error).__name__}): whoever reads it is "
            "gone. Run again from the last STATE that was saved."
        ) from None
