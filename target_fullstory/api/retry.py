"""When a call is tried again: after which statuses and pauses, under which idempotency key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import backoff

from target_fullstory.api.responses import Response
from target_fullstory.api.throttle import Throttle
from target_fullstory.api.transport import HttpResponse
from target_fullstory.errors import DeliveryError
from target_fullstory.logs import logger

_RETRYABLE = frozenset({408, 409, 429})
"""Statuses after which a call is tried again, beside all from 500 on."""

_NOT_CARRIED_OUT = frozenset({409, 429})
"""Those of them which say that the attempt itself did nothing."""

_SLOW_DOWN = frozenset({429, 503})
"""Those of them which hold back every other request too."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
_TRIES_BEFORE_A_WARNING = 3


def is_retryable(status: int) -> bool:
    """Whether a call that was answered so is tried again."""
    return status in _RETRYABLE or status >= 500


class RetryableError(Exception):
    """An attempt that another one may mend, after the seconds that the API asked this call to wait."""

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


class Attempts:
    """The attempts of one call.

    Attributes:
        key: The idempotency key of the next attempt.
        uncertain: Whether an attempt got no clear response, so that it may have been carried out.
    """

    def __init__(self, throttle: Throttle, max_seconds: float, key: str | None) -> None:
        self.key = key
        self.uncertain = False
        self._throttle = throttle
        self._max_seconds = max_seconds
        self._base_key = key
        self._renewals = 0
        self._last_500: bytes | None = None

    def run(self, call: str, attempt: Callable[[], Response]) -> Response:
        """Try until an attempt raises no RetryableError.

        Raises:
            DeliveryError: The time for retries is over, or would be before the API wants the next attempt.
        """
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
        """Take note of a retryable response; returns the error to raise."""
        status, headers, content = response
        self.uncertain |= status not in _NOT_CARRIED_OUT
        if status == 500:
            self._renew_key_if_kept(content)
        after = retry_after(headers.get("Retry-After"))
        if status in _SLOW_DOWN:
            # The throttle holds everything back for so long; only the jitter is left to wait here.
            self._throttle.close(after if after is not None else _FIRST_PAUSE)
            after = None
        return RetryableError(f"Fullstory answered {status}", after or 0.0)

    def _renew_key_if_kept(self, content: bytes) -> None:
        """Renew the key where the same plain 500 came twice: Fullstory has kept that failure for the key.

        The new key is derived, so that a replay after a crash goes through the same keys.
        """
        if content != self._last_500:
            self._last_500 = content
        elif self._base_key is not None:
            self._renewals += 1
            self.key = f"{self._base_key}-{self._renewals}"
            self._last_500 = None


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, never negative; None where it is absent or no sense."""
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
