"""The latest requests, for looking at what a client sent."""

from __future__ import annotations

import threading
from collections import deque

import msgspec

MAX_ENTRIES = 20_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A request; `status` is null where the connection ended without an answer."""

    at: str
    method: str
    path: str
    query: str
    status: int | None
    bytes: int
    idempotency_key: str | None
    replayed: bool
    integration_source: str | None
    user_agent: str | None
    content_type: str | None
    fault: str | None


class RequestLog:
    """The latest requests, in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._total = 0

    def add(self, entry: Entry) -> None:
        """Notes a request.

        Args:
            entry: The request.
        """
        with self._lock:
            self._entries.append(entry)
            self._total += 1

    def entries(self) -> tuple[list[Entry], int]:
        """Reads the log.

        Returns:
            The latest requests, oldest first, and how many there have been.
        """
        with self._lock:
            return list(self._entries), self._total

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
            self._total = 0
