"""One run: takes mapped records and STATEs, batches and sends them, and ends in order.

Runs in the reading thread.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.rejects import Reject, timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.accounting.run_report import log_totals, write_report
from target_fullstory.api.client import Client
from target_fullstory.api.key_account import KeyAccount, briefly
from target_fullstory.api.roles import RoleCheck
from target_fullstory.batching.batcher import BatchDispatcher, Batcher
from target_fullstory.errors import DeliveryError, OutputError
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Chunk, Rejected
from target_fullstory.sending.dispatcher import Dispatcher
from target_fullstory.sending.in_flight import InFlight, StopWaiting
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.settings.model import SANDBOX, Settings

_OVER_QUOTA = Rejected("event_quota", "the run has sent max_events events")

_GRACE_SECONDS = 10.0
_GRACE_AFTER_AN_ERROR_SECONDS = 2.0
_WEBHOOK_GRACE_SECONDS = 5.0
_WEBHOOK_GRACE_IN_A_HURRY_SECONDS = 1.0


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
        self._in_flight = in_flight
        self._batcher = Batcher(settings, dispatcher, accounting)
        self.events_left = settings.max_events  # None: no quota
        self.interrupted = False
        # Whether a rejected record lacked a key property: singer-sdk has an error of its own for that.
        self.missing_keys = False

    @abstractmethod
    def end(self, *, deliver: bool = True) -> None:
        """End the run, without sending what is open where a request or a file has failed before."""

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; its kind is None where it is ignored."""
        self.ledger.open_stream(stream, kind or "ignored")

    def ignore(self, stream: str, count: int) -> None:
        """Count records of an ignored stream."""
        self.ledger.count(stream, received=count, ignored=count)

    def add(self, stream: str, chunk: Chunk, record: Any = None) -> None:
        """Take the requests of records that follow each other.

        With a quota of events they come one at a time, with the record where it is at hand: beyond the quota
        it is rejected as it came.
        """
        if self.events_left is not None and chunk.kind == "events":
            if self.events_left < len(chunk.requests):
                request = msgspec.json.encode(chunk.requests[0])
                self.reject(stream, chunk.kind, _OVER_QUOTA, record, request)
                return
            self.events_left -= len(chunk.requests)
        self.ledger.count(stream, received=len(chunk.requests))
        self._batcher.add(stream, chunk)

    def reject(
        self, stream: str, kind: Kind, rejected: Rejected, record: Any, request: bytes | None = None
    ) -> None:
        """Take a record that is not to be sent; None and its request where that alone is at hand."""
        self.ledger.count(stream, received=1)
        reject = Reject(
            stream=stream,
            kind=kind,
            stage="map",
            code=rejected.code,
            column=rejected.column,
            message=rejected.message,
            record=record,
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
        """Do what is due: called often, also while the tap is silent."""
        if self._in_flight.error is not None:
            raise self._in_flight.error
        self._batcher.flush_aged()

    def interrupt(self) -> None:
        """End soon: called by a signal's handler, so it takes no lock."""
        self.interrupted = True
        self._in_flight.give_up_in(_GRACE_SECONDS)

    def flush(self) -> None:
        """Send everything that is open, then wait until it is accepted and its jobs are over.

        After a signal, events and calls behind the last STATE are left to the next run, which will read
        them again; jobs that do not end in a short grace stay PROCESSING.
        """
        try:
            leave_rest = self.interrupted and self._checkpoints.received_any
            self._batcher.flush_all(leave_rest=leave_rest)
            self._in_flight.wait_for_responses()
            if self._settings.wait_for_jobs:
                self._in_flight.wait_until_idle()
        except StopWaiting:
            logger.warning("Stopped while batches or jobs were unfinished; the next run takes over")


class Load(Run):
    """A run that sends to Fullstory, and keeps its STATE, rejects and report."""

    def __init__(self, settings: Settings, config: Mapping[str, Any], key_salt: str = "") -> None:
        """Start the embedded sandbox where `api_url` says so, and take over the jobs of killed runs.

        `config` is the configuration as given, for the run report. Idempotency keys made of content differ
        from those of runs with another `key_salt`.
        """
        self._config = config
        self._began, self._clock = timestamp(), time.monotonic()
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self._id = f"{stamp}-{secrets.token_hex(4)}"
        self._sandbox = None
        url = settings.api_url
        if url == SANDBOX:
            # Imported here, as the webhook below: most runs have none.
            from target_fullstory.api.embedded_sandbox import start_sandbox  # noqa: PLC0415

            self._sandbox = start_sandbox(settings)
            url = self._sandbox.url
        self._webhook = on_response = None
        if settings.response_webhook is not None:
            from target_fullstory.webhook.webhook_delivery import WebhookDelivery  # noqa: PLC0415

            self._webhook = WebhookDelivery(settings.response_webhook, self._id)
            on_response = self._webhook.on_response
        accounting, in_flight = Accounting(settings, self._id, on_response=on_response), InFlight(settings)
        self._client = Client(settings, url)
        self._account = KeyAccount(settings, Client(briefly(settings), url))
        self._role_check = RoleCheck(settings, self._account)
        accounting.block.organization = lambda: self._destination.organization
        journal = JobJournal(settings.output_dir, self._id, settings.api_url, self._account)
        self._jobs = JobTracker(settings, self._client, accounting, in_flight, journal)
        self._dispatcher = Dispatcher(settings, self._client, self._jobs, in_flight, accounting, key_salt)
        super().__init__(settings, accounting, in_flight, self._dispatcher)

    @property
    def _destination(self) -> Destination:
        """Where this run sends, as far as it is known by now."""
        return self._account.destination()

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; a ConfigurationError where the API key's role surely does not allow its kind."""
        if kind is not None:
            self._role_check.require(stream, kind)
        super().open_stream(stream, kind)

    def add(self, stream: str, chunk: Chunk, record: Any = None) -> None:
        """Take requests; meanwhile the key's organization is asked for, which the state names."""
        self._account.ask()
        super().add(stream, chunk, record)

    def flush(self) -> None:
        """Send everything that is open, and wait for it; also for a look at the jobs of earlier runs."""
        super().flush()
        if not self.interrupted:
            with suppress(StopWaiting):
                self._jobs.wait_for_looks()
            self._account.wait()

    def end(self, *, deliver: bool = True) -> None:
        """Send what is open, wait for it, write the last STATE and the run report; raises what went wrong.

        `deliver` is False where a request or a file has failed and that error is being raised already.
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
            self._dispatcher.close()
            self._jobs.close()
            self._client.close()
            self.rejects.close()
            totals = self.ledger.totals()
            self._checkpoints.write_last(complete=totals.received == totals.ended)
        except OutputError as failure:
            error = error or failure
        error = error or self._in_flight.error
        log_totals(self._id, self.ledger)
        report = self._block.build(final=True, every_job=True)
        if self._webhook is not None:
            in_a_hurry = error is not None or not deliver or self.interrupted
            grace = _WEBHOOK_GRACE_IN_A_HURRY_SECONDS if in_a_hurry else _WEBHOOK_GRACE_SECONDS
            report["response_webhook"] = self._webhook.close(grace)
        self._close_sandbox()
        report["config"] = self._settings.redacted(self._config)
        seconds = round(time.monotonic() - self._clock, 3)
        report["timings"] = {"began": self._began, "ended": timestamp(), "seconds": seconds}
        write_report(self._settings.output_dir, self._id, report)
        if deliver and error is not None:
            raise error

    def _close_sandbox(self) -> None:
        if self._sandbox is None:
            return
        counts = self._sandbox.counts()
        logger.info(
            "The sandbox (%s) holds %d users, %d events, %d jobs",
            Path(self._settings.output_dir) / "sandbox.db",
            counts["users"],
            counts["events"],
            counts["jobs"],
        )
        self._sandbox.__exit__(None, None, None)
