"""Jobs whose end is not known yet: on disk, so that a later run learns it where this one cannot.

Without this, a job of a killed run could end after the next run's and put older values back, and nobody would
learn what it refused. Each run has a note, `<output_dir>/jobs-<run_id>.jsonl`: a line for each accepted job,
and one when the job's end is booked. The body that made an unfinished job lies beside it, as it was sent, in
`batch-<run_id>-<n>.json`. The note also has the batches of the outbox.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.api.key_account import KeyAccount
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.sending.kept_bodies import KeptBodies
from target_fullstory.sending.note_file import NOT_A_LINE, Note, NotedJob, create_note, take_note
from target_fullstory.settings.addresses import normalized


class _Body(msgspec.Struct, frozen=True):
    requests: list[msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode


class JobJournal:
    """The jobs noted by this run, and those that earlier runs left; used by several threads."""

    def __init__(self, output_dir: str, run_id: str, api_url: str, account: KeyAccount) -> None:
        self.directory = Path(output_dir)
        self._run_id = run_id
        self._api_url = normalized(api_url)
        self.account = account
        self.files = KeptBodies(self.directory, run_id)
        self._lock = threading.Lock()
        self._own: Note | None = None
        self._left: list[Note] = []
        self._warned = False

    # What earlier runs left

    def left_jobs(self, *, outbox: bool = False) -> list[NotedJob]:
        """The unfinished jobs of runs to the same place; this run owns their notes from now on.

        With the `outbox` its batches are among them; else a note that has some is left to a run with one.
        """
        found: list[NotedJob] = []
        for path in sorted(self.directory.glob("jobs-*.jsonl")):
            try:
                note = take_note(path)
            except FileNotFoundError:
                continue  # its run has just ended well
            except OSError as error:
                logger.warning("%s cannot be read: %s", path, error.strerror or error)
                continue
            if note is None:
                continue
            if not all(self._is_here(job) and (outbox or not job.sent) for job in note.jobs.values()):
                note.file.close()  # for a run to that place
                continue
            self._left.append(note)
            self.files.delete_others(path, {job.batch for job in note.jobs.values()})
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
                batch = self.files.write(body)
            except OSError as error:
                self._warn(error)
            job = self.new_job(entry.kind, entry.stream, entry.records, id=entry.id, batch=batch)
            with self._lock:
                note.write(job)
        except OSError as error:
            self._warn(error)

    def new_job(self, kind: Kind, stream: str, records: int, **more: Any) -> NotedJob:
        """What is noted of a job of this run, with the other fields of a `NotedJob`."""
        return NotedJob(
            **{"id": ""} | more,
            kind=kind,
            stream=stream,
            api_url=self._api_url,
            organization=self.account.known_organization,
            key=self.account.fingerprint,
            records=records,
            since=datetime.now(timezone.utc),
        )

    def _note(self) -> Note:
        """This run's note. It is there before a body is: a later run finds by it what this one leaves."""
        with self._lock:
            if self._own is None:
                self._own = create_note(self.directory, f"jobs-{self._run_id}.jsonl")
            return self._own

    def _warn(self, error: OSError) -> None:
        with self._lock:
            known, self._warned = self._warned, True
        if not known:
            logger.warning(
                "The run's jobs cannot be noted in %s (%s): what becomes of them is not learned if the run "
                "is killed, and what Fullstory loses of them is rejected without its request",
                self.directory,
                error.strerror or error,
            )

    # Lines on a note, this run's or another's

    def keep(self, body: Iterable[bytes]) -> str:
        """Keep what a batch is made of; returns its file, which is on the disk.

        Raises:
            OSError: It cannot be written.
        """
        self._note()
        return self.files.write(body, sync=True)

    def write(self, job: NotedJob) -> None:
        """Note a batch, or what is known of it by now; it is on the disk when this returns.

        Raises:
            OSError: It cannot be written.
        """
        own = self._note()
        with self._lock:
            (self._note_of(job.name) or own).write(job)

    def part(self, job: NotedJob, parts: list[NotedJob]) -> None:
        """Put the parts of a batch in its place; raises as `write` does."""
        with self._lock:
            if (note := self._note_of(job.name)) is not None:
                note.part(job.name, parts)
        self._delete(job)

    def end(self, job: NotedJob) -> None:
        """Take a job or a batch off its note, and delete what it was made of."""
        with self._lock:
            # What comes after the end of the run is left to the next one.
            if (note := self._note_of(job.name)) is None:
                return
            note.end(job.name)
        self._delete(job)

    def _note_of(self, name: str) -> Note | None:
        return next((note for note in self._notes() if name in note.jobs), None)

    def _delete(self, job: NotedJob) -> None:
        if job.batch is not None:
            self.files.delete(job.batch)

    def requests(self, job_id: str) -> list[bytes] | None:
        """What a job was made of; None where that is not kept."""
        return next((made for job in self.jobs(job_id) if (made := self.requests_in(job)) is not None), None)

    def requests_in(self, job: NotedJob) -> list[bytes] | None:
        """What a job or a batch was made of; None where that is not kept."""
        if job.batch is None:
            return None
        with suppress(OSError, *NOT_A_LINE):
            content = self.files.read(job.batch)
            body = _decode_body(content.rpartition(b"\n")[0] if job.sent else content)
            return [bytes(request) for request in body.requests]
        return None

    def ended(self, job_id: str) -> None:
        """Take a job off its note: its end is booked."""
        for job in self.jobs(job_id):
            self.end(job)

    def jobs(self, job_id: str) -> list[NotedJob]:
        """What is noted of a job. An earlier run may have noted it as well."""
        with self._lock:
            return [job for note in self._notes() for job in note.jobs.values() if job.id == job_id]

    def _notes(self) -> list[Note]:
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
            self._left, self._own = [], None
        self.files.close()
