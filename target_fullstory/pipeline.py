"""The way of a record from the mapping to the checkpoint: batch, send, track, checkpoint.

Runs in the reading thread.
"""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.accounting.checkpoint_writer import CheckpointWriter
from target_fullstory.accounting.kept_schemas import KeptSchemas
from target_fullstory.accounting.ledger import Ledger, Tell
from target_fullstory.accounting.rejects import Rejects
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.api.client import Client
from target_fullstory.api.roles import RoleCheck
from target_fullstory.batching.batcher import OpenBatches
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Chunk, Mapped, Rejected
from target_fullstory.sending.dispatcher import Sender
from target_fullstory.sending.in_flight import InFlight, StopWaiting
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.pending_deletions import Erasures
from target_fullstory.settings.model import Settings

_GRACE_SECONDS = 10.0
_GRACE_AFTER_AN_ERROR_SECONDS = 2.0
_encode = msgspec.json.Encoder().encode


class Pipeline:
    """Delivers mapped records and writes the checkpoints."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        run_id: str,
        key_salt: str = "",
        tell: Tell | None = None,
    ) -> None:
        """Prepare a run; nothing is sent or created yet.

        Args:
            settings: The run's settings.
            url: The Server API's base address.
            run_id: Names the run's files.
            key_salt: Sets the keys that are made of content apart from those of other runs.
            tell: Hears of each response of the API.
        """
        self._settings = settings
        self.ledger = Ledger(responses=settings.state_responses, tell=tell)
        self.rejects = Rejects(settings.output_dir, run_id)
        self.block = StateBlock(settings.state_key, run_id, self.ledger)
        self._checkpoint = CheckpointWriter(self.block, self.rejects)
        self._in_flight = InFlight(settings.concurrency)
        self._client = Client(settings, url)
        journal = JobJournal(settings.output_dir, run_id, settings.api_url)
        self._jobs = JobTracker(
            settings,
            self._client,
            self.ledger,
            self.rejects,
            self._in_flight,
            journal if settings.wait_for_jobs else None,
        )
        self._sender = Sender(
            settings,
            self._client,
            self._jobs,
            self._in_flight,
            self.ledger,
            self.rejects,
            self._checkpoint.settle,
            Erasures(self._checkpoint.restart, self._checkpoint.bar),
            key_salt,
        )
        self._role_check = RoleCheck(settings, url)
        self._schemas = KeptSchemas(settings.output_dir, run_id)
        self._batches = OpenBatches(settings, self._sender, self._checkpoint, self.ledger)
        self._events_left = settings.max_events
        self._interrupted = False

    # What the tap sends

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; None for one that is ignored.

        Raises:
            ConfigurationError: The key's role surely does not allow its kind.
        """
        if kind is not None:
            self._role_check.require(stream, kind)
        self.ledger.open_stream(stream, kind or "ignored")

    def know_schema(self, stream: str, message: dict[str, Any]) -> None:
        """Take note of a stream's SCHEMA message, to be kept where a record is rejected."""
        self._schemas.know(stream, message)

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        self.ledger.ignored(stream, count)

    def add(self, stream: str, kind: Kind, mapped: Mapped, record: Any) -> None:
        """Take one mapped record.

        Args:
            stream: Its stream.
            kind: What it becomes.
            mapped: Its request.
            record: The record, for the rejects file where the quota is used up; None where only its
                request is at hand.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if kind == "events" and self._events_left is not None:
            if self._events_left <= 0:
                self.reject(stream, kind, _OVER_QUOTA, record, request=mapped.body)
                return
            self._events_left -= 1
        self.ledger.received(stream)
        self._batches.make_way(stream, kind, () if mapped.key is None else (mapped.key,))
        batch = self._batches.room_for(stream, kind, len(mapped.body))
        batch.add(mapped)
        self._batches.added(batch)

    @property
    def takes_chunks(self) -> bool:
        """Whether `add_chunk` may be used: a quota of events has to look at each."""
        return self._events_left is None

    def add_chunk(self, stream: str, kind: Kind, chunk: Chunk) -> None:
        """Take the requests of records that follow each other, encoded in as few calls as possible.

        Args:
            stream: Their stream.
            kind: What they become.
            chunk: Their requests.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        requests, keys, total = chunk.requests, chunk.keys, len(chunk.requests)
        self.ledger.received(stream, total)
        self._batches.make_way(stream, kind, keys)
        begin = 0
        while begin < total:
            batch = self._batches.room_for(stream, kind, 0)
            end = min(total, begin + self._settings.batch_size_rows - batch.rows)
            joined = _encode(requests[begin:end])[1:-1]
            if batch.size + len(joined) > self._sender.max_bytes:
                self._add_one_by_one(stream, kind, chunk, begin)
                return
            batch.add_chunk(joined, end - begin, keys[begin:end], timed=chunk.timed)
            self._batches.added(batch)
            begin = end

    def _add_one_by_one(self, stream: str, kind: Kind, chunk: Chunk, begin: int) -> None:
        """Where a batch ends by its bytes must not depend on how the lines were read."""
        for at in range(begin, len(chunk.requests)):
            body = _encode(chunk.requests[at])
            batch = self._batches.room_for(stream, kind, len(body))
            batch.add_chunk(body, 1, chunk.keys[at : at + 1], timed=chunk.timed)
            self._batches.added(batch)

    def reject(
        self,
        stream: str,
        kind: Kind,
        rejected: Rejected,
        record: Any,
        request: bytes | None = None,
    ) -> None:
        """Take a record that is not to be sent.

        Args:
            stream: Its stream.
            kind: What it was to become.
            rejected: The reason.
            record: The record; None where only its request is at hand.
            request: That request.

        Raises:
            OutputError: The rejects file cannot be written.
        """
        self.ledger.received(stream)
        self._schemas.need(stream)
        self.rejects.write(
            stream=stream,
            kind=kind,
            stage="map",
            code=rejected.code,
            message=rejected.message,
            record=record,
            request=msgspec.Raw(request) if record is None and request is not None else None,
        )
        self.ledger.rejected(stream)

    def tell_dropped(self, stream: str, names: tuple[str, ...]) -> None:
        """Count property values that mapping left out; each name is logged once.

        Args:
            stream: The stream.
            names: The properties' names.
        """
        for name in self.ledger.dropped(stream, names):
            logger.warning(
                "Stream %s: a value of property %s was left out, as Fullstory cannot take it; the count is "
                "under dropped_properties in the state",
                stream,
                name,
            )

    def state(self, value: bytes) -> None:
        """Take a STATE message's value, as JSON.

        Raises:
            TargetFullstoryError: The STATE cannot be written, or an earlier request failed for good.
        """
        self._checkpoint.received(value)
        self._batches.mark()
        self._checkpoint.write_due()

    def tick(self) -> None:
        """Do what time asks for: called often, also while the tap is silent.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if self._in_flight.error is not None:
            raise self._in_flight.error
        self._batches.flush_aged()

    # The end

    def abandon(self) -> None:
        """Wait no longer than a short grace for requests on their way: another one failed for good."""
        self._in_flight.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)

    def interrupt(self) -> None:
        """End soon: called by a signal's handler, so it takes no lock."""
        self._interrupted = True
        self._in_flight.give_up_in(_GRACE_SECONDS)

    @property
    def interrupted(self) -> bool:
        """Whether the run was asked to end."""
        return self._interrupted

    def flush(self) -> None:
        """Send everything that is open, then wait until it is accepted and its jobs are over.

        After a signal, events and calls behind the last STATE are left to the next run, which will read
        them again; jobs that do not end in a short grace stay PROCESSING.

        Raises:
            TargetFullstoryError: A request failed for good.
        """
        try:
            leave_rest = self._interrupted and self._checkpoint.any_received
            self._batches.flush_all(leave_rest=leave_rest)
            self._in_flight.wait_for_answers()
            if self._settings.wait_for_jobs:
                self._in_flight.wait_until_idle()
        except StopWaiting:
            logger.warning("Stopped while batches or jobs were unfinished; the next run takes over")

    def close(self) -> None:
        """End the threads and close the rejects file; requests on their way are waited for.

        Raises:
            OutputError: The rejects file cannot be written.
        """
        self._sender.close()
        self._jobs.close()
        self._client.close()
        self.rejects.close()

    def write_last_state(self, *, complete: bool) -> None:
        """Write the STATE that ends the run.

        Raises:
            OutputError: It cannot be written.
        """
        self._checkpoint.write_last(complete=complete)

    @property
    def error(self) -> Exception | None:
        """The error that a sending thread met, None while all is well."""
        return self._in_flight.error


_OVER_QUOTA = Rejected("event_quota", "the run has sent max_events events")
