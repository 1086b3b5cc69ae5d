"""Jobs whose end is not known yet: on disk, so that a later run learns it where this one cannot.

Without this, a job of a killed run could end after the next run's and put older values back, and nobody would
learn what it refused. Each run has a note, `<output_dir>/jobs-<run_id>.jsonl`: a line for each accepted job,
and one when the job's end is booked. The body that made an unfinished job lies beside it, as it was sent, in
`batch-<run_id>-<n>.json`. A note is locked while its run lives: a run beside it takes only what others left.
"""

from __future__ import annotations

import glob
import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

import msgspec

from target_fullstory.accounting.file_locks import try_lock
from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.accounting.output_files import make_directory
from target_fullstory.api.key_account import KeyAccount
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.settings.addresses import normalized


class NotedJob(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An accepted job; earlier versions noted no more than the first four fields."""

    id: str
    kind: Kind
    stream: str
    api_url: str
    organization: str | None = None  # where `GET /me` told it
    key: str | None = None  # the API key's fingerprint
    records: int = 0  # 0: not known
    since: datetime | None = None
    batch: str | None = None  # the file with what it was made of


class _Ended(msgspec.Struct, frozen=True):
    """The line that takes a job off the note."""

    ended: str


class _Body(msgspec.Struct, frozen=True):
    requests: list[msgspec.Raw]


_decode_line = msgspec.json.Decoder(NotedJob).decode
_decode_end = msgspec.json.Decoder(_Ended).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_NOT_A_LINE = (msgspec.DecodeError, UnicodeDecodeError)

_MOST_OPEN = 200  # files with jobs' requests that are kept open; by default 90 jobs are in progress at most


@dataclass(eq=False)
class _Note:
    """An open, locked note, and the jobs on it whose end is not booked."""

    path: Path
    file: IO[bytes]
    jobs: dict[str, NotedJob] = field(default_factory=dict)
    torn: bool = False  # whether its last line may be cut short

    def append(self, line: msgspec.Struct) -> None:
        """Add a line, and see to it that it is on the disk."""
        content = (b"\n" if self.torn else b"") + msgspec.json.encode(line) + b"\n"
        self.torn = True
        _write(self.file, content)
        self.torn = False
        os.fsync(self.file.fileno())


class JobJournal:
    """The jobs noted by this run, and those that earlier runs left; used by several threads."""

    def __init__(self, output_dir: str, run_id: str, api_url: str, account: KeyAccount) -> None:
        self._directory = Path(output_dir)
        self._run_id = run_id
        self._api_url = normalized(api_url)
        self.account = account
        self._lock = threading.Lock()
        self._own: _Note | None = None
        self._left: list[_Note] = []
        self._batches = 0
        self._open: dict[str, IO[bytes]] = {}  # files with this run's jobs' requests, by name
        self._warned = False

    # What earlier runs left

    def left_jobs(self) -> list[NotedJob]:
        """The unfinished jobs of runs to the same place; this run owns their notes from now on."""
        found: list[NotedJob] = []
        for path in sorted(self._directory.glob("jobs-*.jsonl")):
            try:
                note = _take(path)
            except FileNotFoundError:
                continue  # its run has just ended well
            except OSError as error:
                logger.warning("%s cannot be read: %s", path, error.strerror or error)
                continue
            if note is None:
                continue
            if not all(self._is_here(job) for job in note.jobs.values()):
                note.file.close()  # for a run to that place
                continue
            self._left.append(note)
            self._forget_batches(path, {job.batch for job in note.jobs.values()})
            found += note.jobs.values()
        return found

    def _is_here(self, job: NotedJob) -> bool:
        """Whether a job may be of this address and organization."""
        try:
            if normalized(job.api_url) != self._api_url:
                return False
        except ValueError:
            return False
        ours = self.account.ask_organization()
        return not ours or not job.organization or job.organization == ours

    def is_surely_here(self, job: NotedJob) -> bool:
        """Whether a left job is of the same organization, or was noted before that was told."""
        if job.organization is None and job.key is None:
            return True
        ours = self.account.ask_organization()
        if ours and job.organization:
            return job.organization == ours
        return job.key == self.account.fingerprint

    def _forget_batches(self, note: Path, wanted: set[str | None]) -> None:
        """Delete what a killed run kept of requests whose acceptance it did not come to note."""
        run_id = note.stem.removeprefix("jobs-")
        for path in self._directory.glob(f"batch-{glob.escape(run_id)}-*.json"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    # This run's

    def accepted(self, entry: JobEntry, body: Iterable[bytes]) -> None:
        """Note a job, and keep its body; the note is on the disk when this returns.

        The body is not synced: a power failure may take it, where a kill does not, and no record is lost by
        that alone. A file that cannot be written matters only if the job does not come to a good end: a
        warning.
        """
        batch = None
        try:
            note = self._note()
            if entry.id in note.jobs:
                return  # an equal batch, which Fullstory has recognised
            # Without room for the body there may be some for the line.
            try:
                batch = self._keep(body)
            except OSError as error:
                self._warn(error)
            job = NotedJob(
                id=entry.id,
                kind=entry.kind,
                stream=entry.stream,
                api_url=self._api_url,
                organization=self.account.known_organization,
                key=self.account.fingerprint,
                records=entry.records,
                since=datetime.now(timezone.utc),
                batch=batch,
            )
            with self._lock:
                note.jobs[job.id] = job
                note.append(job)
        except OSError as error:
            self._warn(error)

    def _note(self) -> _Note:
        """This run's note. It is there before a body is: a later run finds by it what this one leaves."""
        with self._lock:
            if self._own is None:
                self._own = _create(self._directory, f"jobs-{self._run_id}.jsonl")
                _sync_directory(self._directory)
            return self._own

    def _warn(self, error: OSError) -> None:
        with self._lock:
            known, self._warned = self._warned, True
        if not known:
            logger.warning(
                "The run's jobs cannot be noted in %s (%s): what becomes of them is not learned if the run "
                "is killed, and what Fullstory loses of them is rejected without its request",
                self._directory,
                error.strerror or error,
            )

    def _keep(self, body: Iterable[bytes]) -> str:
        """Write a body to a file of its own; returns the file's name."""
        with self._lock:
            self._batches += 1
            path = self._directory / f"batch-{self._run_id}-{self._batches}.json"
        make_directory(self._directory)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(handle, "w+b", buffering=0)
        try:
            for part in body:
                _write(file, part)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            keep_open = len(self._open) < _MOST_OPEN
            if keep_open:
                self._open[path.name] = file
        if not keep_open:
            file.close()
        return path.name

    def requests(self, job_id: str) -> list[bytes] | None:
        """What a job was made of; None where that is not kept."""
        for job in self._noted(job_id):
            if job.batch is not None and Path(job.batch).name == job.batch:
                with suppress(OSError, *_NOT_A_LINE):
                    body = _decode_body(self._read(job.batch))
                    return [bytes(request) for request in body.requests]
        return None

    def _read(self, batch: str) -> bytes:
        with self._lock:
            file = self._open.get(batch)
        if file is None:
            return (self._directory / batch).read_bytes()
        file.seek(0)
        return file.read()

    def ended(self, job_id: str) -> None:
        """Take a job off its note: its end is booked."""
        for job in self._noted(job_id, remove=True):
            if job.batch is not None and Path(job.batch).name == job.batch:
                with self._lock:
                    file = self._open.pop(job.batch, None)
                with suppress(OSError):
                    if file is not None:
                        file.close()
                    (self._directory / job.batch).unlink(missing_ok=True)

    def _noted(self, job_id: str, *, remove: bool = False) -> list[NotedJob]:
        found: list[NotedJob] = []
        with self._lock:
            for note in self._notes():
                if (job := note.jobs.get(job_id)) is None:
                    continue
                found.append(job)
                if remove:
                    del note.jobs[job_id]
                    # Where it cannot be written, a later run learns the end once more.
                    with suppress(OSError):
                        note.append(_Ended(job_id))
        return found

    def _notes(self) -> list[_Note]:
        return [*self._left, *([self._own] if self._own else [])]

    def close(self) -> None:
        """Delete the notes without unfinished jobs, and leave the others to the next run."""
        with self._lock:
            for note in self._notes():
                if not note.jobs:
                    with suppress(OSError):
                        note.path.unlink(missing_ok=True)
                with suppress(OSError):
                    note.file.close()
            for file in self._open.values():
                file.close()
            self._left, self._own, self._open = [], None, {}


def _create(directory: Path, name: str) -> _Note:
    """A new note; no other run sees it before it is locked."""
    make_directory(directory)
    path, hidden = directory / name, directory / f"{name}.new"
    handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    file = os.fdopen(handle, "ab", buffering=0)
    try_lock(file)
    hidden.rename(path)
    return _Note(path, file)


def _take(path: Path) -> _Note | None:
    """Lock and read the note of a run that has ended; None where its run lives, or it is none of ours."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    # A pipe put there meanwhile must not be waited for.
    handle = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(handle, "r+b", buffering=0)
    # One deleted between its opening and its locking belonged to a run that ended well.
    free = try_lock(file) and os.fstat(file.fileno()).st_nlink > 0
    content = file.read() if free else None
    if content is None:
        file.close()
        return None
    jobs: dict[str, NotedJob] = {}
    ours = not content
    for line in content.splitlines():
        # One that a kill has cut short is no loss: the job's id never left the process.
        with suppress(*_NOT_A_LINE):
            jobs.pop(_decode_end(line).ended, None)
            ours = True
        with suppress(*_NOT_A_LINE):
            job = _decode_line(line)
            jobs[job.id] = _dated(job, path)
            ours = True
    if not ours:
        file.close()
        return None
    return _Note(path, file, jobs, torn=not content.endswith(b"\n"))


def _dated(job: NotedJob, note: Path) -> NotedJob:
    """A job with the time since when it is noted; earlier versions wrote none."""
    if job.since is not None and job.since.tzinfo is not None:
        return job
    written = datetime.fromtimestamp(note.stat().st_mtime, timezone.utc)
    return msgspec.structs.replace(job, since=written)


def _write(file: IO[bytes], content: bytes) -> None:
    """Write all of it to an unbuffered file."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_directory(directory: Path) -> None:
    """See to it that new files are found after a power failure."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
