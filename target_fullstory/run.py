"""One run: takes mapped records and STATEs, batches and sends them, and comes to an orderly end.

Runs in the reading thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

import msgspec

from target_fullstory.accounting.rejects import Reject, timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.accounting.run_report import write_report
from target_fullstory.batching.batcher import BatchDispatcher, Batcher
from target_fullstory.delivery import FullstoryDelivery
from target_fullstory.errors import DeliveryError, OutputError
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Chunk, Rejected
from target_fullstory.sending.in_flight import InFlight, StopWaiting
from target_fullstory.settings.model import Settings

OVER_QUOTA = Rejected("event_quota", "the run has sent max_events events")

_GRACE_SECONDS = 10.0
_GRACE_AFTER_AN_ERROR_SECONDS = 2.0


class Delivery(Protocol):
    """What a run delivers with: to Fullstory, or into a preview."""

    accounting: Accounting
    in_flight: InFlight

    @property
    def dispatcher(self) -> BatchDispatcher:
        """Takes closed batches."""

    def require(self, stream: str, kind: Kind) -> None:
        """Raise a ConfigurationError where the API key's role surely does not allow a stream's kind."""

    def stop_sending(self) -> None:
        """Wait for the requests in flight and end the threads."""

    def close(self, *, in_a_hurry: bool) -> dict[str, Any]:
        """End the rest; returns what it adds to the run report."""


class Run:
    """From the first message to the run report."""

    def __init__(
        self,
        settings: Settings,
        config: Mapping[str, Any],
        *,
        key_salt: str = "",
        delivery: Delivery | None = None,
    ) -> None:
        """Begin a run; nothing is sent yet.

        Args:
            settings: The settings.
            config: The configuration as given, for the run report.
            key_salt: Sets the keys that are made of content apart from those of other runs.
            delivery: Delivers elsewhere than to Fullstory.
        """
        self._settings = settings
        self._config = config
        self._began, self._clock = timestamp(), time.monotonic()
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.id = f"{stamp}-{secrets.token_hex(4)}"
        self._delivery = delivery or FullstoryDelivery(settings, self.id, key_salt)
        self._in_flight = self._delivery.in_flight
        accounting = self._delivery.accounting
        self.ledger = accounting.ledger
        self.rejects = accounting.rejects
        self._block = accounting.block
        self._checkpoints = accounting.checkpoints
        self._batcher = Batcher(settings, self._delivery.dispatcher, accounting)
        self.events_left = settings.max_events
        self._interrupted = False

    # What the tap sends: each call may raise the error that an earlier request met

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; None for one that is ignored."""
        if kind is not None:
            self._delivery.require(stream, kind)
        self.ledger.open_stream(stream, kind or "ignored")

    def know_schema(self, stream: str, message: dict[str, Any]) -> None:
        """Take note of a stream's SCHEMA message, to be kept where a record is rejected."""
        self.rejects.know_schema(stream, message)

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        self.ledger.count(stream, received=count, ignored=count)

    def add(self, stream: str, chunk: Chunk) -> None:
        """Take the requests of records that follow each other; events beyond the quota are rejected."""
        if self.events_left is not None and chunk.kind == "events":
            allowed, rest = chunk.requests[: self.events_left], chunk.requests[self.events_left :]
            self.events_left -= len(allowed)
            for request in rest:
                encoded = msgspec.json.encode(request)
                self.reject(stream, chunk.kind, OVER_QUOTA, None, request=encoded)
            chunk = Chunk(chunk.kind, allowed, [], chunk.timed)
        self.ledger.count(stream, received=len(chunk.requests))
        self._batcher.add(stream, chunk)

    def reject(
        self, stream: str, kind: Kind, rejected: Rejected, record: Any, request: bytes | None = None
    ) -> None:
        """Take a record that is not to be sent; None and its request where that alone is at hand."""
        self.ledger.count(stream, received=1)
        reject = Reject(
            stream=stream, kind=kind, stage="map", code=rejected.code, message=rejected.message, record=record
        )
        if record is None and request is not None:
            reject.request = msgspec.Raw(request)
        self.rejects.write(reject)

    def count_dropped(self, stream: str, names: tuple[str, ...]) -> None:
        """Count property values that mapping left out; each name is logged once."""
        for name in self.ledger.dropped(stream, names):
            logger.warning(
                "Stream %s: a value of property %s was left out, as Fullstory cannot take it; the count is "
                "under dropped_properties in the state",
                stream,
                name,
            )

    def state(self, value: bytes) -> None:
        """Take a STATE message's value, as JSON."""
        self._checkpoints.receive(value)
        self._batcher.mark_state()
        self._checkpoints.write_due()

    def tick(self) -> None:
        """Do what time asks for: called often, also while the tap is silent."""
        if self._in_flight.error is not None:
            raise self._in_flight.error
        self._batcher.flush_aged()

    # The end

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
        """
        try:
            leave_rest = self._interrupted and self._checkpoints.received_any
            self._batcher.flush_all(leave_rest=leave_rest)
            self._in_flight.wait_for_responses()
            if self._settings.wait_for_jobs:
                self._in_flight.wait_until_idle()
        except StopWaiting:
            logger.warning("Stopped while batches or jobs were unfinished; the next run takes over")

    def end(self, *, deliver: bool = True) -> None:
        """Send what is open, wait for it, write the last STATE and the run report; raises what went wrong.

        Where a request or a file has failed before, there is no point in sending, nor in raising it again:
        then `deliver` is False.
        """
        error: Exception | None = None
        try:
            if deliver:
                self.flush()
            else:
                self._in_flight.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)
        except (DeliveryError, OutputError) as failure:
            error = failure
            self._in_flight.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)
        try:
            self._delivery.stop_sending()
            self.rejects.close()
            self._checkpoints.write_last(complete=self._complete)
        except OutputError as failure:
            error = error or failure
        error = error or self._in_flight.error
        self._log_totals()
        in_a_hurry = error is not None or not deliver or self._interrupted
        self._write_report(self._delivery.close(in_a_hurry=in_a_hurry))
        if deliver and error is not None:
            raise error

    @property
    def _complete(self) -> bool:
        totals = self.ledger.totals()
        return totals.received == totals.ended

    def _log_totals(self) -> None:
        totals = self.ledger.totals()
        logger.info(
            "Run %s: %d records received, %d delivered, %d rejected, %d merged, %d ignored; %d jobs",
            self.id,
            totals.received,
            totals.delivered,
            totals.rejected,
            totals.merged,
            totals.ignored,
            len(self.ledger.jobs(every=True)),
        )
        if totals.received != totals.ended:
            logger.warning(
                "%d records received have no end: no STATE covers them, the next run reads them again",
                totals.received - totals.ended,
            )

    def _write_report(self, of_delivery: dict[str, Any]) -> None:
        write_report(
            self._settings.output_dir,
            self.id,
            {
                **self._block.build(final=True, every_job=True),
                **of_delivery,
                "config": self._settings.redacted(self._config),
                "timings": {
                    "began": self._began,
                    "ended": timestamp(),
                    "seconds": round(time.monotonic() - self._clock, 3),
                },
            },
        )
