"""The open batches: where a record goes, and what sends a batch off.

Runs in the reading thread. What decides where a batch of events ends is only what the tap sent (rows, bytes,
STATE messages and deletions of users), so that a repeated input forms the same batches; the exceptions are a
flush by age and the end of the input.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from target_fullstory.accounting.checkpoint_writer import CheckpointWriter
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.batching.batch import IN_SERIES, PEOPLE, Batch, OpenBatch
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.sending.dispatcher import Sender
from target_fullstory.settings.model import Settings

CALLS_WORTH_A_STATE = 100
"""A STATE sends a batch of calls in series that has so many: fewer are held back with it."""


class OpenBatches:
    """The batches that still grow, one per stream and kind."""

    def __init__(
        self, settings: Settings, sender: Sender, checkpoint: CheckpointWriter, ledger: Ledger
    ) -> None:
        """Start with none.

        Args:
            settings: Limits of a batch, and whether events wait for users.
            sender: Sends what is closed.
            checkpoint: Gives a batch its ticket.
            ledger: Told of records that are left to the next run.
        """
        self._settings = settings
        self._sender = sender
        self._checkpoint = checkpoint
        self._ledger = ledger
        self._open: dict[tuple[str, Kind], OpenBatch] = {}

    def make_way(self, stream: str, kind: Kind, keys: Collection[str]) -> None:
        """Send first what was received before these records and must not come after them.

        Args:
            stream: The records' stream.
            kind: What they become.
            keys: Their users.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if kind == "user_deletions":
            self._flush_events()
        for other in list(self._open.values()):
            joined = (other.stream, other.kind) == (stream, kind)
            if not joined and other.kind in PEOPLE and other.has_any(keys):
                self._send_whole(other)

    def room_for(self, stream: str, kind: Kind, size: int) -> OpenBatch:
        """The batch that a request goes to.

        Args:
            stream: The request's stream.
            kind: What it is.
            size: Its bytes.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        place = stream, kind
        batch = self._open.get(place)
        while batch is not None and batch.size + size > self._sender.max_bytes:
            self._flush_full(batch)
            batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = OpenBatch(stream, kind, self._checkpoint.open())
        return batch

    def added(self, batch: OpenBatch) -> None:
        """Take note of what was added to a batch, and send it where it is full now.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        batch.cover(self._checkpoint.count() + 1)
        if batch.rows >= self._settings.batch_size_rows:
            self._flush_full(batch)

    def mark(self) -> None:
        """Take note of a STATE: events and calls may be cut here.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        for batch in list(self._open.values()):
            if batch.kind not in PEOPLE:
                batch.mark()
            # A call cannot be recognised when it is repeated: few of them hold a STATE back.
            if batch.kind in IN_SERIES and batch.rows >= CALLS_WORTH_A_STATE:
                self._send_whole(batch)

    def flush_aged(self) -> None:
        """Send what has been open for too long.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        oldest = time.monotonic() - self._settings.batch_wait_limit_seconds
        aged = [batch for batch in self._open.values() if batch.opened_at <= oldest]
        if any(batch.kind == "events" and batch.marked for batch in aged):
            self._flush_events_to_state()
        for batch in aged:
            if self._open.get((batch.stream, batch.kind)) is batch:
                self._send_whole(batch)

    def flush_all(self, *, leave_rest: bool) -> None:
        """Send everything at the end of a run.

        Args:
            leave_rest: Leave events and calls behind the last STATE to the next run, which reads them again:
                sent in other batches, or once more, they would not be recognised.

        Raises:
            TargetFullstoryError: A request failed for good.
            StopWaiting: The time to end has come.
        """
        self._flush_people()
        self._flush_events_to_state()
        if leave_rest:
            self._flush_calls_to_state()
            self._leave_all()
        for batch in list(self._open.values()):
            self._send_whole(batch)

    def _flush_full(self, batch: OpenBatch) -> None:
        if batch.kind == "events" and batch.marked:
            self._flush_events_to_state()
        else:
            self._send_whole(batch)

    def _flush_people(self) -> None:
        for batch in list(self._open.values()):
            if batch.kind in PEOPLE:
                self._send_whole(batch)

    def _flush_events(self) -> None:
        """Send all events: what comes next deletes a user, whose events would come to life again."""
        if not self._settings.events_wait_for_users:
            return
        self._flush_events_to_state()
        for batch in list(self._open.values()):
            if batch.kind == "events":
                self._send_whole(batch)

    def _flush_events_to_state(self) -> None:
        """Cut all batches of events at the last STATE, so that it is a clean place to restart from."""
        marked = [one for one in self._open.values() if one.kind == "events" and one.marked]
        if not marked:
            return
        self._before("events")
        closed = [self._cut(batch) for batch in marked]
        self._checkpoint.close_over(min((part.ticket for part in closed), key=_begin))
        for part in closed:
            self._sender.submit(part)

    def _flush_calls_to_state(self) -> None:
        for batch in list(self._open.values()):
            if batch.kind in IN_SERIES and batch.marked:
                self._sender.submit(self._cut(batch))

    def _cut(self, batch: OpenBatch) -> Batch:
        """Close a batch at the last STATE; what came after it stays open."""
        part, rest = batch.cut(self._checkpoint.open)
        if rest is not None:
            self._open[batch.stream, batch.kind] = rest
        else:
            del self._open[batch.stream, batch.kind]
        return part

    def _send_whole(self, batch: OpenBatch) -> None:
        self._before(batch.kind)
        del self._open[batch.stream, batch.kind]
        self._sender.submit(batch.close())

    def _before(self, kind: Kind) -> None:
        """Send the users first that were received before events and calls."""
        if kind not in PEOPLE and self._settings.events_wait_for_users:
            self._flush_people()
            if kind == "events" and self._sender.repeats_deletions:
                # They would keep the STATE behind the deletions from being written.
                self._flush_calls_to_state()

    def _leave_all(self) -> None:
        for batch in self._open.values():
            self._ledger.received(batch.stream, -batch.rows)
            logger.info(
                "%d records of stream %s came after the last STATE; the next run reads them again",
                batch.rows,
                batch.stream,
            )
        self._open.clear()


def _begin(ticket: Any) -> int:
    return int(ticket.position.epoch)
