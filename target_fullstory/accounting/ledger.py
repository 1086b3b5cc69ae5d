"""The ledger: where each record ended, per stream, and the run's jobs and responses.

Several threads write to it; it holds its own lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from target_fullstory.kinds import Kind


class StreamCounts(msgspec.Struct, kw_only=True):
    """One stream's records by where they ended.

    `received = delivered + rejected + merged + ignored` once the run is over; before that, the
    difference is what still waits in a batch or a request.

    Attributes:
        kind: What the records become; `ignored` for a stream without a mapping.
        received: Records read from the tap.
        delivered: Records accepted by Fullstory.
        rejected: Records refused by the mapping or by Fullstory.
        merged: Records absorbed by a later update of the same user in the same batch.
        ignored: Records of a stream that is configured so.
        dropped_properties: Property name to the number of values left out.
    """

    kind: str
    received: int = 0
    delivered: int = 0
    rejected: int = 0
    merged: int = 0
    ignored: int = 0
    dropped_properties: dict[str, int] = {}

    @property
    def ended(self) -> int:
        """Records whose end is known."""
        return self.delivered + self.rejected + self.merged + self.ignored


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


Tell: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Hears of each response as it comes: its event (`job_created`, `job_finished`, `request`) and its entry."""

_LISTED_JOBS = 1000


class Ledger:
    """Counts records, jobs and responses of a run."""

    def __init__(self, *, responses: int, tell: Tell | None = None) -> None:
        """Start an empty ledger.

        Args:
            responses: How many of the latest API responses to keep.
            tell: Hears of each response and job; returns at once and raises nothing.
        """
        self._tell = tell
        self._lock = threading.Lock()
        self._streams: dict[str, StreamCounts] = {}
        self._jobs: dict[str, JobEntry] = {}
        self._responses: deque[dict[str, Any]] = deque(maxlen=responses)

    def open_stream(self, stream: str, kind: str) -> None:
        """Begin to count a stream; a stream that is already counted goes on."""
        with self._lock:
            self._streams.setdefault(stream, StreamCounts(kind=kind))

    def received(self, stream: str, count: int = 1) -> None:
        """Count records read; a negative count takes back what will be read again by a later run."""
        with self._lock:
            self._streams[stream].received += count

    def delivered(self, stream: str, count: int) -> None:
        """Count records accepted by Fullstory."""
        with self._lock:
            self._streams[stream].delivered += count

    def rejected(self, stream: str, count: int = 1, *, was_delivered: bool = False) -> None:
        """Count records refused; `was_delivered` moves those that a job refused after its acceptance."""
        with self._lock:
            counts = self._streams[stream]
            counts.rejected += count
            if was_delivered:
                counts.delivered -= count

    def merged(self, stream: str, count: int) -> None:
        """Count records absorbed by later ones of the same batch."""
        with self._lock:
            self._streams[stream].merged += count

    def ignored(self, stream: str, count: int) -> None:
        """Count records of a stream that is configured to be ignored."""
        with self._lock:
            counts = self._streams[stream]
            counts.received += count
            counts.ignored += count

    def dropped(self, stream: str, names: tuple[str, ...]) -> list[str]:
        """Count property values left out, one of each name; returns the names new to the run."""
        with self._lock:
            dropped = self._streams[stream].dropped_properties
            new = [name for name in names if name not in dropped]
            for name in names:
                dropped[name] = dropped.get(name, 0) + 1
            return new

    def job(self, entry: JobEntry) -> None:
        """Enter a job, or its later status."""
        with self._lock:
            self._jobs[entry.id] = entry
        if self._tell is not None:
            event = "job_created" if entry.finished is None else "job_finished"
            self._tell(event, msgspec.to_builtins(entry))

    def response(self, entry: dict[str, Any]) -> None:
        """Keep an API response for the state block."""
        with self._lock:
            self._responses.append(entry)
        # A job's creation is told with the job.
        if self._tell is not None and "job" not in entry:
            self._tell("request", entry)

    def totals(self) -> StreamCounts:
        """The sums over all streams."""
        with self._lock:
            total = StreamCounts(kind="all")
            for counts in self._streams.values():
                total.received += counts.received
                total.delivered += counts.delivered
                total.rejected += counts.rejected
                total.merged += counts.merged
                total.ignored += counts.ignored
            return total

    def streams(self, *, final: bool) -> dict[str, dict[str, Any]]:
        """Counts per stream, as the state block shows them.

        Args:
            final: Whether the run is over. Before that `received` leaves out what is still on its way, so
                that the sum holds in every STATE that is written.
        """
        with self._lock:
            shown = msgspec.to_builtins(self._streams)
            for name, counts in self._streams.items():
                if not final:
                    shown[name]["received"] = counts.ended
            return dict(shown)

    def jobs(self, *, every: bool = False) -> list[dict[str, Any]]:
        """The run's jobs, oldest first; above 1,000 unfinished, failed and the latest unless `every`."""
        with self._lock:
            jobs = list(self._jobs.values())
        if not every and len(jobs) > _LISTED_JOBS:
            spare = len(jobs) - _LISTED_JOBS
            kept = []
            for job in jobs:
                if spare and job.status == "COMPLETED":
                    spare -= 1
                else:
                    kept.append(job)
            jobs = kept
        return [msgspec.to_builtins(job) for job in jobs]

    def responses(self) -> list[dict[str, Any]]:
        """The latest API responses, oldest first."""
        with self._lock:
            return list(self._responses)
