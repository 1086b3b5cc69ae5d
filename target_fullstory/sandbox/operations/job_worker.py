"""Processes batch jobs, in a thread of its own and in pieces, so that requests are answered meanwhile."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import msgspec

from target_fullstory.sandbox.rules.refusals import ApiError
from target_fullstory.sandbox.sandbox_options import SandboxOptions
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Job, JobItem, JobStore, Kind

MAX_JOBS_AT_ONCE = 100  # those accepted beyond wait for their turn
_PIECE = 1000
_IDLE_SECONDS = 3600.0

logger = logging.getLogger(__name__)

Importer = Callable[[Job, msgspec.Raw, list[bytes]], list[ApiError | int | None]]
"""Imports items of one job, within a transaction; takes the JSON of what they share, or `null`, and of each.

It returns the outcome of each item: what is wrong with it, or the Fullstory id of its user if that is known.
"""


class _Batch(msgspec.Struct):
    requests: list[msgspec.Raw]
    shared: msgspec.Raw = msgspec.Raw(b"null")


class JobWorker:
    """Lets each job take its time, then imports its items."""

    def __init__(self, database: Database, importers: dict[Kind, Importer], options: SandboxOptions) -> None:
        self._database = database
        self._jobs = JobStore(database)
        self._importers = importers
        self._job_seconds = options.job_seconds
        self._shuffle = random.Random(options.seed) if options.shuffle_jobs else None  # noqa: S311
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-jobs", daemon=True)

    def start(self) -> None:
        """Start the thread; jobs left over from an earlier run are taken up."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; an unfinished job goes on when the database is opened again."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Let the thread look for a new job."""
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
                self._process(job)

    def _start_waiting(self) -> None:
        now = time.time()

        def due() -> float:
            return now + self._job_seconds * (self._shuffle.uniform(0, 2) if self._shuffle else 1)

        self._jobs.start_waiting(MAX_JOBS_AT_ONCE, due)

    def _process(self, job: Job) -> None:
        body = self._jobs.body(job)
        if body is None:
            return
        batch = msgspec.json.decode(body, type=_Batch)
        done = job.done
        while done < job.operations and not self._stopping:
            requests = [bytes(raw) for raw in batch.requests[done : done + _PIECE]]
            with self._database.transaction():
                # A reset may have removed the job since.
                if not self._jobs.is_at(job, done):
                    return
                outcomes = self._import(job, batch.shared, requests)
                items = [
                    _item(position, request, outcome)
                    for position, (request, outcome) in enumerate(zip(requests, outcomes, strict=True), done)
                ]
                done += len(requests)
                self._jobs.advance(job, done, items)
            # The lock is not fair: without a pause, requests would wait for the whole job.
            time.sleep(0.001)

    def _import(self, job: Job, shared: msgspec.Raw, requests: list[bytes]) -> list[ApiError | int | None]:
        try:
            return self._importers[job.kind](job, shared, requests)
        except Exception:
            # A bug must not leave this job, and all that follow, in progress forever.
            logger.exception("The sandbox failed to work on job %s", job.id)
            return [ApiError(500, "server_error", "A defect of the sandbox")] * len(requests)


def _item(position: int, request: bytes, outcome: ApiError | int | None) -> JobItem:
    if isinstance(outcome, ApiError):
        return JobItem(position, request, code=outcome.code, message=outcome.message)
    return JobItem(position, request, user_id=outcome)
