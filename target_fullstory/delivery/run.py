"""One run: its id, its pipeline, the embedded sandbox where asked for, and its orderly end."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_fullstory.delivery.logs import logger
from target_fullstory.delivery.pipeline import Pipeline
from target_fullstory.delivery.rejects import timestamp
from target_fullstory.delivery.report import write_report
from target_fullstory.errors import ConfigurationError, DeliveryError, OutputError
from target_fullstory.settings import SANDBOX, Settings, shown

if TYPE_CHECKING:
    from target_fullstory.sandbox import Sandbox


class Run:
    """From the first message to the run report."""

    def __init__(self, settings: Settings, config: Mapping[str, Any]) -> None:
        """Begin a run; starts the embedded sandbox where `api_url` says so.

        Args:
            settings: The settings.
            config: The configuration as given, for the run report.

        Raises:
            OutputError: The embedded sandbox cannot keep its database.
        """
        self._settings = settings
        self._config = config
        self._began, self._clock = timestamp(), time.monotonic()
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.id = f"{stamp}-{secrets.token_hex(4)}"
        self._sandbox = _start_sandbox(settings) if settings.api_url == SANDBOX else None
        url = self._sandbox.url if self._sandbox else settings.api_url
        self.pipeline = Pipeline(settings, url, self.id)

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
        self._report()
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

    def _report(self) -> None:
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
                "config": shown(self._settings, self._config),
                "timings": {
                    "began": self._began,
                    "ended": timestamp(),
                    "seconds": round(time.monotonic() - self._clock, 3),
                },
            },
        )


def _start_sandbox(settings: Settings) -> Sandbox:
    # Imported here: most runs need no sandbox, and its packages are an extra.
    from target_fullstory.sandbox import (  # noqa: PLC0415
        Sandbox,
        SandboxNotInstalledError,
        SandboxOptions,
    )

    directory = Path(settings.output_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return Sandbox(SandboxOptions(db=directory / "sandbox.db")).__enter__()
    except SandboxNotInstalledError as error:
        raise ConfigurationError(f"api_url is sandbox: {error}") from None
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"The embedded sandbox cannot keep its database in {directory}: {error}. Set output_dir to a "
            "writable directory."
        ) from None
