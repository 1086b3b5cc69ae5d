"""What a run says at its end: a line with the totals, and the run report in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.logs import logger


def write_report(output_dir: str, run_id: str, report: dict[str, Any]) -> None:
    """Write `<output_dir>/run-<run_id>.json`; where that fails, the run has not: a warning says so."""
    path = Path(output_dir) / f"run-{run_id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The names of streams and columns are private, like the records in the rejects file.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    except OSError as error:
        logger.warning("The run report %s cannot be written: %s", path, error.strerror or error)


def log_totals(run_id: str, ledger: Ledger) -> None:
    """Log where the run's records ended."""
    totals = ledger.totals()
    logger.info(
        "Run %s: %d records received, %d delivered, %d rejected, %d merged, %d ignored; %d jobs",
        run_id,
        totals.received,
        totals.delivered,
        totals.rejected,
        totals.merged,
        totals.ignored,
        len(ledger.jobs(every=True)),
    )
    if totals.received != totals.ended:
        logger.warning(
            "%d records received have no end: no STATE covers them, the next run reads them again",
            totals.received - totals.ended,
        )
