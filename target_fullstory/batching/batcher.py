"""The open batches: where a record goes, and what sends a batch off.

Runs in the reading thread. What decides where a batch of events ends is only what the tap sent (rows, bytes,
STATE messages and deletions of users), so that a repeated input forms the same batches; the exceptions are a
flush by age and the end of the input.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from typing import Protocol

import msgspec

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.batching.batch import Batch, OpenBatch
from target_fullstory.batching.memory_limits import open_bytes
from target_fullstory.kinds import KINDS, USER_CHANGES, Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Chunk
from target_fullstory.settings.model import Settings

# A STATE flushes a batch of calls in series with this many; it waits for fewer.
_CALLS_WORTH_A_STATE = 100
_encode = msgspec.json.Encoder().encode


class BatchDispatcher(Protocol):
    """Takes closed batches."""

    @property
    def max_bytes(self) -> int:
        """The request body limit as of now."""

    @property
    def repeats_deletions(self) -> bool:
        """Whether a restart from the latest written STATE would repeat deletions."""

    def submit(self, batch: Batch) -> None:
        """Send a batch when its turn has come."""


class Batcher:
    """The batches that still grow, one per stream and kind.

    Any of its methods may send a batch, and then raises the error that an earlier request met.
    """

    def __init__(self, settings: Settings, dispatcher: BatchDispatcher, accounting: Accounting) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._ledger = accounting.ledger
        self._checkpoints = accounting.checkpoints
        self._open: dict[tuple[str, Kind], OpenBatch] = {}
        # By whether they are cut at a STATE: the open batches' memory.
        self._memory: Counter[bool] = Counter()
        self._most_memory = open_bytes(settings)

    def add(self, stream: str, chunk: Chunk) -> None:
        """Take requests that follow each other, encoded in as few calls as possible."""
        self.flush_conflicting(stream, chunk.kind, chunk.keys)
        begin, total = 0, len(chunk.requests)
        while begin < total:
            batch = self.batch_for(stream, chunk.kind, 0)
            end = min(total, begin + self._settings.batch_size_rows - batch.rows)
            joined = _encode(chunk.requests[begin:end])[1:-1]
            memory = self._memory[KINDS[chunk.kind].cut_at_state] + len(joined)
            if batch.size + len(joined) > self._dispatcher.max_bytes or memory >= self._most_memory:
                # Where a batch ends by bytes must not depend on how the lines were read.
                for at in range(begin, total):
                    one = _encode(chunk.requests[at])
                    self._add(self.batch_for(stream, chunk.kind, len(one)), one, chunk, at, at + 1)
                return
            self._add(batch, joined, chunk, begin, end)
            begin = end

    def flush_conflicting(self, stream: str, kind: Kind, keys: Collection[str]) -> None:
        """Send first what was received before these records of these users and must not come after them."""
        if "events" in KINDS[kind].waits_for and self._settings.events_wait_for_users:
            # The records delete users: events sent after that would bring them back.
            self._flush_events_to_state()
            self._send_all("events")
        if not keys:
            return
        for other in list(self._open.values()):
            joined = (other.stream, other.kind) == (stream, kind)
            if not joined and KINDS[other.kind].changes_users and other.has_any(keys):
                self._send_whole(other)

    def batch_for(self, stream: str, kind: Kind, size: int) -> OpenBatch:
        """The open batch for a request of this size in bytes."""
        place = stream, kind
        batch = self._open.get(place)
        while batch is not None and batch.rows and batch.size + size > self._dispatcher.max_bytes:
            self._flush_full(batch)
            batch = self._open.get(place)
        if batch is None:
            batch = self._open[place] = OpenBatch(stream, kind, self._checkpoints.open())
            self._memory[KINDS[kind].cut_at_state] += batch.memory
        return batch

    def mark_state(self) -> None:
        """Note a STATE: events and calls may be cut here."""
        for batch in list(self._open.values()):
            rules = KINDS[batch.kind]
            if not rules.changes_users:
                batch.mark_state()
            # A call cannot be recognised when it is repeated: few of them hold a STATE back.
            if rules.in_series and batch.rows >= _CALLS_WORTH_A_STATE:
                self._send_whole(batch)

    def flush_aged(self) -> None:
        """Send what has been open for too long."""
        oldest = time.monotonic() - self._settings.batch_wait_limit_seconds
        aged = [batch for batch in self._open.values() if batch.opened_at <= oldest]
        if any(KINDS[batch.kind].cut_at_state and batch.marked for batch in aged):
            self._flush_events_to_state()
        for batch in aged:
            if self._open.get((batch.stream, batch.kind)) is batch:
                self._send_whole(batch)

    def flush_all(self, *, leave_rest: bool) -> None:
        """Send everything at the end of a run.

        With `leave_rest` events and calls behind the last STATE are left to the next run, which reads them
        again: sent in other batches, or once more, they would not be recognised.
        """
        self._send_all(*USER_CHANGES)
        self._flush_events_to_state()
        if leave_rest:
            self._flush_calls_to_state()
            for batch in list(self._open.values()):
                text = "%d records of stream %s came after the last STATE; the next run reads them again"
                logger.info(text, batch.rows, batch.stream)
                self._leave_out(batch)
        while self._open:
            self._send_whole(next(iter(self._open.values())))

    def leave_out(self, stream: str) -> None:
        """Send nothing of a stream that is not sent yet. No STATE behind the first of it is written."""
        for batch in [one for one in self._open.values() if one.stream == stream]:
            logger.info("%d records of stream %s are not sent", batch.rows, stream)
            self._leave_out(batch)

    def _leave_out(self, batch: OpenBatch) -> None:
        self._ledger.count(batch.stream, received=-batch.rows)
        self._remove(batch)

    def _add(self, batch: OpenBatch, joined: bytes, chunk: Chunk, begin: int, end: int) -> None:
        """Add a part of a chunk to a batch, and send what is full now."""
        before = batch.memory
        width = len(chunk.fingerprints) // len(chunk.requests)
        batch.add(
            joined,
            end - begin,
            chunk.keys[begin:end],
            timed=chunk.timed,
            covered_by=self._checkpoints.next_number,
            fingerprints=chunk.fingerprints[begin * width : end * width],
            names=chunk.names[begin:end],
        )
        cut_at_state = KINDS[chunk.kind].cut_at_state
        self._memory[cut_at_state] += batch.memory - before
        if batch.rows >= self._settings.batch_size_rows:
            self._flush_full(batch)
        while self._memory[cut_at_state] > self._most_memory:
            self._flush_some(cut_at_state=cut_at_state)

    def _flush_some(self, *, cut_at_state: bool) -> None:
        """Send some of the batches of events, or of the others: together they exceed the memory limit.

        Events: all that came before the last STATE, else the largest batch. So where they end depends on
        nothing but the events behind the last cut, which a restart reads again.
        """
        if cut_at_state and self._marked_events():
            self._flush_events_to_state()
            return
        batches = [one for one in self._open.values() if KINDS[one.kind].cut_at_state == cut_at_state]
        self._send_whole(max(batches, key=lambda one: (one.memory, one.stream)))

    def _flush_full(self, batch: OpenBatch) -> None:
        if KINDS[batch.kind].cut_at_state and batch.marked:
            self._flush_events_to_state()
        else:
            self._send_whole(batch)

    def _send_all(self, *kinds: Kind) -> None:
        for batch in list(self._open.values()):
            if batch.kind in kinds:
                self._send_whole(batch)

    def _marked_events(self) -> list[OpenBatch]:
        return [one for one in self._open.values() if KINDS[one.kind].cut_at_state and one.marked]

    def _flush_events_to_state(self) -> None:
        """Cut all batches of events at the last STATE, so that it is a clean place to restart from."""
        marked = self._marked_events()
        if not marked:
            return
        self._flush_before("events")
        closed = [self._cut(batch) for batch in marked]
        self._checkpoints.pin(min((part.ticket for part in closed), key=lambda t: t.position.number))
        for part in closed:
            self._dispatcher.submit(part)

    def _flush_calls_to_state(self) -> None:
        for batch in list(self._open.values()):
            if KINDS[batch.kind].in_series and batch.marked:
                self._dispatcher.submit(self._cut(batch))

    def _cut(self, batch: OpenBatch) -> Batch:
        """Close a batch at the last STATE; what came after it stays open."""
        part, rest = batch.cut(self._checkpoints.open)
        self._remove(batch)
        if rest is not None:
            self._open[batch.stream, batch.kind] = rest
            self._memory[KINDS[batch.kind].cut_at_state] += rest.memory
        return part

    def _send_whole(self, batch: OpenBatch) -> None:
        self._flush_before(batch.kind)
        self._remove(batch)
        self._dispatcher.submit(batch.close())

    def _remove(self, batch: OpenBatch) -> None:
        del self._open[batch.stream, batch.kind]
        self._memory[KINDS[batch.kind].cut_at_state] -= batch.memory

    def _flush_before(self, kind: Kind) -> None:
        """Send the users first that were received before events and calls."""
        if not KINDS[kind].changes_users and self._settings.events_wait_for_users:
            self._send_all(*USER_CHANGES)
            if KINDS[kind].cut_at_state and self._dispatcher.repeats_deletions:
                # They would keep the STATE behind the deletions from being written.
                self._flush_calls_to_state()
