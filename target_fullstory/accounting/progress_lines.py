"""Tells at intervals how far a run has come, in a thread of its own: the run may be waiting for Fullstory."""

from __future__ import annotations

import threading

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.metrics import Metrics
from target_fullstory.logs import logger, stderr_is_terminal


class ProgressLines:
    """Logs a line of progress where there is no terminal, and the METRIC lines that are due."""

    def __init__(self, ledger: Ledger, metrics: Metrics, interval: float) -> None:
        """Begin; an interval of 0 seconds: no lines before the end."""
        self._ledger = ledger
        self._metrics = metrics
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)
        if interval:
            self._thread.start()

    def close(self) -> None:
        """Stop, and write the last METRIC lines."""
        self._over.set()
        if self._interval:
            self._thread.join()
        self._metrics.write()

    def _tell(self) -> None:
        terminal = stderr_is_terminal()
        while not self._over.wait(self._interval):
            self._metrics.write()
            if not terminal:
                self._log()

    def _log(self) -> None:
        totals = self._ledger.totals()
        unfinished = [job.records for job in self._ledger.jobs(every=True) if job.finished is None]
        logger.info(
            "So far: %d records read, %d delivered, %d rejected, %d unchanged, %d in progress; %d unfinished "
            "jobs with %d records",
            totals.received,
            totals.delivered,
            totals.rejected,
            totals.unchanged,
            totals.received - totals.ended,
            len(unfinished),
            sum(unfinished),
        )
