"""METRIC lines, in singer-sdk's form: records, requests to the API, batches and jobs."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter, defaultdict
from enum import Enum
from typing import Any, cast

from singer_sdk.metrics import Metric, Point, Status, Tag, get_metrics_logger, log

from target_fullstory.accounting.ledger import Ledger


class _Own(str, Enum):
    """Metrics that singer-sdk has no name for."""

    UNCHANGED_RECORD_COUNT = "unchanged_record_count"


_JOB_ID = re.compile(r"(?<=/batch/)[^/]+")


class Metrics:
    """Measures a run; used by several threads.

    Records and requests are summed up and written by `write`, so that no record and no request has a line of
    its own. Batches and jobs have one each.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._records: Counter[str] = Counter()  # those written, by stream
        self._unchanged: Counter[str] = Counter()
        # By endpoint, method and status, since the last line: the seconds they took together, and how many.
        self._seconds: defaultdict[tuple[str, str, int | None], float] = defaultdict(float)
        self._attempts: Counter[tuple[str, str, int | None]] = Counter()
        self._jobs: dict[str, float] = {}  # by id, when a job was created

    def attempt(self, name: str, status: int | None, seconds: float) -> None:
        """Count an attempt of a call, by its name in errors; the status is None where no answer came."""
        method, _, endpoint = name.partition(" ")
        with self._lock:
            what = _JOB_ID.sub("{job_id}", endpoint), method, status
            self._seconds[what] += seconds
            self._attempts[what] += 1

    def batch(self, stream: str, seconds: float) -> None:
        """Write how long it took until Fullstory had answered a batch."""
        _write("timer", Metric.BATCH_PROCESSING_TIME, seconds, {Tag.STREAM: stream, **_status(failed=False)})

    def on_response(self, event: str, entry: dict[str, Any]) -> None:
        """Take what the ledger tells of jobs; write how long one took when it has ended."""
        if event == "job_created":
            with self._lock:
                self._jobs[entry["id"]] = time.monotonic()
        elif event == "job_finished":
            with self._lock:
                created = self._jobs.pop(entry["id"], None)
            if created is not None:
                tags: dict[str, Any] = {Tag.STREAM: entry["stream"], Tag.JOB_TYPE: entry["kind"]}
                tags |= _status(failed=entry["status"] != "COMPLETED")
                _write("timer", Metric.JOB_DURATION, time.monotonic() - created, tags)

    def write(self) -> None:
        """Write the records received, those of them unchanged, and the requests made since the last time."""
        with self._lock:
            seconds, self._seconds = self._seconds, defaultdict(float)
            attempts, self._attempts = self._attempts, Counter()
            for stream, counts in self._ledger.streams(final=True).items():
                if (new := counts["received"] - self._records[stream]) > 0:
                    self._records[stream] += new
                    _write("counter", Metric.RECORD_COUNT, new, {Tag.STREAM: stream})
                if (new := counts["unchanged"] - self._unchanged[stream]) > 0:
                    self._unchanged[stream] += new
                    _write("counter", _Own.UNCHANGED_RECORD_COUNT, new, {Tag.STREAM: stream})
        for (endpoint, method, status), count in attempts.items():
            tags = {Tag.ENDPOINT: endpoint, "method": method, Tag.HTTP_STATUS_CODE: status}
            tags |= _status(failed=status is None or status >= 400)
            _write("timer", Metric.HTTP_REQUEST_DURATION, seconds[endpoint, method, status] / count, tags)
            _write("counter", Metric.HTTP_REQUEST_COUNT, count, tags)


def _status(*, failed: bool) -> dict[str, Any]:
    return {Tag.STATUS: Status.FAILED if failed else Status.SUCCEEDED}


def _write(form: str, metric: Metric | _Own, value: float, tags: dict[str, Any]) -> None:
    rounded = value if isinstance(value, int) else round(value, 4)
    point = Point(form, cast("Metric", metric), rounded, {**tags, Tag.PID: os.getpid()})
    log(get_metrics_logger(), point)
