"""One gate for all requests: when Fullstory says slow down, everything slows down together."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


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
        """Wait until requests may begin again.

        Args:
            deadline: The latest time that is of use, in monotonic seconds.

        Returns:
            Whether they may; False, at once, where that is later than the deadline.
        """
        while True:
            with self._lock:
                until = self._open_at
            now = time.monotonic()
            if until <= now:
                return True
            if until > deadline:
                return False
            time.sleep(until - now)


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for.

    Args:
        value: The header, seconds or an HTTP date; None where it is absent.

    Returns:
        Seconds, never negative; None where the header is absent or makes no sense.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
