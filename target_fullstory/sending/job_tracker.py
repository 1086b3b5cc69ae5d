"""The run's batch jobs: polled until they end, the items they refused written to the rejects file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.accounting.rejects import Reject, timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.job_polling import FAILED, UNKNOWN, PolledJob, poll_intervals
from target_fullstory.api.responses import Response
from target_fullstory.batching.batch import Keys
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.sending.in_flight import InFlight, Reservation
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.settings.model import API_BATCH_LIMIT, Settings


@dataclass(eq=False)
class _TrackedJob:
    """An unfinished job; `own` is false where an earlier run has sent it."""

    polled: PolledJob
    reservation: Reservation
    intervals: Iterator[float]
    next_look: float
    deadline: float
    own: bool


class JobTracker:
    """Follows the run's unfinished jobs, and those that killed runs have left, in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        accounting: Accounting,
        in_flight: InFlight,
        journal: JobJournal | None,
    ) -> None:
        """Start with the jobs that killed runs have left; no journal where the run does not wait for jobs."""
        self._settings = settings
        self._client = client
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._begin_report = accounting.begin_report
        self._in_flight = in_flight
        self._journal = journal
        in_flight.on_wait_for_jobs = self._watch
        self._wake = threading.Condition()
        self._jobs: list[_TrackedJob] = []
        self._watching = settings.wait_for_jobs
        self._closed = False
        self._thread: threading.Thread | None = None
        for left in journal.left_jobs() if journal else ():
            logger.info("Job %s was left by a run that was killed; waiting for it first", left.id)
            entry = JobEntry(id=left.id, kind=left.kind, stream=left.stream, records=API_BATCH_LIMIT)
            unknown_users = Reservation(left.kind, rows=0, keys=None, job=True)
            self._follow(entry, in_flight.enter(unknown_users), own=False)

    def track(self, kind: Kind, stream: str, rows: int, keys: Keys, response: Response) -> str:
        """Follow the job that a response names, with so many rows and these users; returns its id."""
        job = response.data.get("job")
        if not isinstance(job, dict) or not job.get("id"):
            raise DeliveryError(
                "Fullstory accepted a batch but named no job. Check that api_url is the Server API."
            )
        entry = JobEntry(
            id=str(job["id"]),
            kind=kind,
            stream=stream,
            records=rows,
            created=str(job.get("created") or timestamp()),
        )
        reservation = self._in_flight.enter(Reservation(kind, rows, keys, job=True))
        self._begin_report()
        if self._journal is not None:
            self._journal.accepted(entry.id, kind, stream)
        self._ledger.job(entry)
        logger.info("Job %s created: %d %s of stream %s", entry.id, rows, kind, stream)
        self._follow(entry, reservation)
        return entry.id

    def _watch(self) -> None:
        """Poll from now on, even where the run does not wait for its jobs: a batch waits for one to end."""
        with self._wake:
            self._watching = True
            self._wake.notify()

    def close(self) -> None:
        """Stop polling; the state shows unfinished jobs as PROCESSING."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            all_ended = not self._jobs
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._journal is not None:
            self._journal.close(all_ended=all_ended)

    def _follow(self, entry: JobEntry, reservation: Reservation, *, own: bool = True) -> None:
        now = time.monotonic()
        interval = self._settings.job_poll_interval_seconds
        job = _TrackedJob(
            # What the state shows of a job changes at its end, not with each poll.
            PolledJob(self._client, replace(entry)),
            reservation,
            poll_intervals(interval),
            # An earlier run's job has most likely ended by now.
            next_look=now + interval if own else now,
            deadline=now + self._settings.job_timeout_seconds,
            own=own,
        )
        with self._wake:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, name="jobs", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _poll(self) -> None:
        while (job := self._next_due()) is not None:
            try:
                over = self._look(job)
            except TargetFullstoryError as error:
                if job.own:
                    self._in_flight.fail(error)
                    return
                job_id = job.polled.entry.id
                logger.warning("Not waiting for job %s of an earlier run: %s", job_id, error)
                over = True
            except Exception as error:  # noqa: BLE001 - a thread's error must end the run, not be lost
                logger.debug("A job's status was not understood", exc_info=True)
                self._in_flight.fail(
                    DeliveryError(
                        f"Fullstory's answer about job {job.polled.entry.id} is not understood "
                        f"({type(error).__name__}). Check that api_url is the Server API."
                    )
                )
                return
            if over:
                with self._wake:
                    self._jobs.remove(job)
                self._in_flight.release(job.reservation)

    def _next_due(self) -> _TrackedJob | None:
        """Wait for the next job to poll; None once the tracker is closed."""
        with self._wake:
            while not self._closed:
                pause = None
                if self._watching and self._jobs:
                    job = min(self._jobs, key=lambda job: job.next_look)
                    pause = job.next_look - time.monotonic()
                    if pause <= 0:
                        return job
                self._wake.wait(pause)
            return None

    def _look(self, job: _TrackedJob) -> bool:
        """Poll a job once; returns whether it need not be polled again."""
        if job.polled.look():
            self._take_end(job)
            return True
        if time.monotonic() >= job.deadline:
            logger.warning(
                "Job %s has not finished in %g s (job_timeout_seconds); it stays PROCESSING in the state",
                job.polled.entry.id,
                self._settings.job_timeout_seconds,
            )
            return True
        job.next_look = time.monotonic() + next(job.intervals)
        return False

    def _take_end(self, job: _TrackedJob) -> None:
        entry = job.polled.entry
        if entry.status == UNKNOWN:
            logger.warning(
                "Job %s is not known to Fullstory any more (404); it stays PROCESSING in the state", entry.id
            )
            return
        listed = self._reject_refused(job) if entry.errors or entry.status == FAILED else 0
        if not job.own:
            if listed:
                logger.warning(
                    "Job %s of an earlier run refused %d records; they are in this run's rejects file and "
                    "count towards its exit code",
                    entry.id,
                    listed,
                )
            return
        missing = entry.errors - listed
        if missing > 0:
            logger.warning("Job %s reports %d errors but lists %d", entry.id, entry.errors, listed)
            self._ledger.count(entry.stream, rejected=missing, delivered=-missing)
        entry.errors = max(entry.errors, listed)
        entry.finished = entry.finished or timestamp()
        self._ledger.job(entry)
        logger.info(
            "Job %s finished: %s, %d imported, %d errors", entry.id, entry.status, entry.imports, entry.errors
        )

    def _reject_refused(self, job: _TrackedJob) -> int:
        """Write a job's refused items to the rejects file; returns how many there are."""
        entry = job.polled.entry
        listed = 0
        for item in job.polled.refused_items():
            reject = Reject(
                stream=entry.stream,
                kind=entry.kind,
                stage="job",
                code=item.code,
                message=item.message,
                job_id=entry.id,
                request=item.request,
            )
            self._rejects.write(reject, own=job.own)
            listed += 1
        self._rejects.sync()
        return listed
