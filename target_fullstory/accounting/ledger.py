"""The ledger: where each record ended, per stream, and the run's jobs and responses."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from target_fullstory.kinds import Kind


class StreamCounts(msgspec.Struct, kw_only=True):
    """One stream's records by where they ended.

    `received = delivered + rejected + merged + ignored + unchanged` once the run is over; before that, the
    difference is what still waits in a batch or a request. `merged` are records absorbed by another update of
    the same user in the same batch, `unchanged` those that the snapshot held back, `dropped_properties` the
    number of values left out, by property, and `undeclared_values` that of values that are not of their
    column's type. The kind is `ignored` for a stream without a mapping.
    """

    kind: str
    received: int = 0
    delivered: int = 0
    rejected: int = 0
    merged: int = 0
    ignored: int = 0
    unchanged: int = 0
    dropped_properties: dict[str, int] = {}
    undeclared_values: dict[str, int] = {}

    @property
    def ended(self) -> int:
        """Records whose outcome is known."""
        return self.delivered + self.rejected + self.merged + self.ignored + self.unchanged


class JobEntry(msgspec.Struct, kw_only=True):
    """A batch job as the state block lists it; times are ISO 8601 in UTC."""

    id: str
    kind: Kind
    stream: str = ""
    status: str = "PROCESSING"
    records: int = 0
    imports: int = 0
    errors: int = 0
    created: str = ""
    finished: str | None = None


Why: TypeAlias = Literal["in_progress", "unknown", "refused", "unreachable", "another_key"]
"""Why the end of an earlier run's job is not known."""


