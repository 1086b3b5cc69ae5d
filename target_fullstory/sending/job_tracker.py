"""The unfinished batch jobs, this run's and those that earlier runs have left: polled until they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from target_fullstory.accounting.ledger import JobEntry, UnfinishedJob, Why
from target_fullstory.accounting.rejects import timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.job_polling import UNKNOWN, ListNotReadyError, PolledJob, poll_intervals
from target_fullstory.api.responses import Response
from target_fullstory.api.roles import may_read_jobs
from target_fullstory.batching.batch import Batch, BatchBody
from target_fullstory.errors import DeliveryError, KeyRefusedError, OutputError, TargetFullstoryError
from target_fullstory.logs import logger
from target_fullstory.sending.in_flight import InFlight, Reservation
from target_fullstory.sending.job_ends import JobEnds
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.note_file import NotedJob
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.sending.outbox import Outbox

_GIVEN_UP_AFTER = timedelta(days=7)

_REASONS: dict[Why, str] = {
    "unknown": "Fullstory does not know it (404)",
    "another_key": "it was noted by a run with another key, perhaps of another organization",
}


@dataclass(eq=False)
class _TrackedJob:
    """An unfinished job."""

    polled: PolledJob
    reservation: Reservation
    intervals: Iterator[float]
    next_look: float
    deadline: float
    left: NotedJob | None = None  # where an earlier run has sent it
    looked_at: bool = False


class JobTracker:
    """Follows unfinished jobs in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        accounting: Accounting,
        in_flight: InFlight,
        journal: JobJournal,
        outbox: Outbox | None = None,
    ) -> None:
        """Start with the jobs that earlier runs have left, and with what else the outbox has of them."""
        self._settings = settings
        self._client = client
        self._ledger = accounting.ledger
        self._begin_report = accounting.begin_report
        self._in_flight = in_flight
        self._journal = journal
        self.outbox = outbox
        self._ends = JobEnds(accounting, journal, outbox)
        in_flight.on_wait_for_jobs = self._watch
        self._wake = threading.Condition()
        self._jobs: list[_TrackedJob] = []
        self._watching = settings.wait_for_jobs
        self._closed = False
        self._thread: threading.Thread | None = None
        # Those that nobody asks about first: from then on, the thread alone books ends.
        for left in sorted(journal.left_jobs(outbox=outbox is not None), key=journal.is_surely_here):
            if outbox is None or outbox.take_over(left):
                self._take_over(left)

    # What earlier runs left

    def _take_over(self, left: NotedJob) -> None:
        entry = JobEntry(id=left.id, kind=left.kind, stream=left.stream, records=left.records)
        if not self._journal.is_surely_here(left):
            self._leave(left, entry, "another_key")
            return
        self._tell(left, "in_progress")
        # Which users are in it is not known: updates of all wait, unless the run waits for no job.
        reservation = Reservation(left.kind, rows=0, keys=None, job=True)
        if self._settings.wait_for_jobs:
            logger.info("Job %s was left by an earlier run; waiting for it first", left.id)
            self._in_flight.enter(reservation)
        self._follow(entry, reservation, left)

    def _tell(self, left: NotedJob, why: Why) -> None:
        since = (left.since or datetime.now(timezone.utc)).astimezone(timezone.utc)
        self._ledger.unfinished(
            UnfinishedJob(
                id=left.id,
                kind=left.kind,
                stream=left.stream,
                records=left.records,
                since=since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                why=why,
            )
        )

    def _leave(self, left: NotedJob, entry: JobEntry, why: Why, error: Exception | None = None) -> None:
        """Leave a job whose end cannot be learned now to a later run, or give it up after a week."""
        if left.since is not None and datetime.now(timezone.utc) - left.since > _GIVEN_UP_AFTER:
            self._ends.give_up(entry)
            return
        self._tell(left, why)
        logger.warning(
            "What became of job %s of an earlier run (stream %s) is not known: %s. The next run asks again",
            *(left.id, left.stream, str(error).rstrip(".") if error else _REASONS[why]),
        )

    def wait_for_looks(self) -> None:
        """Wait until each job of an earlier run has been looked at."""
        with self._wake:
            left = [job for job in self._jobs if job.left is not None]
        self._in_flight.wait_until(lambda: all(job.looked_at for job in left))

    # This run's

    def expect_job(self) -> None:
        """Get ready for a job, before it is asked for: its note names the key's organization.

        Its id would be lost with the process while the answer about the key is waited for.
        """
        self._journal.account.ask_organization()

    def require_ends(self, stream: str) -> None:
        """Make sure that the key may read jobs: what a stream's snapshot gets depends on how they end.

        Raises:
            KeyRefusedError: It surely may not.
        """
        account = self._journal.account.get()
        if account is not None and may_read_jobs(account.role) is False:
            raise KeyRefusedError(
                f"Stream {stream!r} sends only what Fullstory has not confirmed, and the API key may not ask "
                "how its batch jobs ended: that takes an Admin or Architect key. Use such a key, or set "
                "delivery to single."
            )

    def track(
        self, batch: Batch, body: BatchBody, rows: int, response: Response, noted: NotedJob | None = None
    ) -> str:
        """Follow the job that a response names, made of so many of a batch's requests; returns its id.

        Of the outbox's it is `noted` what is in it.
        """
        job = response.data["job"]
        entry = JobEntry(
            id=str(job["id"]),
            kind=batch.kind,
            stream=batch.stream,
            records=rows,
            created=str(job.get("created") or timestamp()),
        )
        if self.outbox is not None and noted is not None:
            noted = self.outbox.accepted(noted, entry.id)
            if not batch.own:
                self._take_over(noted)
                return entry.id
        reservation = self._in_flight.enter(Reservation(batch.kind, rows, batch.keys, job=True))
        self._begin_report()
        if noted is None and self._can_be_learned:
            self._journal.accepted(entry, body)
        # What the job refuses is taken from it again.
        self._ledger.count(batch.stream, delivered=rows)
        self._ledger.job(entry)
        logger.info("Job %s created: %d %s of stream %s", entry.id, rows, batch.kind, batch.stream)
        self._follow(entry, reservation)
        return entry.id

    @cached_property
    def _can_be_learned(self) -> bool:
        """Whether a run may learn how its jobs end: not where it does not wait and the key may not ask."""
        if self._settings.wait_for_jobs or (account := self._journal.account.get()) is None:
            return True
        if may_read_jobs(account.role) is not False:
            return True
        logger.warning(
            "What batch jobs refuse is not learned: wait_for_jobs is false, and the key may not read jobs. "
            "Ask with `target-fullstory jobs` and an Admin or Architect key"
        )
        return False

    def _watch(self) -> None:
        """Poll from now on, even where the run does not wait for its jobs: a batch waits for one to end."""
        with self._wake:
            self._watching = True
            self._wake.notify()

    def close(self) -> None:
        """Stop polling; the state shows unfinished jobs as PROCESSING, and their notes stay."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout=5)

    # Polling

    def _follow(self, entry: JobEntry, reservation: Reservation, left: NotedJob | None = None) -> None:
        now = time.monotonic()
        interval = self._settings.job_poll_interval_seconds
        job = _TrackedJob(
            # What the state shows of a job changes at its end, not with each poll.
            PolledJob(self._client, replace(entry)),
            reservation,
            poll_intervals(interval),
            # An earlier run's job has most likely ended by now.
            next_look=now if left else now + interval,
            deadline=now + self._settings.job_timeout_seconds,
            left=left,
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
                over = self._look_or_leave(job)
            except Exception as error:  # noqa: BLE001 - a thread's error must end the run, not be lost
                self._in_flight.fail(_told(error, job))
                return
            job.looked_at = True
            if over:
                with self._wake:
                    self._jobs.remove(job)
                self._in_flight.release(job.reservation)

    def _next_due(self) -> _TrackedJob | None:
        """Wait for the next job to poll; None once the tracker is closed."""
        with self._wake:
            while not self._closed:
                pause = None
                jobs = [job for job in self._jobs if self._watching or job.left is not None]
                if jobs:
                    job = min(jobs, key=lambda job: job.next_look)
                    pause = job.next_look - time.monotonic()
                    if pause <= 0:
                        return job
                self._wake.wait(pause)
            return None

    def _look_or_leave(self, job: _TrackedJob) -> bool:
        """Poll a job once, and leave an earlier run's that cannot be polled to the next run.

        Returns whether it need not be polled again.
        """
        try:
            return self._look(job)
        except OutputError:
            raise
        except Exception as error:
            if job.left is None:
                raise
            why: Why = "refused" if isinstance(error, KeyRefusedError) else "unreachable"
            self._leave(job.left, job.polled.entry, why, _told(error, job))
            return True

    def _look(self, job: _TrackedJob) -> bool:
        """Poll a job once; returns whether it need not be polled again."""
        with suppress(ListNotReadyError):
            if job.polled.look():
                if job.left is not None and job.polled.entry.status == UNKNOWN:
                    # Perhaps the key is another organization's.
                    self._leave(job.left, job.polled.entry, "unknown")
                else:
                    self._ends.book(job.polled, own=job.left is None)
                return True
        if time.monotonic() >= job.deadline:
            logger.warning(
                "Job %s has not finished in %g s (job_timeout_seconds); the next run looks at it again",
                job.polled.entry.id,
                self._settings.job_timeout_seconds,
            )
            return True
        job.next_look = time.monotonic() + next(job.intervals)
        return False


def _told(error: Exception, job: _TrackedJob) -> TargetFullstoryError:
    """The error of a look at a job, as the user is told it."""
    if isinstance(error, TargetFullstoryError):
        return error
    logger.debug("A job's status was not understood", exc_info=True)
    return DeliveryError(
        f"Fullstory's answer about job {job.polled.entry.id} is not understood ({type(error).__name__}). "
        "Check that api_url is the Server API."
    )
