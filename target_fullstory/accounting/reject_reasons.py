"""Why records were rejected: how many by stream, code, column and stage."""

from __future__ import annotations

import threading
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Stage: TypeAlias = Literal["map", "api", "job"]
"""Who refused a record: the mapping, the API's response, or a batch job."""

_MOST_REASONS = 200


class Reason(NamedTuple):
    """What equal rejects have in common."""

    stream: str
    code: str
    column: str | None
    stage: Stage
    own: bool  # whether they are this run's records, and not those of an earlier run's job
    harmless: bool  # whether a STATE may follow them, however many there are

    def __str__(self) -> str:
        """Code and column, as errors and the log name them."""
        return self.code if self.column is None else f"{self.code}, column {self.column}"


class StreamRejects(msgspec.Struct):
    """How many of a stream's records this run has rejected."""

    harmless: int = 0
    others: int = 0
    late: int = 0  # of the others: refused by Fullstory
    since_state: int = 0  # of the others: rejected by the mapping since the last STATE


class RejectReasons:
    """Counts a run's rejects; used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Reason, int] = {}
        # By stream, the rejects of the mapping when the last STATE came.
        self._at_state: dict[str, int] = {}

    def add(self, reason: Reason) -> bool:
        """Count a reject; returns whether it is the first such."""
        with self._lock:
            before = self._counts.get(reason)
            if before is None and len(self._counts) >= _MOST_REASONS:
                # Columns, and what the API calls its errors, may be without number.
                reason = reason._replace(code="other", column=None)
                before = self._counts.get(reason)
            self._counts[reason] = (before or 0) + 1
            return before is None

    def mark_state(self) -> None:
        """Note a STATE."""
        streams = self.by_stream()
        with self._lock:
            self._at_state = {name: stream.others - stream.late for name, stream in streams.items()}

    def by_stream(self) -> dict[str, StreamRejects]:
        """The streams with rejects of this run's own records."""
        streams: dict[str, StreamRejects] = {}
        with self._lock:
            for reason, count in self._counts.items():
                if not reason.own:
                    continue
                stream = streams.setdefault(reason.stream, StreamRejects())
                if reason.harmless:
                    stream.harmless += count
                    continue
                stream.others += count
                if reason.stage != "map":
                    stream.late += count
            for name, stream in streams.items():
                stream.since_state = stream.others - stream.late - self._at_state.get(name, 0)
        return streams

    def counted(self) -> list[tuple[Reason, int]]:
        """The reasons and their numbers, the most frequent first."""
        with self._lock:
            return sorted(self._counts.items(), key=lambda item: -item[1])

    def listed(self) -> list[dict[str, Any]]:
        """The same, as the state block shows it."""
        return [
            {
                "stream": reason.stream,
                "code": reason.code,
                **({} if reason.column is None else {"column": reason.column}),
                "stage": reason.stage,
                "count": count,
            }
            for reason, count in self.counted()
        ]
