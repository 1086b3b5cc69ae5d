"""Books the end of a batch job: what it refused or lost goes to the rejects file.

A job's figures are believed where they add up: as many imports and errors as it has records, as many errors
listed as counted. Else what it imported is looked up, and a record that is in neither list is rejected with
its request. So is every record of a job that vanishes. An error that is listed without its record gets one
that is in neither list. Used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.accounting.rejects import Reject, timestamp
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.job_polling import COMPLETED, FAILED, UNKNOWN, PolledJob, RefusedItem, adds_up
from target_fullstory.logs import logger
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.missing_requests import missing_requests, places_of, refused_requests
from target_fullstory.sending.note_file import NotedJob

if TYPE_CHECKING:
    from target_fullstory.sending.outbox import Outbox

_NOT_LISTED = "Fullstory lists it neither as imported nor as refused"
_WHICH = "Fullstory does not tell of which record: this is one of those that it does not list as imported"
_VANISHED = "Fullstory does not know the job any more"
_GIVEN_UP = "the end of the job could not be learned in 7 days; the record may be in Fullstory"


class _End(NamedTuple):
    """How a job has ended."""

    rejects: list[Reject]
    # Of the outbox's, by their places, the requests that are not, or perhaps not, in; None: perhaps none is.
    refused: dict[int, bytes] | None = None


class JobEnds:
    """What became of the jobs that have ended."""

    def __init__(self, accounting: Accounting, journal: JobJournal, outbox: Outbox | None = None) -> None:
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._limit = accounting.rejection_limit
        self._journal = journal
        self._outbox = outbox
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
            self._write(entry, self._end_of(polled), own=own)
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

    def _end_of(self, polled: PolledJob) -> _End:
        entry = polled.entry
        if entry.status == UNKNOWN:
            logger.warning("Job %s is not known to Fullstory any more (404)", entry.id)
            return self._all_lost(entry, _VANISHED)
        items = polled.refused_items() if entry.errors or entry.status != COMPLETED else []
        nameless = [item for item in items if item.request is None]
        believed = adds_up(entry) and len(items) == entry.errors and (items or entry.status == COMPLETED)
        requests = self._journal.requests(entry.id) if nameless or not believed else None
        if believed and requests is None:
            rejects = [_refused(entry, item, item.request) for item in items]
            return _End(rejects, self._refused_in_outbox(polled, items))
        logger.warning(
            "Job %s is %s with %d imports and %d errors for %s records, and lists %d errors, %d of them "
            "without the record: looking up what it has imported",
            *(entry.id, entry.status, entry.imports, entry.errors, entry.records or "an unknown number of"),
            *(len(items), len(nameless)),
        )
        imported = polled.imported_items()
        if requests is None:
            records = entry.records or entry.imports + entry.errors
            lost = records - len(items) - sum(1 for _ in imported)
            refused = [_refused(entry, item, item.request) for item in items]
            return _End(refused + _lost(entry, [None] * lost, _NOT_LISTED))
        named = [item for item in items if item.request is not None]
        missing, known, found = missing_requests(
            entry.kind, requests, [item.request for item in named], imported
        )
        rejects = [_refused(entry, named[position], named[position].request) for position in known]
        # Where each of them was refused for the same, it is all one which is whose.
        certain = len(missing) == len(nameless) and len(set(nameless)) == 1
        for item, request in zip(nameless, missing, strict=False):
            rejects.append(_refused(entry, item, request, "" if certain else _WHICH))
        rejects += _lost(entry, missing[len(nameless) :], _NOT_LISTED)
        return _End(rejects, _others(requests, found))

    def _refused_in_outbox(self, polled: PolledJob, items: list[RefusedItem]) -> dict[int, bytes] | None:
        """Which requests of a job of the outbox were refused, by their places; None where it is not known."""
        entry = polled.entry
        if not items or self._outbox is None or self._outbox.of_job(entry.id) is None:
            return {}
        requests, listed = self._journal.requests(entry.id), [item.request for item in items]
        if requests is None:
            return None
        refused = refused_requests(entry.kind, requests, listed)
        if refused is None:
            # Fullstory shows them otherwise than they were sent.
            return _others(
                requests, missing_requests(entry.kind, requests, listed, polled.imported_items()).imported
            )
        return {place: requests[place] for place in refused}

    def _all_lost(self, entry: JobEntry, why: str) -> _End:
        requests = self._journal.requests(entry.id)
        return _End(_lost(entry, requests or [None] * max(1, entry.records), why))

    def _write(self, entry: JobEntry, end: _End, *, own: bool) -> None:
        rejects, noted = end.rejects, self._outbox.of_job(entry.id) if self._outbox else None
        if noted is not None and entry.kind == "events":
            self._tell_events(noted, end)
        for reject in rejects:
            self._rejects.write(reject, own=own)
        self._rejects.sync()
        self._booked[entry.id] = len(rejects)
        if self._outbox is not None and noted is not None:
            self._outbox.book(noted, end.refused)
        else:
            self._journal.ended(entry.id)
        if not own:
            self._ledger.finished(entry.id)
            self._limit.job_ended(entry, len(rejects))
        if rejects and not own:
            logger.warning(
                "Job %s of an earlier run refused or lost %d records of stream %s; they are in this run's "
                "rejects file and count towards its exit code",
                *(entry.id, len(rejects), entry.stream),
            )

    def _tell_events(self, noted: NotedJob, end: _End) -> None:
        """Write into the rejects of events what these are known by: their requests alone do not tell."""
        refused = end.refused
        if refused is None:
            refused = dict(enumerate(self._journal.requests(noted.id) or []))
        shown = [None if reject.request is None else bytes(reject.request) for reject in end.rejects]
        rows = self._outbox.rows(noted) if self._outbox else None
        for reject, place in zip(end.rejects, places_of("events", refused, shown), strict=True):
            if rows is not None and place is not None:
                reject.known_by = rows.known_by(place)

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


def _others(requests: list[bytes], places: AbstractSet[int]) -> dict[int, bytes]:
    return {place: request for place, request in enumerate(requests) if place not in places}


def _lost(entry: JobEntry, requests: Iterable[bytes | None], why: str) -> list[Reject]:
    """Rejects of records that a job has lost; without their requests where these were not kept."""
    return [_reject(entry, "job_incomplete", why, request) for request in requests]


def _refused(entry: JobEntry, item: RefusedItem, request: bytes | None, note: str = "") -> Reject:
    """The reject of a listed error, with its request; the `note` is about which request it is."""
    message = f"{item.message} ({note})" if note else item.message
    return _reject(entry, item.code, message, request)


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
