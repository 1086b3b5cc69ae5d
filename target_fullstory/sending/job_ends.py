"""Books the end of a batch job: what it refused or lost goes to the rejects file.

A job's figures are believed where they add up: as many imports and errors as it has records, as many errors
listed as counted. Else what it imported is looked up, and a record that is in neither list is rejected with
its request. So is every record of a job that vanishes. Used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.accounting.rejects import Reject, timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.job_polling import COMPLETED, FAILED, UNKNOWN, PolledJob, adds_up
from target_fullstory.logs import logger
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.missing_requests import missing_requests

_NOT_LISTED = "Fullstory lists it neither as imported nor as refused"
_VANISHED = "Fullstory does not know the job any more"
_GIVEN_UP = "the end of the job could not be learned in 7 days; the record may be in Fullstory"


class JobEnds:
    """What became of the jobs that have ended."""

    def __init__(self, accounting: Accounting, journal: JobJournal) -> None:
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._journal = journal
        # How many records of a job are in this run's rejects file. Fullstory answers a replay of events with
        # the job that it knows: an earlier run may have left it, and its end be booked already.
        self._booked: dict[str, int] = {}

    def book(self, polled: PolledJob, *, own: bool) -> None:
        """Book the end of a job, of this run or of an earlier one.

        Raises:
            ListNotReadyError: Fullstory is still listing its items.
            DeliveryError: A list cannot be read.
        """
        entry = polled.entry
        if entry.id not in self._booked:
            self._write(entry, self._rejects_of(polled), own=own)
        elif not own:
            self._ledger.finished(entry.id)
        else:
            again = self._booked[entry.id]
            self._ledger.count(entry.stream, rejected=again, delivered=-again)
            self._journal.ended(entry.id)
        if own:
            self._enter(entry, self._booked[entry.id])

    def give_up(self, entry: JobEntry) -> None:
        """Reject every record of an earlier run's job whose end cannot be learned."""
        self._write(entry, self._all_lost(entry, _GIVEN_UP), own=False)

    def _rejects_of(self, polled: PolledJob) -> list[Reject]:
        entry = polled.entry
        if entry.status == UNKNOWN:
            logger.warning("Job %s is not known to Fullstory any more (404)", entry.id)
            return self._all_lost(entry, _VANISHED)
        items = polled.refused_items() if entry.errors or entry.status != COMPLETED else []
        refused = [_reject(entry, item.code, item.message, item.request) for item in items]
        if adds_up(entry) and len(items) == entry.errors and (items or entry.status == COMPLETED):
            return refused
        logger.warning(
            "Job %s is %s with %d imports and %d errors for %s records, and lists %d errors: looking up what "
            "it has imported",
            *(entry.id, entry.status, entry.imports, entry.errors, entry.records or "an unknown number of"),
            len(items),
        )
        imported = polled.imported_items()
        requests = self._journal.requests(entry.id)
        if requests is None:
            records = entry.records or entry.imports + entry.errors
            lost = records - len(refused) - sum(1 for _ in imported)
            return refused + _lost(entry, [None] * lost, _NOT_LISTED)
        missing, known = missing_requests(entry.kind, requests, [item.request for item in items], imported)
        return [refused[position] for position in known] + _lost(entry, missing, _NOT_LISTED)

    def _all_lost(self, entry: JobEntry, why: str) -> list[Reject]:
        requests = self._journal.requests(entry.id)
        return _lost(entry, requests or [None] * max(1, entry.records), why)

    def _write(self, entry: JobEntry, rejects: list[Reject], *, own: bool) -> None:
        for reject in rejects:
            self._rejects.write(reject, own=own)
        self._rejects.sync()
        self._booked[entry.id] = len(rejects)
        self._journal.ended(entry.id)
        if not own:
            self._ledger.finished(entry.id)
        if rejects and not own:
            logger.warning(
                "Job %s of an earlier run refused or lost %d records of stream %s; they are in this run's "
                "rejects file and count towards its exit code",
                *(entry.id, len(rejects), entry.stream),
            )

    def _enter(self, entry: JobEntry, rejected: int) -> None:
        """Enter an own job's end: its errors are what is in the rejects file."""
        if rejected and entry.status == COMPLETED:
            entry.status = FAILED
        entry.errors, entry.imports = rejected, entry.records - rejected
        entry.finished = entry.finished or timestamp()
        self._ledger.job(entry)
        logger.info(
            "Job %s finished: %s, %d imported, %d errors", entry.id, entry.status, entry.imports, entry.errors
        )


def _lost(entry: JobEntry, requests: Iterable[bytes | None], why: str) -> list[Reject]:
    """Rejects of records that a job has lost; without their requests where these were not kept."""
    return [_reject(entry, "job_incomplete", why, request) for request in requests]


def _reject(entry: JobEntry, code: str, message: str, request: bytes | None) -> Reject:
    return Reject(
        stream=entry.stream,
        kind=entry.kind,
        stage="job",
        code=code,
        message=message,
        job_id=entry.id,
        request=None if request is None else msgspec.Raw(request),
    )
