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
from typing import Any, BinaryIO

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.file_locks import try_lock
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.output_files import open_to_append
from target_fullstory.accounting.reject_reasons import Reason, RejectReasons, Stage
from target_fullstory.accounting.unresolved_rejects import EarlierRejects, count_rejects, unresolved_entry
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reject(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A rejected record: a line of the file."""

    stream: str
    source: str | None = None  # the tap's stream, where a stream map has given it another name
    kind: str
    stage: Stage
    code: str
    column: str | None = None  # the path of the column that is to blame, where it is one
    message: str
    job_id: str | None = None
    # The record as received, where it is still at hand; else there is the request made of it.
    record: Any = None
    request: Any = None
    known_by: str | None = None  # what the snapshot knows the event by, where the request alone does not tell
    at: datetime | None = None  # set when it is written

    @property
    def is_harmless(self) -> bool:
        """Whether a STATE may follow however many there are.

        The user wants events over the quota to be held back. A user that is not there, as after a deletion
        that is repeated, need not be deleted: were that to stop a run, so would it stop every run after it.
        """
        return self.code == OVER_QUOTA or (self.kind == "user_deletions" and self.code == "user_not_found")


OVER_QUOTA = "event_quota"
"""The code of events beyond `max_events`."""

_BUFFER_BYTES = 64 * 1024
_encoder = msgspec.json.Encoder()


class Rejects:
    """Writes `<output_dir>/rejects-<run_id>.jsonl` and `schemas-<run_id>.jsonl`, created when needed."""

    def __init__(
        self,
        ledger: Ledger,
        output_dir: str,
        run_id: str,
        take: Callable[[Reject], None] | None = None,
        earlier: EarlierRejects | None = None,
        begin_report: Callable[[], None] = lambda: None,
    ) -> None:
        """Name the files; where `take` is given, it takes each reject instead of them.

        `earlier` are the rejects that earlier runs left. `begin_report` is called before there is a file.
        """
        self.reasons = RejectReasons()
        self.watch: Callable[[Reject], None] = lambda _: None  # is told of each reject
        self._ledger = ledger
        self._earlier = earlier
        self._begin_report = begin_report
        self._path = Path(output_dir) / f"rejects-{run_id}.jsonl"
        self._schemas_path = Path(output_dir) / f"schemas-{run_id}.jsonl"
        self._take = take
        self._lock = threading.Lock()
        # SCHEMA messages by the tap's stream, and the streams whose SCHEMA is in the file.
        self._schemas: dict[str, dict[str, Any]] = {}
        self._kept: set[str] = set()
        self._file: BinaryIO | None = None
        self._count = 0
        self._there = 0  # how many of them are in the file, which somebody may have removed
        self._synced_bytes = 0
        self._unsynced = False
        self._closed = False

    def know_schema(self, message: dict[str, Any]) -> None:
        """Note the SCHEMA message of one of the tap's streams."""
        with self._lock:
            self._schemas[message["stream"]] = message
            self._kept.discard(message["stream"])

    @property
    def count(self) -> int:
        """How many records were rejected; those of an earlier run's job are among them."""
        with self._lock:
            return self._count

    @property
    def path(self) -> str | None:
        """The file, None where there is none."""
        with self._lock:
            return str(self._path) if self._there and os.path.lexists(self._path) else None

    def summary(self) -> dict[str, Any]:
        """What the state block shows."""
        path = self.path
        with self._lock:
            count, unresolved = self._count, self._there if path else 0
        earlier = self._earlier
        files = [*(earlier.files if earlier else ()), *([path] if path else ())]
        return {
            "count": count,
            "path": path,
            "reasons": self.reasons.listed(),
            "unresolved": unresolved_entry(unresolved + (earlier.count if earlier else 0), files),
        }

    def write(self, reject: Reject, *, own: bool = True) -> None:
        """Write a rejected record and count it; `own` is false where an earlier run has sent it."""
        (self._take or self._append)(reject)
        self.watch(reject)
        if own:
            # A job refuses what counted as delivered when the job was accepted.
            undone = -1 if reject.stage == "job" else 0
            self._ledger.count(reject.stream, rejected=1, delivered=undone)
        reason = Reason(reject.stream, reject.code, reject.column, reject.stage, own, reject.is_harmless)
        if self.reasons.add(reason) and self._take is None:
            logger.warning(
                "Stream %s: a record was rejected: %s; it and others like it are in %s",
                *(reason.stream, reason, self._path),
            )

    def _append(self, reject: Reject) -> None:
        reject.at = datetime.now(timezone.utc)
        line = _encode(reject)
        if self._file is None:
            self._begin_report()
        with self._lock:
            source = reject.source or reject.stream
            if reject.stage == "map" and source in self._schemas and source not in self._kept:
                self._keep_schema(source)
            if self._closed:
                # What a thread learns after the end of the run is left to the next one, and not in two files.
                raise OutputError(f"The run has ended, and {self._path} is closed.")
            try:
                if self._file is None:
                    self._file = self._open()
                self._file.write(line)
            except OSError as error:
                raise self._failure(error) from None
            self._count += 1
            self._there += 1
            self._unsynced = True

    def _open(self) -> BinaryIO:
        """Open the file, and lock it against a replay of what it does not hold yet."""
        file = open_to_append(self._path, _BUFFER_BYTES)
        try_lock(file)
        return file

    def _keep_schema(self, stream: str) -> None:
        self._kept.add(stream)
        try:
            line = msgspec.json.encode(self._schemas[stream]) + b"\n"
            with open_to_append(self._schemas_path) as file:
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
                if not self._sync(self._file):
                    self._file = self._begin_anew(self._file)
            except OSError as error:
                raise self._failure(error) from None
            self._unsynced = False

    def _sync(self, file: BinaryIO) -> bool:
        """Flush a file; returns whether it was at its path after that."""
        file.flush()
        os.fsync(file.fileno())
        status = os.fstat(file.fileno())
        try:
            if not os.path.samestat(self._path.stat(), status):
                return False
        except FileNotFoundError:
            return False
        self._synced_bytes = status.st_size
        return True

    def _begin_anew(self, old: BinaryIO) -> BinaryIO:
        """Begin another file where somebody has removed or renamed this one.

        What it held at the last sync is gone on purpose; what came since goes to the new file.
        """
        logger.warning("The rejects file %s is not there any more: a new one begins", self._path)
        since = self._synced_bytes
        new = self._open()
        while block := os.pread(old.fileno(), _BUFFER_BYTES, since):
            since += len(block)
            new.write(block)
        self._sync(new)
        old.close()
        self._there = count_rejects(self._path)
        if not self._schemas_path.exists():
            for stream in self._kept:
                self._keep_schema(stream)
        return new

    def close(self, destination: Destination | None = None) -> None:
        """Sync and close the file; look whether the rejects of earlier runs are unresolved still.

        Those of another organization than that of the `destination` are left out, which is known by now.
        """
        self.sync()
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None
        if self._earlier is not None:
            self._earlier.look_again(destination)

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"The rejects file {self._path} cannot be written: {error.strerror or error}. Free the disk "
            "or set output_dir to a writable directory; no STATE was written past the rejected record."
        )


def _encode(reject: Reject) -> bytes:
    try:
        return _encoder.encode(reject) + b"\n"
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        # A record that JSON itself cannot carry, such as one with half a surrogate pair.
        reject.record = repr(reject.record).encode("utf-8", "backslashreplace").decode()
        return _encoder.encode(reject) + b"\n"
