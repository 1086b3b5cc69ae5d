"""Counting by name, from any thread."""

from __future__ import annotations

import threading
from collections import Counter


class Tally:
    """Counts by name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Counts.

        Args:
            name: What.
            number: How often.
        """
        if number:
            with self._lock:
                self._counts[name] += number

    def counts(self) -> dict[str, int]:
        """Reads the counts.

        Returns:
            Name to count, without what was never counted.
        """
        with self._lock:
            return dict(sorted(self._counts.items()))

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._counts.clear()
