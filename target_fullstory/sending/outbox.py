"""Batches of streams that send only what changed: on disk until the snapshot knows how they ended.

Such a stream sends a record once, however batches fall. So what a killed run has sent must be known to the
next one, answered or not. On the run's note a batch goes through these states, each on the disk before the
next step:

- sent: it may have reached Fullstory. The next run sends the same body under the same key.
- accepted: it is a job. The next run follows it.
- booked: it is known which of its records failed, and these are in a rejects file. The next run tells the
  snapshot.

Once the snapshot has it, it is gone.
"""

from __future__ import annotations

import errno
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from typing import Protocol

import msgspec

from target_fullstory.batching.batch import BatchBody
from target_fullstory.batching.encoded_requests import identity
from target_fullstory.errors import OutputError
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import decode_call
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.note_file import NOT_A_LINE, NotedJob
from target_fullstory.snapshot.batch_rows import BatchRows
from target_fullstory.snapshot.snapshot_locks import StreamInUseError


class Confirmations(Protocol):
    """The snapshot, as far as it takes what became of batches."""

    def user_key(self, user: str) -> bytes:
        """The fingerprint of a user's uid or id."""

    def expect(self, rows: BatchRows) -> None:
        """Take records of an earlier run as in progress; in the reading thread, before the input.

        Raises:
            StreamInUseError: Another run loads the stream.
        """

    def confirm(self, rows: BatchRows, on_booked: Callable[[], None]) -> None:
        """Take what Fullstory has confirmed; `on_booked` is called once it is in the store."""

    def fail(self, rows: BatchRows) -> None:
        """Take what Fullstory has refused or lost, or may have lost."""


