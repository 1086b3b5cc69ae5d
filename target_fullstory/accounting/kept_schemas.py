"""The SCHEMAs of rejected records: what `replay` maps them with.

A rejects file holds records, and no SCHEMA. So the SCHEMA message of a stream goes to
`<output_dir>/schemas-<run_id>.jsonl` when the first record of that stream is rejected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.logs import logger


class KeptSchemas:
    """Keeps the SCHEMAs of streams with rejects. Used by the reading thread alone."""

    def __init__(self, output_dir: str, run_id: str) -> None:
        """Name the file; it is created with the first reject."""
        self._path = Path(output_dir) / f"schemas-{run_id}.jsonl"
        self._messages: dict[str, dict[str, Any]] = {}

    def know(self, stream: str, message: dict[str, Any]) -> None:
        """Take note of the SCHEMA message of a stream, by the name that stream maps have given it."""
        self._messages[stream] = message

    def keep(self, stream: str) -> None:
        """Keep a stream's SCHEMA; where it cannot be written, a warning says what `replay` then needs."""
        message = self._messages.pop(stream, None)
        if message is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(msgspec.json.encode(message) + b"\n")
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning(
                "The SCHEMA of stream %s cannot be kept in %s (%s): `replay` needs --schema for its records",
                stream,
                self._path,
                type(error).__name__,
            )
