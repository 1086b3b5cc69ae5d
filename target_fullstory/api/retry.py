"""When a call is tried again: after which statuses and pauses, under which idempotency key."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

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
        tries = 0
        while True:
            began = time.monotonic()
            if not self._throttle.wait(deadline):
                raise DeliveryError(
                    f"Fullstory asks to wait longer than {self._max_seconds:g} s (retry_max_seconds). What "
                    "was accepted before is checkpointed; run again later."
                )
            try:
                return attempt()
            except RetryableError as error:
                if began >= deadline:
                    raise DeliveryError(
                        f"{call} failed for {self._max_seconds:g} s (retry_max_seconds): {error}. What was "
                        "accepted before is checkpointed; run again when Fullstory answers."
                    ) from None
                longest = longest_pause(tries, _FIRST_PAUSE, _LONGEST_PAUSE)
                pause = min(error.after + full_jitter(longest), deadline - began)
                tries += 1
                level = logging.WARNING if tries >= _TRIES_BEFORE_A_WARNING else logging.DEBUG
                logger.log(level, "%s; attempt %d follows in %.1f s", error, tries + 1, pause)
                time.sleep(pause)

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


def full_jitter(seconds: float) -> float:
    """A pause up to so many seconds, so that those who failed together do not try again together."""
    return random.uniform(0, seconds)  # noqa: S311 - no secret


def longest_pause(tries: int, first: float, longest: float) -> float:
    """Seconds to pause at the most after so many earlier tries: each time twice as long."""
    # The exponent is bounded: a float has an end.
    return min(longest, first * 2.0 ** min(tries, 64))


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
