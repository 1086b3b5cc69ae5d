"""Jobs that a killed run left behind: the next run waits for them before it sends anything.

Without this, a job of a killed run could end after the next run's and put older values back. Each run keeps
`<output_dir>/jobs-<run_id>.jsonl`, one line per accepted job, and deletes it when all have ended. The file
is locked while its run lives, so that a run beside it takes only what is left behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from target_fullstory.kinds import Kind
from target_fullstory.logs import logger

try:
    import fcntl
except ImportError:  # Windows: a run then takes over what any run left, which only makes it wait
    fcntl = None  # type: ignore[assignment]


class LeftJob(msgspec.Struct, frozen=True):
    """An accepted job; it is looked for at the same `api_url` only."""

    id: str
    kind: Kind
    stream: str
    api_url: str


_decode = msgspec.json.Decoder(LeftJob).decode


class JobJournal:
    """The accepted jobs of this run, and those that earlier runs left."""

    def __init__(self, output_dir: str, run_id: str, api_url: str) -> None:
        self._directory = Path(output_dir)
        self._path = self._directory / f"jobs-{run_id}.jsonl"
        self._api_url = api_url
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._broken = False
        self._taken_over: list[IO[bytes]] = []

    def left_jobs(self) -> Iterator[LeftJob]:
        """The jobs of runs that ended before their jobs did; this run owns their files from now on."""
        for path in sorted(self._directory.glob("jobs-*.jsonl")):
            try:
                file = path.open("rb")
            except OSError:
                continue
            if not _lock(file):
                file.close()
                continue
            jobs = []
            for line in file:
                # One that the kill cut short is no loss: the job's id never left the process.
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    jobs.append(_decode(line))
            if any(job.api_url != self._api_url for job in jobs):
                file.close()  # for a run against that address
                continue
            self._taken_over.append(file)
            yield from jobs

    def accepted(self, job_id: str, kind: Kind, stream: str) -> None:
        """Write down a job. A file that cannot be written matters only after a kill: a warning."""
        line = msgspec.json.encode(LeftJob(job_id, kind, stream, self._api_url)) + b"\n"
        with self._lock:
            if self._broken:
                return
            try:
                if self._file is None:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                    self._file = os.fdopen(handle, "ab")
                    _lock(self._file)
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                self._broken = True
                logger.warning(
                    "%s cannot be written (%s): were this run killed, the next one would not wait for "
                    "its jobs",
                    self._path,
                    error.strerror or error,
                )

    def close(self, *, all_ended: bool) -> None:
        """Delete the files where all their jobs have ended, else leave them to the next run."""
        with self._lock:
            files = [*self._taken_over, *([self._file] if self._file else [])]
            for file in files:
                if all_ended:
                    path = self._path if file is self._file else Path(file.name)
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                with suppress(OSError):  # what could not be written before, see `accepted`
                    file.close()
            self._taken_over, self._file = [], None


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed or the process ends; returns whether it was free."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    # A file deleted between its opening and its locking belonged to a run that ended well.
    return os.fstat(file.fileno()).st_nlink > 0
