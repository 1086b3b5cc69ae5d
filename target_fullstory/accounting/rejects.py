"""Rejected records: each is written with its reason, counted, and its SCHEMA kept for `replay`.

A line is safe on the disk before a STATE covers the record. It holds the record and no SCHEMA: that goes
to a file of its own with the first record of a stream that the mapping rejects.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reject(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A rejected record: a line of the file."""

    stream: str
    kind: str
    stage: Literal["map", "api", "job"]  # who refused it: the mapping, the API's response, or a batch job
    code: str
    column: str | None = None  # the path of the column that is to blame, where it is one
    message: str
    job_id: str | None = None
    # The record as received, where it is still at hand; else there is the request made of it.
    record: Any = None
    request: Any = None
    at: datetime | None = None  # set when it is written


_BUFFER_BYTES = 64 * 1024
_encoder = msgspec.json.Encoder()


class Rejects:
    """Writes `<output_dir>/rejects-<run_id>.jsonl` and `schemas-<run_id>.jsonl`, created when needed."""

    def __init__(
        self, ledger: Ledger, output_dir: str, run_id: str, take: Callable[[Reject], None] | None = None
    ) -> None:
        """Name the files; where `take` is given, it takes each reject instead of them."""
        self._ledger = ledger
        self._path = Path(output_dir) / f"rejects-{run_id}.jsonl"
        self._schemas_path = Path(output_dir) / f"schemas-{run_id}.jsonl"
        # Used by the reading thread alone; the lock guards what is below it.
        self._schemas: dict[str, dict[str, Any]] = {}
        self._take = take or self._append
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._count = 0
        self._unsynced = False

    def know_schema(self, stream: str, message: dict[str, Any]) -> None:
        """Note the SCHEMA message of a stream, by the name that stream maps give it."""
        self._schemas[stream] = message

    def summary(self) -> dict[str, Any]:
        """Count and path, as the state block shows them."""
        with self._lock:
            return {"count": self._count, "path": str(self._path) if self._count else None}

    def write(self, reject: Reject, *, counted: bool = True) -> None:
        """Write a rejected record and, unless an earlier run's job refused it, count it."""
        self._take(reject)
        if counted:
            # A job refuses what counted as delivered when the job was accepted.
            undone = -1 if reject.stage == "job" else 0
            self._ledger.count(reject.stream, rejected=1, delivered=undone)

    def _append(self, reject: Reject) -> None:
        if reject.stage == "map" and reject.stream in self._schemas:
            self._keep_schema(reject.stream)
        reject.at = datetime.now(timezone.utc)
        line = _encode(reject)
        with self._lock:
            try:
                if self._file is None:
                    self._file = _create(self._path)
                self._file.write(line)
            except OSError as error:
                raise self._failure(error) from None
            self._count += 1
            self._unsynced = True

    def _keep_schema(self, stream: str) -> None:
        try:
            line = msgspec.json.encode(self._schemas.pop(stream)) + b"\n"
            with _create(self._schemas_path) as file:
                file.write(line)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning(
                "The SCHEMA of stream %s cannot be kept in %s (%s): `replay` needs --schema for its records",
                stream,
                self._schemas_path,
                type(error).__name__,
            )

    def sync(self) -> None:
        """Flush everything written so far to the disk."""
        with self._lock:
            if self._file is None or not self._unsynced:
                return
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise self._failure(error) from None
            self._unsynced = False

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"The rejects file {self._path} cannot be written: {error.strerror or error}. Free the disk "
            "or set output_dir to a writable directory; no STATE was written past the rejected record."
        )


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(handle, "ab", _BUFFER_BYTES)


def _encode(reject: Reject) -> bytes:
    try:
        return _encoder.encode(reject) + b"\n"
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        # A record that JSON itself cannot carry, such as one with half a surrogate pair.
        reject.record = repr(reject.record).encode("utf-8", "backslashreplace").decode()
        return _encoder.encode(reject) + b"\n"
