"""The run report, a file; and what a run logs at its end: its totals, and why records were rejected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.output_files import replace
from target_fullstory.accounting.reject_reasons import RejectReasons
from target_fullstory.logs import counted, logger

_MOST_REASONS_LOGGED = 10


class RunReport:
    """`<output_dir>/run-<run_id>.json`, written when the run begins to leave files, and anew at its end.

    So the rejects of a run that was killed have their destination.
    """

    def __init__(self, output_dir: str, run_id: str, build: Callable[[], dict[str, Any]]) -> None:
        """Name the file; `build` makes what it holds as of now."""
        self._path = Path(output_dir) / f"run-{run_id}.json"
        self._build = build
        self._lock = threading.Lock()
        self._begun = False

    def begin(self) -> None:
        """Write it for the first time; later calls do nothing."""
        with self._lock:
            if not self._begun:
                self._begun = True
                self._write({})

    def finish(self, **more: Any) -> None:
        """Write it with what is known at the end only."""
        with self._lock:
            self._begun = True
            self._write(more)

    def _write(self, more: dict[str, Any]) -> None:
        report = self._build() | more
        try:
            replace(self._path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        except OSError as error:
            # The run has not failed.
            logger.warning("The run report %s cannot be written: %s", self._path, error.strerror or error)


def log_totals(run_id: str, ledger: Ledger) -> None:
    """Log where the run's records ended."""
    totals = ledger.totals()
    logger.info(
        "Run %s: %s received, %d delivered, %d rejected, %d merged, %d ignored, %d unchanged; %s",
        run_id,
        counted(totals.received, "record"),
        totals.delivered,
        totals.rejected,
        totals.merged,
        totals.ignored,
        totals.unchanged,
        counted(len(ledger.jobs(every=True)), "batch job"),
    )
    if totals.received != totals.ended:
        logger.warning(
            "%s neither delivered nor rejected: no STATE covers them, and the next run reads them again",
            counted(totals.received - totals.ended, "record"),
        )


def log_reasons(reasons: RejectReasons) -> None:
    """Log why records were rejected, the most frequent reasons."""
    counted = reasons.counted()
    for reason, count in counted[:_MOST_REASONS_LOGGED]:
        logger.warning("Rejected: %d of stream %s: %s", count, reason.stream, reason)
    if more := counted[_MOST_REASONS_LOGGED:]:
        logger.warning(
            "Rejected: %d more, for %d other reasons: `target-fullstory rejects` lists them",
            sum(count for _, count in more),
            len(more),
        )
