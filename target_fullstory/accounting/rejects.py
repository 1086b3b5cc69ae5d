"""The rejects file: each refused record with the reason, safe on disk before a STATE covers it."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from target_fullstory.errors import OutputError


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Entry(msgspec.Struct, omit_defaults=True):
    """A line of the file."""

    stream: str
    kind: str
    stage: str
    code: str
    message: str
    job_id: str | None = None
    record: Any = None
    request: Any = None
    at: datetime | None = None


_BUFFER_BYTES = 64 * 1024
_encoder = msgspec.json.Encoder()


class Rejects:
    """Appends to `<output_dir>/rejects-<run_id>.jsonl`, created with the first reject (mode 0600)."""

    def __init__(self, output_dir: str, run_id: str) -> None:
        """Name the file; nothing is created yet."""
        self._path = Path(output_dir) / f"rejects-{run_id}.jsonl"
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._count = 0
        self._unsynced = False

    def summary(self) -> dict[str, Any]:
        """Count and path, as the state block shows them."""
        with self._lock:
            return {"count": self._count, "path": str(self._path) if self._count else None}

    def write(
        self,
        *,
        stream: str,
        kind: str,
        stage: str,
        code: str,
        message: str,
        job_id: str | None = None,
        record: Any = None,
        request: Any = None,
    ) -> None:
        """Append one rejected record.

        Args:
            stream: Where the record came from.
            kind: What it was to become.
            stage: `map`, `api` or `job`: who refused it.
            code: The stable code of the reason.
            message: The reason in a sentence.
            job_id: The batch job that refused it.
            record: The record as received, where it is still at hand.
            request: Otherwise the request that was made of it.

        Raises:
            OutputError: The file cannot be written.
        """
        at = datetime.now(timezone.utc)
        line = _encode(_Entry(stream, kind, stage, code, message, job_id, record, request, at))
        with self._lock:
            try:
                if self._file is None:
                    self._file = self._create()
                self._file.write(line)
            except OSError as error:
                raise self._failure(error) from None
            self._count += 1
            self._unsynced = True

    def sync(self) -> None:
        """Bring everything written so far to the disk.

        Raises:
            OutputError: The disk does not take it.
        """
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
        """Sync and close the file.

        Raises:
            OutputError: The disk does not take it.
        """
        self.sync()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _create(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "ab", _BUFFER_BYTES)

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"The rejects file {self._path} cannot be written: {error.strerror or error}. Free the disk "
            "or set output_dir to a writable directory; no STATE was written past the rejected record."
        )


def _encode(entry: _Entry) -> bytes:
    try:
        return _encoder.encode(entry) + b"\n"
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        # A record that JSON itself cannot carry, such as one with half a surrogate pair.
        entry.record = repr(entry.record).encode("utf-8", "backslashreplace").decode()
        return _encoder.encode(entry) + b"\n"
