"""Batch jobs as they are stored: accepted, waiting for their turn, in progress, finished."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

import msgspec

from target_fullstory.sandbox.rules.refusals import not_found
from target_fullstory.sandbox.store.database import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_fullstory.sandbox.store.database import Database, Row

Kind = Literal["users", "events"]

_COLUMNS = "seq, id, kind, status, created, finished, operations, done, errors"


class Job(msgspec.Struct, frozen=True):
    """A batch job; `done` counts the items worked on so far, `errors` those of them that failed."""

    seq: int
    id: str
    kind: Kind
    status: Literal["PROCESSING", "COMPLETED", "FAILED"]
    created: str
    finished: str | None
    operations: int
    done: int
    errors: int


class JobItem(msgspec.Struct):
    """What became of one item of a batch; `code` and `message` only where it failed."""

    position: int
    request: bytes
    user_id: int | None = None
    code: str | None = None
    message: str | None = None


class JobStore:
    """The jobs in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Counts the jobs.

        Returns:
            How many there are, finished ones included.
        """
        return self._database.number("SELECT COUNT(*) FROM jobs")

    def in_progress(self) -> tuple[int, int]:
        """Counts what is unfinished.

        Returns:
            Jobs, and operations in them.
        """
        row = self._database.one(
            "SELECT COUNT(*), COALESCE(SUM(operations), 0) FROM jobs WHERE status = 'PROCESSING'"
        )
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def create(self, kind: Kind, body: bytes, operations: int) -> Job:
        """Stores a new job.

        Args:
            kind: What its items are.
            body: The request that created it.
            operations: How many items it has.

        Returns:
            The job.
        """
        job_id = uuid.uuid4().hex
        with self._database.transaction():
            self._database.write(
                "INSERT INTO jobs (id, kind, status, created, operations)"
                " VALUES (?, ?, 'PROCESSING', ?, ?)",
                (job_id, kind, utc_now(), operations),
            )
            job = self.get(kind, job_id)
            # Apart from the job: SQLite writes a changed row anew, megabytes of it each time.
            self._database.write("INSERT INTO job_bodies VALUES (?, ?)", (job.seq, body))
        return job

    def get(self, kind: Kind, job_id: str) -> Job:
        """Finds a job.

        Args:
            kind: What its items are.
            job_id: Its id.

        Returns:
            The job.

        Raises:
            ApiError: There is none of that kind.
        """
        row = self._database.one(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND kind = ?",  # noqa: S608 (a constant)
            (job_id, kind),
        )
        if row is None:
            raise not_found()
        return Job(*row)

    def waiting(self, limit: int) -> list[int]:
        """Finds accepted jobs whose turn may come.

        Args:
            limit: How many jobs may be in progress.

        Returns:
            Sequence numbers of those without a due time among the first `limit` unfinished ones.
        """
        rows = self._database.all(
            "SELECT seq, due FROM jobs WHERE status = 'PROCESSING'"
            " ORDER BY due IS NULL, seq LIMIT ?",
            (limit,),
        )
        return [seq for seq, due in rows if due is None]

    def start(self, due: Iterable[tuple[float, int]]) -> None:
        """Puts jobs in progress.

        Args:
            due: When each is to be worked on, in seconds since the epoch, and its sequence number.
        """
        self._database.write_many("UPDATE jobs SET due = ? WHERE seq = ?", due)

    def next_due(self) -> tuple[Job, float] | None:
        """Finds the job in progress that is to be worked on first.

        Returns:
            The job and its due time, if there is one.
        """
        row = self._database.one(
            f"SELECT due, {_COLUMNS} FROM jobs"  # noqa: S608 (a constant)
            " WHERE status = 'PROCESSING' AND due IS NOT NULL ORDER BY due, seq LIMIT 1"
        )
        return None if row is None else (Job(*row[1:]), float(row[0]))

    def body(self, job: Job) -> bytes | None:
        """Reads the request that created a job.

        Args:
            job: The job.

        Returns:
            The request; None where the job is finished or gone.
        """
        row = self._database.one("SELECT body FROM job_bodies WHERE job = ?", (job.seq,))
        return None if row is None else bytes(row[0])

    def is_at(self, job: Job, done: int) -> bool:
        """Tells whether a job still exists, as far advanced as expected.

        Args:
            job: The job.
            done: Items expected to be done.

        Returns:
            Whether it is so.
        """
        row = self._database.one("SELECT done FROM jobs WHERE seq = ?", (job.seq,))
        return row is not None and row[0] == done

    def advance(self, job: Job, done: int, items: list[JobItem]) -> None:
        """Stores what became of some items, and the job's end after the last one.

        Args:
            job: The job.
            done: Items done so far, these included.
            items: These items.
        """
        failed = sum(1 for item in items if item.code is not None)
        with self._database.transaction():
            self._database.write_many(
                "INSERT INTO job_items VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        job.seq,
                        item.code is not None,
                        item.position,
                        item.user_id,
                        item.code,
                        item.message,
                        item.request,
                    )
                    for item in items
                ),
            )
            self._database.write(
                "UPDATE jobs SET done = ?, errors = errors + ? WHERE seq = ?",
                (done, failed, job.seq),
            )
            if done >= job.operations:
                self._database.write(
                    "UPDATE jobs SET finished = ?,"
                    " status = CASE errors WHEN 0 THEN 'COMPLETED' ELSE 'FAILED' END WHERE seq = ?",
                    (utc_now(), job.seq),
                )
                self._database.write("DELETE FROM job_bodies WHERE job = ?", (job.seq,))

    def items(self, job: Job, *, failed: bool, after: int, limit: int) -> list[JobItem]:
        """Finds what became of a job's items.

        Args:
            job: The job.
            failed: Whether the failed ones are wanted, or the imported ones.
            after: Only items whose position is greater.
            limit: How many at most.

        Returns:
            The items in the order of the batch.
        """
        rows: list[Row] = self._database.all(
            "SELECT position, request, user_id, code, message FROM job_items"
            " WHERE job = ? AND failed = ? AND position > ? ORDER BY position LIMIT ?",
            (job.seq, failed, after, limit),
        )
        return [JobItem(*row) for row in rows]
