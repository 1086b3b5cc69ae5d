"""The run report: the state block in full, the settings and the timings, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

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
