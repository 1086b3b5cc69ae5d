"""One gate for all requests: when Fullstory says slow down, everything slows down together."""

from __future__ import annotations

import threading
import time


class Throttle:
    """Holds requests back until the time that the latest 429 or 503 asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open_at = 0.0

    def close(self, seconds: float) -> None:
        """Let no request begin for so long from now."""
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def wait(self, deadline: float) -> bool:
        """Wait until requests may begin again; returns False, at once, where that is after the deadline."""
        while True:
            with self._lock:
                until = self._open_at
            now = time.monotonic()
            if until <= now:
                return True
            if until > deadline:
                return False
            time.sleep(until - now)
