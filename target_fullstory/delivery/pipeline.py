"""The way of a record from the mapping to the checkpoint: batch, send, track, checkpoint.

Runs in the reading thread. What decides where a batch of events ends is only what the tap sent (rows, bytes
and STATE messages), so that a repeated input forms the same batches; the exceptions are a flush by age and
the end of the input.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import msgspec

from target_fullstory.delivery.batch import Batch, OpenBatch
from target_fullstory.delivery.checkpoint import CheckpointWriter
from target_fullstory.delivery.client import Client
from target_fullstory.delivery.inflight import InFlight, StopWaiting
from target_fullstory.delivery.jobs import Jobs
from target_fullstory.delivery.journal import Journal
from target_fullstory.delivery.logs import logger
from target_fullstory.delivery.rejects import Rejects
from target_fullstory.delivery.sender import Sender
from target_fullstory.mapping import Chunk, Kind, Mapped, Rejected
from target_fullstory.settings import Settings
from target_fullstory.state import Ledger, StateBlock

_GRACE_SECONDS = 10.0
_GRACE_AFTER_AN_ERROR_SECONDS = 2.0
_encode = msgspec.json.Encoder().encode


class Pipeline:
    """Delivers mapped records and writes the checkpoints."""

    def __init__(self, settings: Settings, url: str, run_id: str) -> None:
        """Prepare a run; nothing is sent or created yet.

        Args:
            settings: The run's settings.
            url: The Server API's base address.
            run_id: Names the run's files.
        """
        self._settings = settings
        self.ledger = Ledger(responses=settings.state_responses)
        self.rejects = Rejects(settings.output_dir, run_id)
        self.block = StateBlock(settings.state_key, run_id, self.ledger)
        self._checkpoint = CheckpointWriter(self.block, self.rejects)
        self._in_flight = InFlight(settings.concurrency)
        self._client = Client(settings, url)
        journal = Journal(settings.output_dir, run_id, settings.api_url)
        self._jobs = Jobs(
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
        )
        self._open: dict[str, OpenBatch] = {}
        self._events_left = settings.max_events
        self._interrupted = False

    # What the tap sends

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; None for one that is ignored."""
        self.ledger.open_stream(stream, kind or "ignored")

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        self.ledger.ignored(stream, count)

    def add(self, stream: str, kind: Kind, mapped: Mapped, record: Any) -> None:
        """Take one mapped record.

        Args:
            stream: Its stream.
            kind: What it becomes.
            mapped: Its request.
            record: The record, for the rejects file where the quota is used up.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if kind == "events" and self._events_left is not None:
            if self._events_left <= 0:
                self.reject(stream, kind, _OVER_QUOTA, record)
                return
            self._events_left -= 1
        self.ledger.received(stream)
        if mapped.key is not None:
            self._keep_order(stream, {mapped.key})
        batch = self._room_for(stream, kind, len(mapped.body))
        batch.add(mapped)
        if batch.rows >= self._settings.batch_size_rows:
            self._flush_full(batch)

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
        if keys:
            self._keep_order(stream, keys)
        begin = 0
        while begin < total:
            batch = self._room_for(stream, kind, 0)
            end = min(total, begin + self._settings.batch_size_rows - batch.rows)
            joined = _encode(requests[begin:end])[1:-1]
            if batch.size + len(joined) > self._sender.max_bytes:
                self._add_one_by_one(stream, kind, chunk, begin)
                return
            batch.add_chunk(joined, end - begin, keys[begin:end], timed=chunk.timed)
            if batch.rows >= self._settings.batch_size_rows:
                self._flush_full(batch)
            begin = end

    def _add_one_by_one(self, stream: str, kind: Kind, chunk: Chunk, begin: int) -> None:
        """Where a batch ends by its bytes must not depend on how the lines were read."""
        for at in range(begin, len(chunk.requests)):
            body = _encode(chunk.requests[at])
            batch = self._room_for(stream, kind, len(body))
            batch.add_chunk(body, 1, chunk.keys[at : at + 1], timed=chunk.timed)
            if batch.rows >= self._settings.batch_size_rows:
                self._flush_full(batch)

    def reject(self, stream: str, kind: Kind, rejected: Rejected, record: Any) -> None:
        """Take a record that cannot be mapped.

        Raises:
            OutputError: The rejects file cannot be written.
        """
        self.ledger.received(stream)
        self.rejects.write(
            stream=stream,
            kind=kind,
            stage="map",
            code=rejected.code,
            message=rejected.message,
            record=record,
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
            OutputError: The STATE cannot be written.
        """
        self._checkpoint.received(value)
        for batch in self._open.values():
            if batch.kind == "events":
                batch.mark()
        self._checkpoint.write_due()

    def tick(self) -> None:
        """Do what time asks for: called often, also while the tap is silent.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if self._in_flight.error is not None:
            raise self._in_flight.error
        oldest = time.monotonic() - self._settings.batch_wait_limit_seconds
        if any(batch.opened_at <= oldest for batch in self._open.values()):
            self._flush_aged(oldest)

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

        After a signal, events behind the last STATE are left to the next run, which will read them again;
        jobs that do not end in a short grace stay PROCESSING.

        Raises:
            TargetFullstoryError: A request failed for good.
        """
        try:
            self._flush_users()
            self._flush_events_to_state()
            if self._interrupted and self._checkpoint.any_received:
                self._leave_events()
            for batch in list(self._open.values()):
                self._send_whole(batch)
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

    # Batches

    def _keep_order(self, stream: str, keys: Collection[str]) -> None:
        """Send another stream's open batch first where it holds one of these users."""
        for other in list(self._open.values()):
            if other.stream != stream and other.kind == "users" and other.has_any(keys):
                self._send_whole(other)

    def _room_for(self, stream: str, kind: Kind, size: int) -> OpenBatch:
        batch = self._open.get(stream)
        while batch is not None and batch.size + size > self._sender.max_bytes:
            self._flush_full(batch)
            batch = self._open.get(stream)
        if batch is None:
            batch = self._open[stream] = OpenBatch(stream, kind, self._checkpoint.open())
        return batch

    def _flush_full(self, batch: OpenBatch) -> None:
        if batch.marked:
            self._flush_events_to_state()
        else:
            self._send_whole(batch)

    def _flush_users(self) -> None:
        for batch in list(self._open.values()):
            if batch.kind == "users":
                del self._open[batch.stream]
                self._sender.submit(batch.close())

    def _flush_events_to_state(self) -> None:
        """Cut all batches of events at the last STATE, so that it is a clean place to restart from."""
        marked = [batch for batch in self._open.values() if batch.marked]
        if not marked:
            return
        self._before_events()
        closed: list[Batch] = []
        for batch in marked:
            part, rest = batch.cut(self._checkpoint.open)
            closed.append(part)
            if rest is not None:
                self._open[batch.stream] = rest
            else:
                del self._open[batch.stream]
        self._checkpoint.close_over(min((part.ticket for part in closed), key=_begin))
        for part in closed:
            self._sender.submit(part)

    def _send_whole(self, batch: OpenBatch) -> None:
        if batch.kind == "events":
            self._before_events()
        del self._open[batch.stream]
        self._sender.submit(batch.close())

    def _before_events(self) -> None:
        if self._settings.events_wait_for_users:
            self._flush_users()

    def _flush_aged(self, oldest: float) -> None:
        if any(batch.marked and batch.opened_at <= oldest for batch in self._open.values()):
            self._flush_events_to_state()
        for batch in list(self._open.values()):
            if batch.opened_at <= oldest and batch.stream in self._open:
                self._send_whole(batch)

    def _leave_events(self) -> None:
        for batch in list(self._open.values()):
            if batch.kind == "events":
                del self._open[batch.stream]
                self.ledger.received(batch.stream, -batch.rows)
                logger.info(
                    "%d records of stream %s came after the last STATE; the next run reads them again",
                    batch.rows,
                    batch.stream,
                )


_OVER_QUOTA = Rejected("event_quota", "the run has sent max_events events")


def _begin(ticket: Any) -> int:
    return int(ticket.position.epoch)
