"""Batch jobs: polled until they end, their errors written to the rejects file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from target_fullstory.accounting.ledger import JobEntry, Ledger
from target_fullstory.accounting.rejects import Reject, Rejects, timestamp
from target_fullstory.api.client import Answer, Client
from target_fullstory.batching.batch import Keys
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.logs import logger
from target_fullstory.sending.in_flight import InFlight, Reservation
from target_fullstory.sending.job_journal import Journal
from target_fullstory.settings.model import Settings

_LONGEST_INTERVAL = 30.0
_INTERVAL_GROWTH = 1.5
_UNKNOWN_AFTER = 5
_API_BATCH_LIMIT = 50_000


@dataclass(eq=False)
class _Job:
    entry: JobEntry
    reservation: Reservation
    own: bool = True
    interval: float = 0.0
    next_look: float = 0.0
    deadline: float = 0.0
    not_found: int = 0


class Jobs:
    """The run's unfinished jobs, and the thread that looks after them."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        ledger: Ledger,
        rejects: Rejects,
        in_flight: InFlight,
        journal: Journal | None,
    ) -> None:
        """Start with the jobs that killed runs have left.

        Args:
            settings: Intervals and time limits.
            client: Calls the API.
            ledger: Where jobs and counts are entered.
            rejects: Where refused items go.
            in_flight: Where a job's reservation is released at its end.
            journal: Where accepted jobs are written down; None where the run does not wait for jobs.
        """
        self._first_interval = settings.job_poll_interval_seconds
        self._timeout = settings.job_timeout_seconds
        self._client = client
        self._ledger = ledger
        self._rejects = rejects
        self._in_flight = in_flight
        self._wake = threading.Condition()
        self._jobs: list[_Job] = []
        self._watching = settings.wait_for_jobs
        self._closed = False
        self._thread: threading.Thread | None = None
        self._journal = journal
        for left in journal.left_jobs() if journal else ():
            logger.info("Job %s was left by a run that was killed; waiting for it first", left.id)
            entry = JobEntry(
                id=left.id,
                kind=left.kind,
                stream=left.stream,
                status="PROCESSING",
                records=_API_BATCH_LIMIT,
                created="",
            )
            anybody = Reservation(left.kind, rows=0, keys=None, job=True)
            self._follow(_Job(entry, self._in_flight.enter(anybody), own=False), soon=True)

    def track(self, kind: Kind, stream: str, rows: int, keys: Keys, answer: Answer) -> str:
        """Follow a job that was just created.

        Args:
            kind: What it carries.
            stream: Where its records came from.
            rows: Requests in it.
            keys: Users in it.
            answer: The creation's answer.

        Returns:
            The job's id.

        Raises:
            DeliveryError: The answer names no job.
        """
        job = answer.data.get("job")
        if not isinstance(job, dict) or not job.get("id"):
            raise DeliveryError(
                "Fullstory accepted a batch but named no job. Check that api_url is the Server API."
            )
        entry = JobEntry(
            id=str(job["id"]),
            kind=kind,
            stream=stream,
            status="PROCESSING",
            records=rows,
            created=str(job.get("created") or timestamp()),
        )
        reservation = self._in_flight.enter(Reservation(kind, rows, keys, job=True))
        if self._journal is not None:
            self._journal.accepted(entry.id, kind, stream)
        self._ledger.job(entry)
        logger.info("Job %s created: %d %s of stream %s", entry.id, rows, kind, stream)
        self._follow(_Job(entry, reservation))
        return entry.id

    def watch(self) -> None:
        """Poll from now on, also where the run does not wait for its jobs: somebody needs their end."""
        with self._wake:
            self._watching = True
            self._wake.notify()

    def close(self) -> None:
        """Stop polling; what is unfinished stays PROCESSING."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            all_ended = not self._jobs
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._journal is not None:
            self._journal.close(all_ended=all_ended)

    def _follow(self, job: _Job, *, soon: bool = False) -> None:
        now = time.monotonic()
        job.interval = self._first_interval
        job.next_look = now if soon else now + self._first_interval
        job.deadline = now + self._timeout
        with self._wake:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="jobs", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _watch(self) -> None:
        while True:
            with self._wake:
                due = self._due()
                while not self._closed and due is None:
                    self._wake.wait(self._pause())
                    due = self._due()
                if self._closed or due is None:
                    return
            try:
                ended = self._look(due)
            except TargetFullstoryError as error:
                if due.own:
                    self._in_flight.fail(error)
                    return
                logger.warning("Not waiting for job %s of an earlier run: %s", due.entry.id, error)
                ended = True
            except Exception as error:  # noqa: BLE001 - a thread's error must end the run, not be lost
                logger.debug("A job's status was not understood", exc_info=True)
                self._in_flight.fail(
                    DeliveryError(
                        f"Fullstory's answer about job {due.entry.id} is not understood "
                        f"({type(error).__name__}). Check that api_url is the Server API."
                    )
                )
                return
            if ended:
                with self._wake:
                    self._jobs.remove(due)
                self._in_flight.release(due.reservation)

    def _due(self) -> _Job | None:
        if not self._watching or not self._jobs:
            return None
        job = min(self._jobs, key=lambda job: job.next_look)
        return job if job.next_look <= time.monotonic() else None

    def _pause(self) -> float | None:
        if not self._watching or not self._jobs:
            return None
        return max(0.0, min(job.next_look for job in self._jobs) - time.monotonic())

    def _look(self, job: _Job) -> bool:
        """Ask for a job's status; returns whether it needs no more looking after."""
        path = _path(job.entry)
        answer = self._client.call("GET", path)
        if answer.ok:
            job.not_found = 0
            if self._take_status(job, answer):
                return True
        elif answer.status == 404:
            job.not_found += 1
            if job.not_found >= _UNKNOWN_AFTER:
                logger.warning(
                    "Job %s is not known to Fullstory any more (404); it stays PROCESSING in the state",
                    job.entry.id,
                )
                return True
        else:
            raise DeliveryError(
                f"Fullstory does not tell how job {job.entry.id} stands: it answered {answer.status} "
                f"({answer.code})."
            )
        if time.monotonic() >= job.deadline:
            logger.warning(
                "Job %s has not finished in %g s (job_timeout_seconds); it stays PROCESSING in the state",
                job.entry.id,
                self._timeout,
            )
            return True
        job.next_look = time.monotonic() + job.interval
        job.interval = min(job.interval * _INTERVAL_GROWTH, _LONGEST_INTERVAL)
        return False

    def _take_status(self, job: _Job, answer: Answer) -> bool:
        status = answer.data.get("job")
        if not isinstance(status, dict) or not isinstance(status.get("status"), str):
            raise DeliveryError(
                f"Fullstory's answer about job {job.entry.id} names no status. Check that api_url is the "
                "Server API."
            )
        if status.get("status") not in {"COMPLETED", "FAILED"}:
            return False
        entry = job.entry
        errors = _count(answer.data.get("errors"))
        listed = 0
        if status["status"] == "FAILED" or errors:
            listed = self._take_errors(entry, own=job.own)
        if not job.own:
            if listed:
                logger.warning(
                    "Job %s of an earlier run refused %d records; they are in this run's rejects file, not "
                    "in its counts",
                    entry.id,
                    listed,
                )
            return True
        missing = errors - listed
        if missing > 0:
            logger.warning("Job %s reports %d errors but lists %d", entry.id, errors, listed)
            self._ledger.count(entry.stream, rejected=missing, delivered=-missing)
        entry.status = str(status["status"])
        entry.imports = _count(answer.data.get("imports"))
        entry.errors = max(errors, listed)
        entry.finished = str(status.get("finished") or timestamp())
        self._ledger.job(entry)
        logger.info(
            "Job %s finished: %s, %d imported, %d errors",
            entry.id,
            entry.status,
            entry.imports,
            entry.errors,
        )
        return True

    def _take_errors(self, entry: JobEntry, *, own: bool) -> int:
        listed = 0
        for failed in self._errors(entry):
            reject = Reject(
                stream=entry.stream,
                kind=entry.kind,
                stage="job",
                code=str(failed.get("code") or "unknown"),
                message=str(failed.get("message") or ""),
                job_id=entry.id,
                request=failed.get(KINDS[entry.kind].item),
            )
            self._rejects.write(reject, counted=own)
            listed += 1
        self._rejects.sync()
        return listed

    def _errors(self, entry: JobEntry) -> Iterator[dict[str, Any]]:
        token = ""
        for _ in range(entry.records + 1):
            params = {"page_token": token} if token else {}
            answer = self._client.call("GET", f"{_path(entry)}/errors", params=params)
            if not answer.ok:
                raise DeliveryError(
                    f"The errors of job {entry.id} cannot be read: {answer.status} ({answer.code})."
                )
            results = answer.data.get("results") or []
            if not isinstance(results, list):
                raise DeliveryError(
                    f"The errors of job {entry.id} are not a list; they cannot be read."
                )
            yield from (failed for failed in results if isinstance(failed, dict))
            token = str(answer.data.get("next_page_token") or "")
            if not token:
                return


def _path(entry: JobEntry) -> str:
    return f"{KINDS[entry.kind].endpoint}/batch/{quote(entry.id, safe='')}"


def _count(value: Any) -> int:
    """A number that the API gives as a number or, as 64-bit numbers often are, as a string."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0
