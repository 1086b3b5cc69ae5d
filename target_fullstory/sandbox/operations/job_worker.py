"""Works on batch jobs, in a thread of its own and in pieces, so that requests are answered meanwhile."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from target_fullstory.sandbox.store.job_store import JobItem

if TYPE_CHECKING:
    from target_fullstory.sandbox.store.database import Database
    from target_fullstory.sandbox.store.job_store import Job, JobStore, Kind

MAX_JOBS_WORKED_ON = 100
"""Jobs in progress at the same time; those accepted beyond wait for their turn."""

_PIECE = 1000
_IDLE_SECONDS = 3600.0

logger = logging.getLogger(__name__)


class Importer(Protocol):
    """Imports the items of one kind of batch."""

    def __call__(
        self, job: Job, shared: msgspec.Raw, first: int, requests: list[bytes]
    ) -> list[JobItem]:
        """Imports items, within a transaction.

        Args:
            job: The job they belong to.
            shared: JSON of what the batch shares between them; `null` for nothing.
            first: Position of the first one in the batch.
            requests: The items' JSON.

        Returns:
            What became of each.
        """


class _Batch(msgspec.Struct):
    requests: list[msgspec.Raw]
    shared: msgspec.Raw = msgspec.Raw(b"null")


class Worker:
    """Gives each job its time, then its effects."""

    def __init__(
        self,
        database: Database,
        jobs: JobStore,
        importers: dict[Kind, Importer],
        *,
        job_seconds: float,
        shuffle_seed: int | None,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._importers = importers
        self._job_seconds = job_seconds
        self._shuffle = None if shuffle_seed is None else random.Random(shuffle_seed)  # noqa: S311
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-jobs", daemon=True)

    def start(self) -> None:
        """Starts the thread; jobs left over from an earlier run are taken up."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; an unfinished job goes on when the database is opened again."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def notice(self) -> None:
        """Tells the thread that there is a new job."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._start_waiting()
            due = self._jobs.next_due()
            if due is None:
                self._wake.wait(_IDLE_SECONDS)
                continue
            job, at = due
            remaining = at - time.time()
            if remaining > 0:
                self._wake.wait(remaining)
            else:
                self._work_on(job)

    def _start_waiting(self) -> None:
        now = time.time()
        self._jobs.start(
            (now + self._duration(), seq) for seq in self._jobs.waiting(MAX_JOBS_WORKED_ON)
        )

    def _duration(self) -> float:
        if self._shuffle is None:
            return self._job_seconds
        return self._job_seconds * self._shuffle.uniform(0, 2)

    def _work_on(self, job: Job) -> None:
        body = self._jobs.body(job)
        if body is None:
            return
        batch = msgspec.json.decode(body, type=_Batch)
        done = job.done
        while done < job.operations and not self._stopping:
            requests = [bytes(raw) for raw in batch.requests[done : done + _PIECE]]
            with self._database.transaction():
                if not self._jobs.is_at(job, done):
                    return
                items = self._import(job, batch.shared, done, requests)
                done += len(requests)
                self._jobs.advance(job, done, items)
            # The lock is not fair: without a pause, requests would wait for the whole job.
            time.sleep(0.001)

    def _import(
        self, job: Job, shared: msgspec.Raw, first: int, requests: list[bytes]
    ) -> list[JobItem]:
        try:
            return self._importers[job.kind](job, shared, first, requests)
        except Exception:
            # A defect must not leave this job, and all that follow, in progress for ever.
            logger.exception("The sandbox failed to work on job %s", job.id)
            return [
                JobItem(position, raw, code="server_error", message="A defect of the sandbox")
                for position, raw in enumerate(requests, first)
            ]