class Outbox:
    """The batches of this run whose end the snapshot does not have, and those of earlier ones.

    Used by several threads.
    """

    def __init__(self, journal: JobJournal, snapshot: Confirmations) -> None:
        self._journal = journal
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._rows: dict[str, BatchRows] = {}  # of this run's, by key
        self._unanswered: list[NotedJob] = []

    # What earlier runs left

    def take_over(self, left: NotedJob) -> bool:
        """Take what an earlier run left; returns whether it is a job, which is to be followed.

        Called in the reading thread, before the input.
        """
        if left.sent is None:
            return True
        if not self._journal.is_surely_here(left):
            if not left.id:
                logger.warning(
                    "A batch of stream %s was sent by a run with another key, perhaps to another "
                    "organization, and its answer is not known. It is left to a run with that key",
                    left.stream,
                )
            return bool(left.id) and left.failed is None
        try:
            rows = self._rows_of(left)
        except OSError:
            logger.warning(
                "What an earlier run sent of stream %s is not in %s any more: what became of it cannot be "
                "learned, and it is sent again",
                *(left.stream, self._journal.directory),
            )
            if left.id and left.failed is None:
                return True
            self._journal.end(left)
            return False
        if not self._expect(rows):
            logger.warning(
                "A batch of stream %s was sent by an earlier run, and how it ended is not known here. "
                "Another run is loading that stream: the batch is left to a later one",
                left.stream,
            )
        elif left.failed is not None:
            self._tell(left, rows)
        elif left.id:
            return True
        else:
            self._unanswered.append(left)
        return False

    def _expect(self, rows: BatchRows) -> bool:
        """Take records as in progress; returns False where another run loads their stream."""
        try:
            self._snapshot.expect(rows)
        except StreamInUseError:
            return False
        return True

    def take_unanswered(self) -> list[tuple[NotedJob, list[bytes]]]:
        """The batches of earlier runs whose answer is not known, with their requests, in the order sent."""
        taken, self._unanswered = self._unanswered, []
        return [(noted, self._journal.requests_in(noted) or []) for noted in taken]

    # On its way

    def send(self, rows: BatchRows, body: Iterable[bytes], requests: int, *, single: bool) -> NotedJob:
        """Keep a batch of so many requests before it leaves, under a key of its own.

        Raises:
            OutputError: It cannot be written.
        """
        # Its note names the organization.
        self._journal.account.ask_organization()
        with _written(rows.stream, self._journal):
            noted = self._keep(rows, body, requests, secrets.token_hex(16), single=single)
            self._journal.write(noted)
        return noted

    def part(self, noted: NotedJob, parts: Sequence[BatchBody]) -> list[NotedJob]:
        """Put parts of a batch in its place, in the order of its requests; raises as `send` does.

        Their keys are made of the batch's: where a run is killed before they are noted, the next one parts
        the batch again, and they are the same.
        """
        kept, begin = [], 0
        with _written(noted.stream, self._journal):
            rows = self._rows_of(noted)
            for number, body in enumerate(parts):
                requests = body.requests()
                places = self._places(rows, {begin + at: one for at, one in enumerate(requests)})
                key = f"{noted.sent}.{number}"
                kept.append(self._keep(rows.only_at(places), body, len(requests), key, single=False))
                begin += len(requests)
            self._journal.part(noted, kept)
        with self._lock:
            self._rows.pop(noted.name, None)
        return kept

    def accepted(self, noted: NotedJob, job_id: str) -> NotedJob:
        """Note the job that a batch has become."""
        organization = self._journal.account.known_organization
        noted = msgspec.structs.replace(noted, id=job_id, organization=organization)
        # Where that cannot be written, the next run sends it under the same key, and gets the same job.
        with suppress(OSError):
            self._journal.write(noted)
        return noted

    def _keep(
        self, rows: BatchRows, body: Iterable[bytes], requests: int, key: str, *, single: bool
    ) -> NotedJob:
        batch = self._journal.keep(chain(body, (b"\n", rows.as_line())))
        with self._lock:
            self._rows[key] = rows
        return self._journal.new_job(rows.kind, rows.stream, requests, batch=batch, sent=key, single=single)

    # Its end

    def of_job(self, job_id: str) -> NotedJob | None:
        """The batch that a job was made of; None where the job's stream sends every record."""
        return next((noted for noted in self._journal.jobs(job_id) if noted.sent is not None), None)

    def rows(self, noted: NotedJob) -> BatchRows | None:
        """What a batch's records are known by; None where that is not kept any more."""
        try:
            return self._rows_of(noted)
        except OSError:
            return None

    def book(self, noted: NotedJob, refused: Mapping[int, bytes] | None) -> None:
        """Book the end of a batch, whose rejects are on the disk; raises as `send` does.

        Args:
            noted: The batch.
            refused: By their places in the batch, the requests that are not, or perhaps not, in Fullstory;
                None: none of them is known to be.
        """
        try:
            rows = self._rows_of(noted)
        except OSError:
            self._journal.end(noted)
            return
        failed = range(len(rows)) if refused is None else sorted(self._places(rows, refused))
        noted = msgspec.structs.replace(noted, failed=list(failed))
        with _written(rows.stream, self._journal):
            self._journal.write(noted)
        self._tell(noted, rows)

    def _tell(self, noted: NotedJob, rows: BatchRows) -> None:
        """Tell the snapshot how a batch has ended."""
        if noted.failed:
            failed = set(noted.failed)
            self._snapshot.fail(rows.only_at(failed))
            rows = rows.without_at(failed)
        with self._lock:
            self._rows.pop(noted.name, None)
        self._snapshot.confirm(rows, partial(self._journal.end, noted))

    def _places(self, rows: BatchRows, requests: Mapping[int, bytes]) -> set[int]:
        """The places of the fingerprints that belong to some of a batch's requests."""
        if rows.kind == "events":
            return set(requests)
        # Several records of a user have become one request.
        users = {self._snapshot.user_key(_user_in(rows.kind, request)) for request in requests.values()}
        return {at for at, key in enumerate(rows.keys_in_order()) if key in users}

    def _rows_of(self, noted: NotedJob) -> BatchRows:
        """What a batch's records are known by; raises an OSError where that is not kept any more."""
        with self._lock:
            rows = self._rows.get(noted.name)
        if rows is None:
            line = self._journal.files.read(noted.batch or "").rpartition(b"\n")[2]
            try:
                rows = BatchRows.of_line(noted.stream, noted.kind, line)
            except NOT_A_LINE:
                raise OSError(errno.EIO, "a file is damaged") from None
        return rows


def _user_in(kind: Kind, request: bytes) -> str:
    """The user that a request changes or deletes."""
    if kind == "user_deletions":
        call = decode_call(request)
        return call.uid or call.id or ""
    uid, user_id = identity(request)
    return uid or user_id or ""


@contextmanager
def _written(stream: str, journal: JobJournal) -> Iterator[None]:
    """Tell why a batch cannot be kept."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The batches of stream {stream!r} cannot be kept in {journal.directory} "
            f"({error.strerror or error}), and with this `sync` nothing is sent that a later run might not "
            "know of. Free the disk, or set output_dir to a writable directory."
        ) from None
