"""A run's note, as a file: a line for each thing that is unfinished, and one when it is done.

A note is locked while its run lives: a run beside it takes only what others left.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

import msgspec

from target_fullstory.accounting.file_locks import try_lock
from target_fullstory.accounting.output_files import make_directory
from target_fullstory.kinds import Kind


class NotedJob(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An accepted job; earlier versions noted no more than the first four fields.

    Or a batch of a stream that sends only what changed, which has a `sent` from before it is sent, and an
    `id` once it is accepted as a job.
    """

    id: str
    kind: Kind
    stream: str
    api_url: str
    organization: str | None = None  # where `GET /me` told it
    key: str | None = None  # the API key's fingerprint
    records: int = 0  # requests in it; 0: not known
    since: datetime | None = None
    batch: str | None = None  # the file with what it was made of
    sent: str | None = None  # the idempotency key
    single: bool = False  # sent one request at a time, each under a key derived from that
    failed: list[int] | None = None  # once its end is known: the places of the fingerprints that are not in

    @property
    def name(self) -> str:
        """What later lines call it."""
        return self.sent or self.id


class _Ended(msgspec.Struct, frozen=True):
    """The line that takes a job or a batch off the note."""

    ended: str


class _Parted(msgspec.Struct, frozen=True):
    """The line that puts the parts of a batch in its place: at once, as a kill may come after any line."""

    parted: str
    parts: list[NotedJob]


_decode_line = msgspec.json.Decoder(NotedJob).decode
_decode_end = msgspec.json.Decoder(_Ended).decode
_decode_parts = msgspec.json.Decoder(_Parted).decode
NOT_A_LINE = (msgspec.DecodeError, UnicodeDecodeError)


@dataclass(eq=False)
class Note:
    """An open, locked note, and by name what is unfinished on it."""

    path: Path
    file: IO[bytes]
    jobs: dict[str, NotedJob] = field(default_factory=dict)
    torn: bool = False  # whether its last line may be cut short

    def write(self, job: NotedJob) -> None:
        """Note a job or a batch, or what is known of it by now."""
        self.jobs[job.name] = job
        self._append(job)

    def part(self, name: str, parts: list[NotedJob]) -> None:
        """Put the parts of a batch in its place."""
        self._append(_Parted(name, parts))
        del self.jobs[name]
        self.jobs.update((part.name, part) for part in parts)

    def end(self, name: str) -> None:
        """Take a job or a batch off. Where that cannot be written, a later run learns its end once more."""
        del self.jobs[name]
        with suppress(OSError):
            self._append(_Ended(name))

    def _append(self, line: msgspec.Struct) -> None:
        """Add a line, and see to it that it is on the disk."""
        content = (b"\n" if self.torn else b"") + msgspec.json.encode(line) + b"\n"
        self.torn = True
        write_all(self.file, content)
        self.torn = False
        os.fsync(self.file.fileno())


def create_note(directory: Path, name: str) -> Note:
    """A new note; no other run sees it before it is locked."""
    make_directory(directory)
    path, hidden = directory / name, directory / f"{name}.new"
    handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    file = os.fdopen(handle, "ab", buffering=0)
    try_lock(file)
    hidden.rename(path)
    sync_directory(directory)
    return Note(path, file)


def take_note(path: Path) -> Note | None:
    """Lock and read the note of a run that has ended; None where its run lives, or it is none of ours."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    # A pipe put there meanwhile must not be waited for.
    handle = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(handle, "r+b", buffering=0)
    # One deleted between its opening and its locking belonged to a run that ended well.
    free = try_lock(file) and os.fstat(file.fileno()).st_nlink > 0
    content = file.read() if free else None
    jobs = None if content is None else _read(content.splitlines(), path)
    if content is None or jobs is None:
        file.close()
        return None
    return Note(path, file, jobs, torn=not content.endswith(b"\n"))


def _read(lines: Iterable[bytes], path: Path) -> dict[str, NotedJob] | None:
    """What lines leave unfinished; None where they are none of ours."""
    jobs: dict[str, NotedJob] = {}
    ours, empty = False, True
    for line in lines:
        empty = False
        # One that a kill has cut short is no loss: what it told never left the process.
        with suppress(*NOT_A_LINE):
            jobs.pop(_decode_end(line).ended, None)
            ours = True
        with suppress(*NOT_A_LINE):
            split = _decode_parts(line)
            jobs.pop(split.parted, None)
            jobs.update((part.name, part) for part in split.parts)
            ours = True
        with suppress(*NOT_A_LINE):
            job = _decode_line(line)
            jobs[job.name] = _dated(job, path)
            ours = True
    return jobs if ours or empty else None


def _dated(job: NotedJob, note: Path) -> NotedJob:
    """A job with the time since when it is noted; earlier versions wrote none."""
    if job.since is not None and job.since.tzinfo is not None:
        return job
    written = datetime.fromtimestamp(note.stat().st_mtime, timezone.utc)
    return msgspec.structs.replace(job, since=written)


def write_all(file: IO[bytes], content: bytes) -> None:
    """Write all of it to an unbuffered file."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def sync_directory(directory: Path) -> None:
    """See to it that new files are found after a power failure."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
