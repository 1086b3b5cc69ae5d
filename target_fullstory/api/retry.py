"""When a call is retried: after which statuses and pauses, under which idempotency key."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import backoff

from target_fullstory.api.network_errors import NoResponseError
from target_fullstory.api.renewed_keys import RenewedKeys
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
_TLS_TRIES = 3
_SHORTEST_RETRY = 1.0  # seconds that a retry may take, even where less is left for retries
_LONGEST_WAIT = 1e10  # seconds: whoever asks for more asks for this

KEPT_500_TRIES = 5
KEPT_500_SECONDS = 10.0
"""So many equal 500s in a row, over so many seconds, and Fullstory keeps that 500 under the key."""


class RetryableError(Exception):
    """A failed attempt; another may succeed `after` the seconds that the API asked this call to wait.

    Where the pause is `exact`, nothing comes on top of it.
    """

    def __init__(self, reason: str, after: float = 0.0, *, exact: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.exact = exact


def _pauses() -> Generator[float, RetryableError, None]:
    """Pauses between attempts: full jitter over an exponential, on top of what the API asks for."""
    exponential = backoff.expo(base=2, factor=_FIRST_PAUSE, max_value=_LONGEST_PAUSE)
    next(exponential)
    error = yield 0.0
    while True:
        error = yield error.after + (0.0 if error.exact else backoff.full_jitter(next(exponential)))


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

    def wait(self, deadline: float) -> float:
        """Wait until requests may begin; where that is after the deadline, return its seconds at once."""
        while True:
            with self._lock:
                until = self._open_at
            now = time.monotonic()
            if until <= now:
                return 0.0
            if until > deadline:
                return until - now
            time.sleep(until - now)


class _Equal500s:
    """The latest plain 500s of a key, equal and in a row, as Fullstory answers where it keeps one."""

    def __init__(self) -> None:
        self._content: bytes | None = None
        self._count = 0
        self._first = 0.0

    def forget(self) -> None:
        """Anything else was answered, or nothing: that Fullstory keeps a 500 is to be shown anew."""
        self._content = None

    def add(self, content: bytes) -> float | None:
        """Note another; returns the pause before the next try, None where there were enough to tell."""
        now = time.monotonic()
        if content != self._content:
            self._content, self._count, self._first = content, 0, now
        self._count += 1
        left = max(0.0, self._first + KEPT_500_SECONDS - now)
        if self._count >= KEPT_500_TRIES and not left:
            self.forget()
            return None
        return left / max(1, KEPT_500_TRIES - self._count)

    @property
    def alone(self) -> bool:
        """Whether the latest is the only one so far."""
        return self._count == 1


class Attempts:
    """The attempts of one call; `uncertain` if one got no clear response and may have been carried out."""

    def __init__(
        self,
        throttle: Throttle,
        max_seconds: float,
        key: str | None,
        renewed: RenewedKeys | None = None,
        advice: str = "",
    ) -> None:
        """Prepare the attempts of a call under a key.

        Where a replay may repeat the call, `renewed` knows what key took that one's place. The `advice` is
        the last sentence of an error.
        """
        self.uncertain = False
        self._throttle = throttle
        self._max_seconds = max_seconds
        self._base_key = key
        self._renewed = renewed
        self._advice = advice
        self._renewals = renewed.count(key) if renewed and key else 0
        self._equal_500s = _Equal500s()
        self._tls_failures = 0
        self._deadline = 0.0

    @property
    def key(self) -> str | None:
        """The key of the next attempt."""
        # Derived from the first, so that a replay after a crash goes through the same keys.
        return f"{self._base_key}-{self._renewals}" if self._renewals else self._base_key

    def run(self, call: str, attempt: Callable[[float], Response]) -> Response:
        """Try until an attempt raises no RetryableError, or raise a DeliveryError once the time is over.

        Each attempt is told how many seconds it may take at most: a retry, what is left for retries.
        """
        tries = itertools.count()
        self._deadline = time.monotonic() + self._max_seconds

        @backoff.on_exception(
            _pauses,
            RetryableError,
            max_time=self._max_seconds,
            jitter=None,
            on_backoff=_log_retry,
            logger=None,
        )
        def attempt_in_turn() -> Response:
            if seconds := self._throttle.wait(self._deadline):
                raise self._too_long(seconds)
            left = max(_SHORTEST_RETRY, self._deadline - time.monotonic())
            return attempt(left if next(tries) else math.inf)

        try:
            return attempt_in_turn()
        except RetryableError as error:
            raise DeliveryError(
                f"{call} failed for {self._max_seconds:g} s (retry_max_seconds): {error}. {self._advice}"
            ) from None

    def refused(self, response: HttpResponse) -> RetryableError | DeliveryError:
        """Note a retryable response; returns the error to raise."""
        status, headers, content = response
        self._tls_failures = 0
        self.uncertain |= status not in _NOT_CARRIED_OUT
        after = retry_after(headers)
        if status in _SLOW_DOWN:
            # The throttle holds everything back for so long; only the jitter is left to wait here.
            self._throttle.close(after if after is not None else _FIRST_PAUSE)
            after = None
        elif after is not None and time.monotonic() + after > self._deadline:
            return self._too_long(after)
        reason = f"Fullstory answered {status}"
        if status != 500 or self._base_key is None:
            self._equal_500s.forget()
            return RetryableError(reason, after or 0.0)
        pause = self._equal_500s.add(content)
        if pause is None:
            # Fullstory keeps that failure for the key, so use another.
            self._renewals += 1
            if self._renewed is not None:
                self._renewed.note(self._base_key, self._renewals)
        elif not self._equal_500s.alone:
            return RetryableError(reason, max(after or 0.0, pause), exact=True)
        return RetryableError(reason, after or 0.0)

    def unclear(self, reason: str) -> RetryableError:
        """Note an attempt whose answer makes no sense; returns the error to raise."""
        self.uncertain = True
        self._tls_failures = 0
        self._equal_500s.forget()
        return RetryableError(reason)

    def unanswered(self, call: str, error: NoResponseError) -> RetryableError | DeliveryError:
        """Note an attempt without an answer; returns the error to raise."""
        if error.kind != "tls_error":
            return self.unclear(f"no answer: {error}")
        # Nothing was sent. It may be one machine of many; it will hardly be mended by waiting.
        self._tls_failures += 1
        if self._tls_failures < _TLS_TRIES:
            return RetryableError(f"no answer: {error}")
        return DeliveryError(
            f"{call} failed {self._tls_failures} times: {error}. Check the setting api_url, "
            "this machine's clock, and REQUESTS_CA_BUNDLE where a proxy has certificates of its own. "
            f"{self._advice}"
        )

    def _too_long(self, seconds: float) -> DeliveryError:
        return DeliveryError(
            f"Fullstory asks to wait {math.ceil(seconds)} s more, which retry_max_seconds "
            f"({self._max_seconds:g}) does not allow. {self._advice}"
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header `Retry-After` asks for, never negative; None where it is absent or invalid.

    A date is held against that of the response itself, as this machine's clock may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = _moment(text)
        if moment is None:
            return None
        now = _moment(headers.get("Date", "")) or datetime.now(timezone.utc)
        return max(0.0, (moment - now).total_seconds())
    return min(seconds, _LONGEST_WAIT) if seconds >= 0 else None


def _moment(text: str) -> datetime | None:
    """A date of HTTP; None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment
