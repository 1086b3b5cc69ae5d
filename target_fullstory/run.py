"""One run: its id, its pipeline, the embedded sandbox where asked for, and its orderly end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_fullstory.accounting.rejects import timestamp
from target_fullstory.accounting.run_report import write_report
from target_fullstory.api.embedded_sandbox import start_sandbox
from target_fullstory.errors import DeliveryError, OutputError
from target_fullstory.logs import logger
from target_fullstory.pipeline import Pipeline
from target_fullstory.settings.model import SANDBOX, Settings

if TYPE_CHECKING:
    from target_fullstory.webhook.webhook_delivery import WebhookDelivery

_WEBHOOK_GRACE_SECONDS = 5.0
_WEBHOOK_GRACE_IN_A_HURRY_SECONDS = 1.0


class Run:
    """From the first message to the run report."""

    def __init__(
        self, settings: Settings, config: Mapping[str, Any], *, key_salt: str = ""
    ) -> None:
        """Begin a run; starts the embedded sandbox where `api_url` says so.

        Args:
            settings: The settings.
            config: The configuration as given, for the run report.
            key_salt: Sets the keys that are made of content apart from those of other runs.

        Raises:
            OutputError: The embedded sandbox cannot keep its database.
        """
        self._settings = settings
        self._config = config
        self._began, self._clock = timestamp(), time.monotonic()
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.id = f"{stamp}-{secrets.token_hex(4)}"
        self._sandbox = start_sandbox(settings) if settings.api_url == SANDBOX else None
        url = self._sandbox.url if self._sandbox else settings.api_url
        self._webhook = _webhook(settings, self.id)
        tell = self._webhook.on_response if self._webhook else None
        self.pipeline = Pipeline(settings, url, self.id, key_salt, tell)

    def end(self, *, deliver: bool = True) -> None:
        """Send what is open, wait for it, write the last STATE and the run report.

        Args:
            deliver: Whether there is a point in sending; False where a request or a file has failed.

        Raises:
            TargetFullstoryError: Something could not be delivered or written.
        """
        pipeline = self.pipeline
        error: Exception | None = None
        try:
            if deliver:
                pipeline.flush()
            else:
                pipeline.abandon()
        except (DeliveryError, OutputError) as failure:
            error = failure
            pipeline.abandon()
        try:
            pipeline.close()
            pipeline.write_last_state(complete=self._complete)
        except OutputError as failure:
            error = error or failure
        error = error or pipeline.error
        in_a_hurry = error is not None or not deliver or pipeline.interrupted
        self._report(self._end_webhook(in_a_hurry=in_a_hurry))
        if self._sandbox is not None:
            counts = self._sandbox.counts()
            logger.info(
                "The sandbox (%s) holds %d users, %d events, %d jobs",
                self._sandbox_db,
                counts["users"],
                counts["events"],
                counts["jobs"],
            )
            self._sandbox.__exit__(None, None, None)
        if deliver and error is not None:
            raise error

    @property
    def _sandbox_db(self) -> Path:
        return Path(self._settings.output_dir) / "sandbox.db"

    @property
    def _complete(self) -> bool:
        totals = self.pipeline.ledger.totals()
        return totals.received == totals.ended

    def _end_webhook(self, *, in_a_hurry: bool) -> dict[str, Any]:
        """What the run report tells of the response webhook."""
        if self._webhook is None:
            return {}
        hurry, calm = _WEBHOOK_GRACE_IN_A_HURRY_SECONDS, _WEBHOOK_GRACE_SECONDS
        return {"response_webhook": self._webhook.close(hurry if in_a_hurry else calm)}

    def _report(self, webhook: dict[str, Any]) -> None:
        totals = self.pipeline.ledger.totals()
        jobs = self.pipeline.ledger.jobs(every=True)
        logger.info(
            "Run %s: %d records received, %d delivered, %d rejected, %d merged, %d ignored; %d jobs",
            self.id,
            totals.received,
            totals.delivered,
            totals.rejected,
            totals.merged,
            totals.ignored,
            len(jobs),
        )
        if not self._complete:
            logger.warning(
                "%d records received have no end: no STATE covers them, the next run reads them again",
                totals.received - totals.ended,
            )
        write_report(
            self._settings.output_dir,
            self.id,
            {
                **self.pipeline.block.build(
                    self.pipeline.rejects.summary(), final=True, every_job=True
                ),
                **webhook,
                "config": self._settings.redacted(self._config),
                "timings": {
                    "began": self._began,
                    "ended": timestamp(),
                    "seconds": round(time.monotonic() - self._clock, 3),
                },
            },
        )


def _webhook(settings: Settings, run_id: str) -> WebhookDelivery | None:
    if settings.response_webhook is None:
        return None
    # Imported here: most runs have none.
    from target_fullstory.webhook.webhook_delivery import WebhookDelivery  # noqa: PLC0415

    return WebhookDelivery(settings.response_webhook, run_id)