class UnfinishedJob(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An earlier run's job whose end this run has not learned, as the state block lists it."""

    id: str
    kind: Kind
    stream: str
    records: int = 0  # left out where it is not known
    since: str
    why: Why


class ResponseEntry(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A response of the API as the state block lists it.

    Of calls of kind `request` it has `method` and `path`; `action` and `previous_id` are webhook endpoints'.
    """

    stream: str
    kind: str
    status: int
    job: str | None = None
    method: str | None = None
    path: str | None = None
    action: str | None = None
    uid: str | None = None
    id: str | None = None
    previous_id: str | None = None
    code: str | None = None


OnResponse: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Called with each response: its event (`job_created`, `job_finished`, `request`) and its entry."""


def _count_names(counts: dict[str, int], names: Iterable[str]) -> list[str]:
    """Add one for each name; returns the names that are new."""
    before = set(counts)
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return [name for name in counts if name not in before]


_LISTED_JOBS = 1000
_ENDS = ("received", "delivered", "rejected", "merged", "ignored", "unchanged")


class Ledger:
    """Counts records, jobs and responses of a run; used by several threads."""

    def __init__(self, *, responses: int, on_response: OnResponse | None = None) -> None:
        """Keep this many of the latest responses; `on_response` must return at once and raise nothing."""
        self._on_response = on_response
        self._lock = threading.Lock()
        self._streams: dict[str, StreamCounts] = {}
        self._states = 0
        # By stream, the number of STATEs before its first record, and before its last.
        self._spans: dict[str, tuple[int, int]] = {}
        self._untimed: dict[str, int] = {}
        self._jobs: dict[str, JobEntry] = {}
        self._unfinished: dict[str, UnfinishedJob] = {}
        self._responses: deque[ResponseEntry] = deque(maxlen=responses)

    def open_stream(self, stream: str, kind: str) -> None:
        """Start to count a stream; one that is already counted keeps its counts."""
        with self._lock:
            self._streams.setdefault(stream, StreamCounts(kind=kind))

    def count(
        self,
        stream: str,
        *,
        received: int = 0,
        delivered: int = 0,
        rejected: int = 0,
        merged: int = 0,
        ignored: int = 0,
        unchanged: int = 0,
    ) -> None:
        """Add to a stream's counts; a negative number takes back what was counted before."""
        with self._lock:
            counts = self._streams[stream]
            if received:
                counts.received += received
                first = self._spans[stream][0] if stream in self._spans else self._states
                self._spans[stream] = (first, self._states)
            counts.delivered += delivered
            counts.rejected += rejected
            counts.merged += merged
            counts.ignored += ignored
            counts.unchanged += unchanged

    def received(self, stream: str) -> int:
        """How many records of a stream have come; 0 of one that is not counted."""
        with self._lock:
            counts = self._streams.get(stream)
            return counts.received if counts else 0

    def mark_state(self) -> None:
        """Note a STATE of the tap."""
        with self._lock:
            self._states += 1

    def covered(self, stream: str, written: int) -> Literal["none", "some", "all"]:
        """How many of a stream's records come before the STATE of this number; the first STATE has 1."""
        with self._lock:
            first, last = self._spans.get(stream, (0, 0))
        return "none" if written <= first else "some" if written <= last else "all"

    def dropped(self, stream: str, names: Iterable[str]) -> list[str]:
        """Count property values left out, one of each name; returns the names new to the run."""
        with self._lock:
            return _count_names(self._streams[stream].dropped_properties, names)

    def undeclared(self, stream: str, names: Iterable[str]) -> list[str]:
        """Count values that are not of their column's type, as `dropped`."""
        with self._lock:
            return _count_names(self._streams[stream].undeclared_values, names)

    def untimed(self, stream: str, events: int) -> bool:
        """Count events without a timestamp; returns whether they are the stream's first."""
        with self._lock:
            first = stream not in self._untimed
            self._untimed[stream] = self._untimed.get(stream, 0) + events
            return first

    @property
    def events_without_timestamp(self) -> int:
        """Events of all streams that carried no timestamp."""
        with self._lock:
            return sum(self._untimed.values())

    def job(self, entry: JobEntry) -> None:
        """Enter a job, or its later status."""
        with self._lock:
            self._jobs[entry.id] = entry
        if self._on_response is not None:
            event = "job_created" if entry.finished is None else "job_finished"
            self._on_response(event, msgspec.to_builtins(entry))

    def unfinished(self, job: UnfinishedJob) -> None:
        """Enter an earlier run's job whose end is not known, or another reason why."""
        with self._lock:
            self._unfinished[job.id] = job

    def finished(self, job_id: str) -> None:
        """Take away an earlier run's job: its end is booked."""
        with self._lock:
            self._unfinished.pop(job_id, None)

    def unfinished_jobs(self, *, every: bool = False) -> list[UnfinishedJob]:
        """The earlier runs' jobs whose end is not known, the latest 1,000 unless `every`."""
        with self._lock:
            jobs = list(self._unfinished.values())
        return jobs if every else jobs[-_LISTED_JOBS:]

    def response(self, stream: str, kind: Kind, status: int, **about: str | None) -> None:
        """Keep an API response for the state block, with the other fields of its `ResponseEntry`."""
        entry = ResponseEntry(stream=stream, kind=kind, status=status, **about)
        with self._lock:
            self._responses.append(entry)
        # A job's creation is reported with the job.
        if self._on_response is not None and entry.job is None:
            self._on_response("request", msgspec.to_builtins(entry))

    def totals(self) -> StreamCounts:
        """The sums over all streams."""
        with self._lock:
            streams = self._streams.values()
            sums = {name: sum(getattr(one, name) for one in streams) for name in _ENDS}
        return StreamCounts(kind="all", **sums)

    def streams(self, *, final: bool) -> dict[str, dict[str, Any]]:
        """Counts per stream, as the state block shows them.

        Unless `final`, `received` leaves out records in flight, so that the sum holds in every STATE.
        """
        with self._lock:
            shown: dict[str, dict[str, Any]] = msgspec.to_builtins(self._streams)
            if not final:
                for name, counts in self._streams.items():
                    shown[name]["received"] = counts.ended
            return shown

    def jobs(self, *, every: bool = False) -> list[JobEntry]:
        """The run's jobs, oldest first; above 1,000 unfinished, failed and the latest unless `every`."""
        with self._lock:
            jobs = list(self._jobs.values())
        spare = 0 if every else max(0, len(jobs) - _LISTED_JOBS)
        kept = []
        for job in jobs:
            if spare and job.status == "COMPLETED":
                spare -= 1
            else:
                kept.append(job)
        return kept

    def responses(self) -> list[ResponseEntry]:
        """The latest API responses, oldest first."""
        with self._lock:
            return list(self._responses)
