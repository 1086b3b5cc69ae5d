"""The setting `max_rejected_percent`: a stream that is mostly rejected must not use up the tap's bookmark.

Where a column has another type than the mapping takes, every record is rejected. A STATE behind them would
let the next run succeed without them; so the run stops, and the tap reads them again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from target_fullstory.accounting.ledger import JobEntry, Ledger
from target_fullstory.accounting.reject_reasons import RejectReasons
from target_fullstory.errors import MostlyRejectedError, TooManyRejectsError

LEAST_RECORDS = 20
"""A stream with fewer records is never stopped."""

FIRST_LOOK = 1000
"""A stream is looked at when it has so many records, beside each STATE and the end."""

_WHAT_TO_DO = {
    "none": "No STATE behind them is written, so that the next run reads them again: correct the mapping or "
    "the tap before it.",
    "some": "A STATE in the midst of the stream was written before this was known: the next run reads again "
    "what came after it. What was rejected before it is in the rejects file alone: correct the mapping or "
    "the tap, then replay that file.",
    "all": "The STATE behind them was written before this was known, so that the next run does not read them "
    "again. They are in the rejects file alone: correct the mapping or the tap, then replay that file.",
}


def is_beyond(percent: float | None, received: int, rejected: int) -> bool:
    """Whether so many rejected records are more than the percentage of those received."""
    return percent is not None and received >= LEAST_RECORDS and rejected * 100 > percent * received


class RejectionLimit:
    """Holds the streams' rejects against the limit; used by several threads."""

    def __init__(
        self,
        percent: float | None,
        ledger: Ledger,
        reasons: RejectReasons,
        last_written: Callable[[], int] = lambda: 0,
    ) -> None:
        """Without a percentage there is no limit; `last_written` tells the last STATE's number."""
        self.percent = percent
        self._ledger = ledger
        self._reasons = reasons
        self._last_written = last_written
        self._lock = threading.Lock()
        # What is wrong with the first earlier job beyond the limit, and how many there are.
        self._earlier_job = ""
        self._earlier_jobs = 0

    def check(self, only: str | None = None) -> None:
        """Look at all streams, or at one, as they stand now.

        Raises:
            MostlyRejectedError: One is beyond the limit.
        """
        if self.percent is None:
            return
        for name, rejects in self._reasons.by_stream().items():
            received = self._ledger.received(name) - rejects.harmless
            if only in {None, name} and is_beyond(self.percent, received, rejects.others):
                raise MostlyRejectedError(
                    f"Stream {name!r}: {rejects.others} of {received} records were rejected, more than "
                    f"max_rejected_percent ({self.percent:g}) allows; {self._leading_reason(name)}.",
                    partial(self._what_to_do, name),
                )

    def job_ended(self, entry: JobEntry, rejected: int) -> None:
        """Hold an earlier run's job against the limit, of which so many records were refused or lost."""
        records = max(entry.records, entry.imports + entry.errors, rejected)
        if not is_beyond(self.percent, records, rejected):
            return
        with self._lock:
            self._earlier_jobs += 1
            self._earlier_job = self._earlier_job or (
                f"Stream {entry.stream!r}: job {entry.id} of an earlier run refused or lost {rejected} of "
                f"{records} records, more than max_rejected_percent ({self.percent:g}) allows"
            )

    def check_earlier_jobs(self) -> None:
        """Tell of the earlier runs' jobs that were beyond the limit: each is learned of by one run alone.

        Raises:
            TooManyRejectsError: There is one.
        """
        with self._lock:
            first, others = self._earlier_job, self._earlier_jobs - 1
        if first:
            more = f"; so did {others} further jobs" if others else ""
            raise TooManyRejectsError(
                f"{first}{more}. A STATE may cover these records "
                "already, so that no run reads them again. They are in this run's rejects file: correct the "
                "mapping or the tap, then replay that file."
            )

    def _what_to_do(self, stream: str) -> str:
        """What becomes of a stream's rejects, by the STATEs that are written by now.

        One is written when Fullstory has accepted a job, and the job may refuse its records after that.
        """
        return _WHAT_TO_DO[self._ledger.covered(stream, self._last_written())]

    def _leading_reason(self, stream: str) -> str:
        """The reason that most of a stream's rejects have."""
        of_stream = [
            f"{count} of them for {reason}"
            for reason, count in self._reasons.counted()
            if reason.stream == stream and reason.own and not reason.harmless
        ]
        return of_stream[0]

    def allows_state(self) -> bool:
        """Whether a STATE that was within the limit when it came still is.

        Since then Fullstory may have refused more; what the mapping rejected comes behind that STATE.
        """
        if self.percent is None:
            return True
        for name, rejects in self._reasons.by_stream().items():
            behind = rejects.since_state
            received = self._ledger.received(name) - rejects.harmless - behind
            changed = rejects.late or rejects.harmless
            if changed and is_beyond(self.percent, received, rejects.others - behind):
                return False
        return True
