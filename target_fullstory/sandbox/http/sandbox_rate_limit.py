"""The limit on requests per second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from target_fullstory.sandbox.rules.refusals import too_many_requests


class RateLimit:
    """Requests per second, with a burst of one second's worth; None for no limit."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second or 0.0)
        self._left = self._burst
        self._clock = clock
        self._last = clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Count a request.

        Raises:
            ApiError: It is one too many.
        """
        if self._per_second is None:
            return
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._last) * self._per_second)
            self._last = now
            if self._left < 1:
                wait = (1 - self._left) / self._per_second
                raise too_many_requests("Too many requests per second", wait)
            self._left -= 1
