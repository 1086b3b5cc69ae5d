"""The latest requests, and what is counted of all of them; in memory only."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

MAX_ENTRIES = 20_000


class RequestLog:
    """The latest requests, oldest first, and counts since the start or the last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: deque[dict[str, Any]] = deque(maxlen=MAX_ENTRIES)
        self._total = 0
        self._faults: Counter[str] = Counter()
        self._dropped_properties = 0

    def add(self, entry: dict[str, Any]) -> None:
        """Log a request."""
        with self._lock:
            self._latest.append(entry)
            self._total += 1
            if entry["fault"] is not None:
                self._faults[entry["fault"]] += 1

    def add_dropped_properties(self, number: int) -> None:
        """Count properties that were dropped for their size."""
        with self._lock:
            self._dropped_properties += number

    def latest(self) -> tuple[list[dict[str, Any]], int]:
        """The latest requests, oldest first, and how many there have been in all."""
        with self._lock:
            return list(self._latest), self._total

    def counts(self) -> dict[str, Any]:
        """The counts, named as in the sandbox's statistics."""
        with self._lock:
            return {
                "requests": self._total,
                "dropped_properties": self._dropped_properties,
                "faults": dict(sorted(self._faults.items())),
            }

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._latest.clear()
            self._faults.clear()
            self._total = self._dropped_properties = 0
