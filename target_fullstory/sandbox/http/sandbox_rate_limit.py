"""Limits that answer with 429: requests per second, and batches in progress."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from target_fullstory.sandbox.rules.refusals import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_JOBS_IN_PROGRESS = 200
MAX_OPERATIONS_IN_PROGRESS = 500_000


def too_many_requests(message: str, retry_after: float) -> ApiError:
    """A 429.

    Args:
        message: Which limit it is.
        retry_after: Seconds to wait.

    Returns:
        The error to raise.
    """
    return ApiError(429, "too_many_requests", message, retry_after=max(1, math.ceil(retry_after)))


class RateLimit:
    """Requests per second, with a burst of one second's worth."""

    def __init__(
        self, per_second: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second or 0.0)
        self._left = self._burst
        self._clock = clock
        self._last = clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Counts a request.

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


def check_batches(jobs: int, operations: int, new: int, job_seconds: float) -> None:
    """Counts a new batch against what the organisation has in progress.

    Args:
        jobs: Unfinished jobs.
        operations: Operations in them.
        new: Operations in the new batch.
        job_seconds: How long a job takes.

    Raises:
        ApiError: It would be too much.
    """
    if jobs >= MAX_JOBS_IN_PROGRESS:
        raise too_many_requests(
            f"{MAX_JOBS_IN_PROGRESS} batches are in progress: wait for some to finish", job_seconds
        )
    if operations + new > MAX_OPERATIONS_IN_PROGRESS:
        raise too_many_requests(
            f"{MAX_OPERATIONS_IN_PROGRESS} operations are in progress: wait for some to finish",
            job_seconds,
        )
