"""When a call is retried: after which statuses and pauses, under which idempotency key."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import backoff

from target_fullstory.api.responses import Response
from target_fullstory.api.transport import HttpResponse
from target_fullstory.errors import DeliveryError
from target_fullstory.logs import logger

RETRYABLE = frozenset({408, 409, 429, *range(500, 1000)})  # statuses after which a call is retried
_NOT_CARRIED_OUT = frozenset({409, 429})  # those which say that the attempt itself did nothing
_SLOW_DOWN = frozenset({429, 503})  # those which hold back every other request too
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_TRIES_BEFORE_A_WARNING = 3


class RetryableError(Exception):
    """A failed attempt; another may succeed `after` the seconds that the API asked this call to wait."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def _pauses() -> Generator[float, RetryableError, None]:
    """Pauses between attempts: full jitter over an exponential, on top of what the API asks for."""
    exponential = backoff.expo(base=2, factor=_FIRST_PAUSE, max_value=_LONGEST_PAUSE)
    next(exponential)
    error = yield 0.0
    while True:
        error = yield error.after + backoff.full_jitter(next(exponential))


def _log_retry(details: Any) -> None:
    level = logging.WARNING if details["tries"] >= _TRIES_BEFORE_A_WARNING else logging.DEBUG
    logger.log(
        level, "%s; attempt %d follows in %.1f s", details["exception"], details["tries"] + 1, details["wait"]
    )


class Throttle:
    """Holds all requests back together, until the time that the latest 429 or 503 asked for."""

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


class Attempts:
    """The attempts of one call; `uncertain` if one got no clear response and may have been carried out."""

    def __init__(self, throttle: Throttle, max_seconds: float, key: str | None) -> None:
        self.key = key  # of the next attempt
        self.uncertain = False
        self._throttle = throttle
        self._max_seconds = max_seconds
        self._base_key = key
        self._renewals = 0
        self._last_500: bytes | None = None

    def run(self, call: str, attempt: Callable[[], Response]) -> Response:
        """Try until an attempt raises no RetryableError, or raise a DeliveryError once the time is over."""
        deadline = time.monotonic() + self._max_seconds

        @backoff.on_exception(
            _pauses,
            RetryableError,
            max_time=self._max_seconds,
            jitter=None,
            on_backoff=_log_retry,
            logger=None,
        )
        def attempt_in_turn() -> Response:
            if not self._throttle.wait(deadline):
                raise DeliveryError(
                    f"Fullstory asks to wait longer than {self._max_seconds:g} s (retry_max_seconds). What "
                    "was accepted before is checkpointed; run again later."
                )
            return attempt()

        try:
            return attempt_in_turn()
        except RetryableError as error:
            raise DeliveryError(
                f"{call} failed for {self._max_seconds:g} s (retry_max_seconds): {error}. What was "
                "accepted before is checkpointed; run again when Fullstory answers."
            ) from None

    def failed(self, response: HttpResponse) -> RetryableError:
        """Note a retryable response; returns the error to raise."""
        status, headers, content = response
        self.uncertain |= status not in _NOT_CARRIED_OUT
        if status == 500 and content != self._last_500:
            self._last_500 = content
        elif status == 500 and self._base_key is not None:
            # The same plain 500 twice: Fullstory keeps that failure for the key, so use another. It is
            # derived from the first, so that a replay after a crash goes through the same keys.
            self._renewals += 1
            self.key = f"{self._base_key}-{self._renewals}"
            self._last_500 = None
        after = retry_after(headers.get("Retry-After"))
        if status in _SLOW_DOWN:
            # The throttle holds everything back for so long; only the jitter is left to wait here.
            self._throttle.close(after if after is not None else _FIRST_PAUSE)
            after = None
        return RetryableError(f"Fullstory answered {status}", after or 0.0)


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, never negative; None where it is absent or invalid."""
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
