"""Batch jobs as they are stored: accepted, waiting for their turn, in progress, finished."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal

import msgspec

from target_fullstory.sandbox.store.database import Database, utc_now

Kind = Literal["users", "events"]

_COLUMNS = "seq, id, kind, status, created, finished, operations, done, errors"


class Job(msgspec.Struct, frozen=True):
    """A batch job; `done` counts the items processed so far, `errors` those of them that failed."""

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
    """The outcome of one item of a batch; `code` and `message` only where it failed."""

    position: int
    request: bytes
    user_id: int | None = None
    code: str | None = None
    message: str | None = None


class JobStore:
    """The jobs in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_progress(self) -> tuple[int, int]:
        """Count the unfinished jobs, and the operations in them."""
        [(jobs, operations)] = self._database.all(
            "SELECT COUNT(*), COALESCE(SUM(operations), 0) FROM jobs WHERE status = 'PROCESSING'"
        )
        return jobs, operations

    def create(self, kind: Kind, body: bytes, operations: int) -> Job:
        """Store a new job of so many operations, with the request that created it."""
        job_id = uuid.uuid4().hex
        with self._database.transaction():
            created = utc_now()
            self._database.write(
                "INSERT INTO jobs (id, kind, status, created, operations) VALUES (?, ?, 'PROCESSING', ?, ?)",
                (job_id, kind, created, operations),
            )
            seq = self._database.number("SELECT last_insert_rowid()")
            # Apart from the job: SQLite writes a changed row anew, megabytes of it each time.
            self._database.write("INSERT INTO job_bodies VALUES (?, ?)", (seq, body))
        return Job(seq, job_id, kind, "PROCESSING", created, None, operations, done=0, errors=0)

    def get(self, kind: Kind, job_id: str) -> Job | None:
        """Find a job of that kind."""
        row = self._database.one(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND kind = ?",  # noqa: S608 (a constant)
            (job_id, kind),
        )
        return None if row is None else Job(*row)

    def start_waiting(self, limit: int, due: Callable[[], float]) -> None:
        """Start waiting jobs, in their order, until `limit` are in progress.

        `due` returns when the next of them is to be processed, in seconds since the epoch.
        """
        rows = self._database.all(
            "SELECT seq, due FROM jobs WHERE status = 'PROCESSING' ORDER BY due IS NULL, seq LIMIT ?",
            (limit,),
        )
        self._database.write_many(
            "UPDATE jobs SET due = ? WHERE seq = ?",
            ((due(), seq) for seq, set_before in rows if set_before is None),
        )

    def next_due(self) -> tuple[Job, float] | None:
        """Find the job in progress that is to be processed first, and when."""
        row = self._database.one(
            f"SELECT due, {_COLUMNS} FROM jobs"  # noqa: S608 (a constant)
            " WHERE status = 'PROCESSING' AND due IS NOT NULL ORDER BY due, seq LIMIT 1"
        )
        return None if row is None else (Job(*row[1:]), float(row[0]))

    def body(self, job: Job) -> bytes | None:
        """Read the request that created a job; None if the job is finished or gone."""
        row = self._database.one("SELECT body FROM job_bodies WHERE job = ?", (job.seq,))
        return None if row is None else bytes(row[0])

    def is_at(self, job: Job, done: int) -> bool:
        """Whether a job still exists, with exactly so many items done."""
        row = self._database.one("SELECT done FROM jobs WHERE seq = ?", (job.seq,))
        return row is not None and row[0] == done

    def advance(self, job: Job, done: int, items: list[JobItem]) -> None:
        """Store the outcomes of the items up to `done`, and the job's end after the last one."""
        failed = sum(1 for item in items if item.code is not None)
        with self._database.transaction():
            self._database.write_many(
                "INSERT INTO job_items (job, failed, position, request, user_id, code, message)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((job.seq, item.code is not None, *msgspec.structs.astuple(item)) for item in items),
            )
            self._database.write(
                "UPDATE jobs SET done = ?, errors = errors + ? WHERE seq = ?", (done, failed, job.seq)
            )
            if done >= job.operations:
                self._database.write(
                    "UPDATE jobs SET finished = ?,"
                    " status = CASE errors WHEN 0 THEN 'COMPLETED' ELSE 'FAILED' END WHERE seq = ?",
                    (utc_now(), job.seq),
                )
                self._database.write("DELETE FROM job_bodies WHERE job = ?", (job.seq,))

    def items(self, job: Job, failed: bool, after: int, limit: int) -> list[JobItem]:
        """Read items that failed, or that were imported: the first so many after a position."""
        rows = self._database.all(
            "SELECT position, request, user_id, code, message FROM job_items"
            " WHERE job = ? AND failed = ? AND position > ? ORDER BY position LIMIT ?",
            (job.seq, failed, after, limit),
        )
        return [JobItem(*row) for row in rows]
