"""One run: takes mapped records and STATEs, and batches them.

Runs in the reading thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.accounting.rejection_limit import FIRST_LOOK
from target_fullstory.accounting.rejects import OVER_QUOTA, Reject
from target_fullstory.accounting.repeated_uids import RepeatedUids
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.batching.batcher import BatchDispatcher, Batcher
from target_fullstory.errors import BeyondLimitError, MostlyRejectedError
from target_fullstory.input.reader import Activated, Event
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Chunk, Rejected
from target_fullstory.sending.in_flight import InFlight, StopWaiting
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.mirror import Mirror
    from target_fullstory.snapshot.snapshot import Snapshot
    from target_fullstory.snapshot.stream_snapshot import Selection

_OVER_QUOTA = Rejected(OVER_QUOTA, "the run has sent max_events events")

GRACE_SECONDS = 10.0
"""How long a run goes on after a signal."""


class Run(ABC):
    """Takes what the tap sends. Each call may raise the error that an earlier request met."""

    def __init__(
        self, settings: Settings, accounting: Accounting, in_flight: InFlight, dispatcher: BatchDispatcher
    ) -> None:
        self._settings = settings
        self.ledger = accounting.ledger
        self.rejects = accounting.rejects
        self._block = accounting.block
        self._checkpoints = accounting.checkpoints
        self._limit = accounting.rejection_limit
        # The streams that had enough records to be looked at, and whether one was beyond the limit.
        self._looked_at: set[str] = set()
        self._beyond_limit = False
        self._in_flight = in_flight
        self._batcher = Batcher(settings, dispatcher, accounting)
        self.events_left = settings.max_events  # None: no quota
        self.uids = RepeatedUids()
        # What was sent before; None where every record is sent.
        self.snapshot: Snapshot | None = None
        # The streams whose users may vanish; None where there is none.
        self.mirror: Mirror | None = None
        self.interrupted = False
        # Whether a rejected record lacked a key property: singer-sdk has an error of its own for that.
        self.missing_keys = False

    @abstractmethod
    def end(self, *, deliver: bool = True) -> None:
        """End the run, without sending what is open where a request or a file has failed before."""

    def settle(self) -> None:  # noqa: B027 - a run that sends nothing leaves nothing
        """Settle what earlier runs left without an answer, before the input is read."""

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; its kind is None where it is ignored."""
        self.ledger.open_stream(stream, kind or "ignored")

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        self.ledger.count(stream, received=count, ignored=count)

    def add(
        self,
        stream: str,
        chunk: Chunk,
        record: Any = None,
        source: str | None = None,
        selection: Selection | None = None,
        known_by: bytes | None = None,
    ) -> None:
        """Take the requests of records that follow each other; of a selection, what it chose of them.

        With a quota of events they come one at a time, with the record where it is at hand and the tap's
        stream: beyond the quota it is rejected as it came. `known_by` is what one event is known by, where it
        comes as its request; empty where nobody can tell.
        """
        known = self.snapshot.of(stream) if self.snapshot and known_by != b"" else None
        if known is not None:
            selection = selection or known.select(chunk, known_by=known_by)
            known.note_changed(selection)
            self.check_changes()
            self.count_unchanged(stream, selection.unchanged)
            self.uids.add(stream, chunk.kind, chunk.requests, chunk.keys)
            chunk = selection.chunk
            if not chunk.requests:
                known.queue(selection)
                return
        if self.events_left is not None and chunk.kind == "events":
            if self.events_left < len(chunk.requests):
                request = msgspec.json.encode(chunk.requests[0])
                # Without a record, as in a replay.
                self.reject(
                    stream, chunk.kind, _OVER_QUOTA, record, request, source, chunk.fingerprints[:8].hex()
                )
                return
            self.events_left -= len(chunk.requests)
        self.ledger.count(stream, received=len(chunk.requests))
        untimed = selection.untimed if selection else chunk.untimed
        if chunk.kind == "events" and untimed and self.ledger.untimed(stream, untimed):
            logger.warning(
                "Stream %s: an event has no timestamp. Fullstory takes its time of arrival, and does not "
                "recognise it when it is sent again: map a column to fields.timestamp. The count is "
                "events_without_timestamp in the state",
                stream,
            )
        if self.snapshot and chunk.kind == "user_deletions":
            self.snapshot.blank(chunk.keys)
        if known is not None and selection is not None:
            known.queue(selection)
        else:
            self.uids.add(stream, chunk.kind, chunk.requests, chunk.keys)
        self._batcher.add(stream, chunk)

    def send(self, stream: str, chunk: Chunk) -> None:
        """Take requests that are made of no record of the tap's."""
        self.ledger.count(stream, received=len(chunk.requests))
        self._batcher.add(stream, chunk)

    def watch(
        self, events: Iterable[Event | Activated], streams_of: Callable[[str], list[str]]
    ) -> Iterator[Event]:
        """Pass on a tap's events; `streams_of` gives the names under which a tap's stream arrives here."""
        if self.mirror is not None:
            return self.mirror.watch(events, streams_of)
        return (event for event in events if not isinstance(event, Activated))

    def count_unchanged(self, stream: str, records: int) -> None:
        """Take records that need not be sent."""
        if records:
            self.ledger.count(stream, received=records, unchanged=records)

    def reject(
        self,
        stream: str,
        kind: Kind,
        rejected: Rejected,
        record: Any,
        request: bytes | None = None,
        source: str | None = None,
        known_by: str | None = None,
    ) -> None:
        """Take a record that is not to be sent; None and its request where that alone is at hand.

        `source` is the tap's stream, which stream maps may have given another name; `known_by` is what the
        snapshot knows an event by.
        """
        self.ledger.count(stream, received=1)
        reject = Reject(
            stream=stream,
            source=None if source == stream else source,
            kind=kind,
            stage="map",
            code=rejected.code,
            column=rejected.column,
            message=rejected.message,
            record=record,
        )
        if record is None and request is not None:
            reject.request, reject.known_by = msgspec.Raw(request), known_by or None
        self.rejects.write(reject)

    def count_dropped(self, stream: str, names: tuple[str, ...]) -> None:
        """Count property values that mapping left out; each name is logged once."""
        for name in self.ledger.dropped(stream, names):
            logger.warning(
                "Stream %s: a value of property %s was left out: it cannot be cast, or Fullstory does not "
                "take it; the count is under dropped_properties in the state",
                stream,
                name,
            )

    def count_undeclared(self, stream: str, names: list[str]) -> None:
        """Count values that are not of their column's type, by property; each name is logged once."""
        for name in self.ledger.undeclared(stream, names):
            logger.warning(
                "Stream %s: a value of property %s is not of its column's type, and is sent as it is, "
                "undeclared; the count is under undeclared_values in the state",
                stream,
                name,
            )

    def records_to_look(self, stream: str) -> int:
        """How many records of a stream may be taken until its share of rejects is to be looked at; 0: any."""
        if stream in self._looked_at or self._limit.percent is None:
            return 0
        return max(FIRST_LOOK - self.ledger.received(stream), 1)

    def look_at(self, stream: str) -> None:
        """Look at a stream's share of rejects where it has the records for it; called between records.

        Raises:
            MostlyRejectedError: It is beyond `max_rejected_percent`.
        """
        if stream not in self._looked_at and self.ledger.received(stream) >= FIRST_LOOK:
            self._looked_at.add(stream)
            self.check_limit(stream)

    def check_limit(self, stream: str | None = None) -> None:
        """Look at all streams' shares of rejects, or at one's.

        Raises:
            MostlyRejectedError: One is beyond `max_rejected_percent`.
        """
        try:
            self._limit.check(stream)
        except MostlyRejectedError:
            self._beyond_limit = True
            raise

    def check_changes(self, *, all_read: bool = False) -> None:
        """Hold the users who changed against the limit, and at the end of the input against the plan.

        Raises:
            BeyondLimitError: There are too many in a stream, or others than in the plan.
        """
        limits = self.snapshot.limits if self.snapshot else None
        if limits is None or self.interrupted:
            return
        try:
            limits.check_changed(all_read=all_read)
        except BeyondLimitError as error:
            self._beyond_limit = True
            self._batcher.leave_out(error.stream)
            raise

    def check_earlier_jobs(self) -> None:
        """Tell at the end of the run what jobs of earlier runs refused.

        Raises:
            TooManyRejectsError: One of them was beyond `max_rejected_percent`.
        """
        self._limit.check_earlier_jobs()

    def state(self, value: bytes) -> None:
        """Take a STATE message's value, as JSON.

        Raises:
            MostlyRejectedError: A stream is beyond `max_rejected_percent`.
        """
        self.check_limit()
        self.rejects.reasons.mark_state()
        self.ledger.mark_state()
        self._checkpoints.receive(value)
        self._batcher.mark_state()
        self._checkpoints.write_due()

    def tick(self) -> None:
        """Do what is due: called often, also while the tap is silent."""
        if self._in_flight.error is not None:
            raise self._in_flight.error
        self._batcher.flush_aged()
        if self.snapshot:
            self.snapshot.book(everything=False)

    def interrupt(self) -> None:
        """End soon: called by a signal's handler, so it takes no lock."""
        self.interrupted = True
        self._in_flight.give_up_in(GRACE_SECONDS)

    def flush(self) -> None:
        """Send everything that is open, then wait until it is accepted and its jobs are over.

        After a signal, or where a stream is beyond a limit, events and calls behind the last STATE are left
        to the next run, which will read them again. After a signal, jobs that do not end in a short grace
        stay PROCESSING.
        """
        try:
            stopped = self.interrupted or self._beyond_limit
            leave_rest = stopped and self._checkpoints.received_any
            self._batcher.flush_all(leave_rest=leave_rest)
            self._in_flight.wait_for_responses()
            if self._settings.wait_for_jobs:
                self._in_flight.wait_until_idle()
        except StopWaiting:
            logger.warning("Stopped while batches or jobs were unfinished; the next run takes over")
        finally:
            if self.snapshot:
                self.snapshot.book(everything=True)
