"""A run that sends to Fullstory: what it is made of, and how it ends.

Runs in the reading thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.progress_lines import ProgressLines
from target_fullstory.accounting.rejects import timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.accounting.run_report import RunReport, log_reasons, log_totals
from target_fullstory.accounting.state_output import StateOutput
from target_fullstory.api.client import Client
from target_fullstory.api.key_account import KeyAccount, briefly
from target_fullstory.api.roles import RoleCheck
from target_fullstory.errors import DeliveryError, OutputError
from target_fullstory.kinds import USER_CHANGES, Kind
from target_fullstory.logs import counted, logger
from target_fullstory.mapping import Chunk
from target_fullstory.run import GRACE_SECONDS, Run
from target_fullstory.sending.dispatcher import Dispatcher
from target_fullstory.sending.in_flight import InFlight, StopWaiting
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.settings.model import SANDBOX, Settings

if TYPE_CHECKING:
    from target_fullstory.snapshot.snapshot import Snapshot
    from target_fullstory.snapshot.stream_snapshot import Selection

_GRACE_AFTER_AN_ERROR_SECONDS = 2.0
_WEBHOOK_GRACE_SECONDS = 5.0
_WEBHOOK_GRACE_IN_A_HURRY_SECONDS = 1.0


class Load(Run):
    """A run that sends to Fullstory, and keeps its STATE, rejects and report."""

    def __init__(
        self, settings: Settings, config: Mapping[str, Any], key_salt: str = "", approved: str | None = None
    ) -> None:
        """Start the embedded sandbox where `api_url` says so, and take over the jobs of killed runs.

        `config` is the configuration as given, for the run report. Idempotency keys made of content differ
        from those of runs with another `key_salt`. `approved` is the id of a plan that goes beyond the limits
        of vanished or changed users.
        """
        self._shown_config = settings.redacted(config)
        self._output = StateOutput()
        self._began_at = time.monotonic()
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
        if advice := settings.advice_on_data_center:
            logger.info(advice)
        self._report = RunReport(settings.output_dir, self._id, self._report_now)
        accounting = Accounting(
            settings, self._id, write_state=self._output.write, on_response=on_response, report=self._report
        )
        # The report needs it as soon as the jobs of earlier runs are looked at.
        self._block = accounting.block
        in_flight = InFlight(settings)
        self._client = Client(settings, url)
        self._client.on_attempt = accounting.metrics.attempt
        self._account = KeyAccount(settings, Client(briefly(settings), url))
        self._role_check = RoleCheck(settings, self._account)
        accounting.block.organization = lambda: self._destination.organization
        self._journal = JobJournal(settings.output_dir, self._id, settings.api_url, self._account)
        snapshot = outbox = None
        if any(spec.sync != "all" for spec in settings.streams.values()):
            # Imported here: most runs have none.
            from target_fullstory.sending.outbox import Outbox  # noqa: PLC0415
            from target_fullstory.snapshot.change_limits import ChangeLimits  # noqa: PLC0415
            from target_fullstory.snapshot.open_snapshot import open_snapshot  # noqa: PLC0415

            snapshot = open_snapshot(settings, self._account.certain_destination())
            limits = snapshot.limits = ChangeLimits(settings, approved)
            outbox = Outbox(self._journal, snapshot)
        self._jobs = JobTracker(settings, self._client, accounting, in_flight, self._journal, outbox)
        self._dispatcher = Dispatcher(settings, self._client, self._jobs, in_flight, accounting, key_salt)
        super().__init__(settings, accounting, in_flight, self._dispatcher)
        self.snapshot = snapshot
        self._dispatcher.snapshot = snapshot
        if snapshot and any(spec.sync == "mirror" for spec in settings.streams.values()):
            from target_fullstory.mirror import Mirror  # noqa: PLC0415

            self.mirror = Mirror(settings, snapshot, self, self.rejects, limits.check_vanished)
        interval = settings.progress_interval_seconds
        self._progress = ProgressLines(accounting.ledger, accounting.metrics, interval)

    @property
    def _destination(self) -> Destination:
        """Where this run sends, as far as it is known by now."""
        return self._account.destination()

    def settle(self) -> None:
        """See `Run`; raises the error of a request that is not answered."""
        self._dispatcher.settle()
        if self.snapshot:
            self.snapshot.book(everything=True)

    def open_stream(self, stream: str, kind: Kind | None) -> None:
        """Begin a stream; a ConfigurationError where the API key's role surely does not allow its kind."""
        if kind is not None:
            self._role_check.require(stream, kind)
        super().open_stream(stream, kind)

    def interrupt(self) -> None:
        """See `Run`."""
        super().interrupt()
        self._output.give_up_in(GRACE_SECONDS)

    def add(
        self,
        stream: str,
        chunk: Chunk,
        record: Any = None,
        source: str | None = None,
        selection: Selection | None = None,
        known_by: bytes | None = None,
    ) -> None:
        """Take requests; meanwhile the key's organization is asked for, which the state names."""
        self._account.ask()
        super().add(stream, chunk, record, source, selection, known_by)

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
        refusal: Exception | None = None
        try:
            if deliver:
                self.flush()
                refusal = self._treat_vanished()
            else:
                self._in_flight.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)
        except (DeliveryError, OutputError) as failure:
            error = failure
            self._in_flight.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)
        if self.mirror and (error or not deliver):
            self.mirror.finish(lambda: "the run failed")
        try:
            self._dispatcher.close()
            self._jobs.close()
            if self.snapshot:
                self._checkpoints.write_due(at_once=True)
                error = error or self._close_snapshot(self.snapshot)
            self._journal.close()
            self._client.close()
            self._block.finish()
            self.rejects.close(self._destination)
            totals = self.ledger.totals()
            if self.interrupted:
                self._output.give_up_in(_GRACE_AFTER_AN_ERROR_SECONDS)
            self._checkpoints.write_last(complete=totals.received == totals.ended)
        except OutputError as failure:
            error = error or failure
        error = error or self._in_flight.error
        self._finish(in_a_hurry=error is not None or not deliver or self.interrupted)
        error = error or refusal
        if deliver and error is not None:
            raise error

    def _treat_vanished(self) -> Exception | None:
        """Mark or delete the users who vanished; returns the error of a stream with too many of them."""
        if self.mirror is None:
            return None
        refusal = self.mirror.finish(self._why_not_all_in)
        self.flush()
        return refusal

    def _why_not_all_in(self) -> str:
        """Wait until Fullstory has all that was read, also where the run waits for no job else."""
        with suppress(StopWaiting):
            self._in_flight.wait_for_kinds([*USER_CHANGES, "events"])
        if self.interrupted or self._beyond_limit:
            return "the run was stopped"
        if self.snapshot:
            self.snapshot.book(everything=True)
        if any(job.finished is None for job in self.ledger.jobs(every=True)):
            return "a batch job has not ended"
        return ""

    def _close_snapshot(self, snapshot: Snapshot) -> OutputError | None:
        """Returns what went wrong: what Fullstory has accepted is accepted, and the last STATE says so."""
        try:
            try:
                self._dispatcher.book_apart()
                snapshot.book(everything=True)
            finally:
                snapshot.close()
        except OutputError as error:
            return error
        return None

    def _finish(self, *, in_a_hurry: bool) -> None:
        """Log what became of the records, end what runs beside the load, and write the run report."""
        self._progress.close()
        log_totals(self._id, self.ledger)
        log_reasons(self.rejects.reasons)
        repeated = self.uids.found()
        for stream, uid in repeated.items():
            logger.warning("Stream %s: %s", stream, uid.warning)
        more: dict[str, Any] = {"repeated_uids": repeated}
        if self.snapshot is not None:
            more["changes"] = self.snapshot.figures()
        if self._webhook is not None:
            grace = _WEBHOOK_GRACE_IN_A_HURRY_SECONDS if in_a_hurry else _WEBHOOK_GRACE_SECONDS
            more["response_webhook"] = self._webhook.close(grace)
        self._close_sandbox()
        seconds = round(time.monotonic() - self._began_at, 3)
        timings = {"began": self._block.started_at, "ended": timestamp(), "seconds": seconds}
        self._report.finish(**more, timings=timings)

    def _report_now(self) -> dict[str, Any]:
        block = self._block.build(final=True, every_job=True)
        return {**block, "destination": self._destination, "config": self._shown_config}

    def _close_sandbox(self) -> None:
        if self._sandbox is None:
            return
        counts = self._sandbox.counts()
        logger.info(
            "The sandbox (%s) holds %s, %s, %s",
            Path(self._settings.output_dir) / "sandbox.db",
            counted(counts["users"], "user"),
            counted(counts["events"], "event"),
            counted(counts["jobs"], "batch job"),
        )
        self._sandbox.__exit__(None, None, None)
