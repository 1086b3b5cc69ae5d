"""When a message to the response webhook is tried again; the rules are those of Fullstory's Streams."""

from __future__ import annotations

import msgspec
import requests

from target_fullstory.api.transport import NETWORK_ERRORS

_RETRYABLE = frozenset({302, 303, 307, 429, *range(500, 600)})
"""Statuses after which an attempt is repeated; any other one is final."""


class RetryRules(msgspec.Struct, frozen=True):
    """How messages are delivered; the defaults are those of Fullstory's Streams where they tell.

    Attributes:
        timeout: Time limit of an attempt, in seconds.
        retries: The most attempts after the first one.
        retry_seconds: Retries begin within so many seconds of the first attempt.
        first_pause: The longest pause before the first retry, in seconds; it doubles for each further one.
        longest_pause: The longest pause there is, in seconds.
        room: The most messages that wait.
        threads: Attempts at a time.
    """

    timeout: float = 5.0
    retries: int = 30
    retry_seconds: float = 5 * 3600.0
    first_pause: float = 0.5
    longest_pause: float = 900.0
    room: int = 10_000
    threads: int = 4

    def longest_pause_after(self, attempts: int) -> float:
        """The longest pause after so many attempts, in seconds."""
        # The exponent is bounded: a float has an end.
        return min(self.longest_pause, self.first_pause * 2.0 ** min(attempts - 1, 64))

    def allow_retry(self, attempts: int, seconds: float) -> bool:
        """Whether another attempt may follow, so many seconds after the beginning of the first one."""
        return attempts <= self.retries and seconds <= self.retry_seconds


class FailedAttemptError(Exception):
    """An attempt that did not deliver.

    Attributes:
        reason: What happened, such as `http_503`; never an address.
        retryable: Whether another attempt may mend it, `after` the seconds that the webhook asked to wait.
    """

    def __init__(self, reason: str, *, retryable: bool, after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.after = after


def refused(status: int, after: float | None) -> FailedAttemptError:
    """The failure of an attempt that was answered, with no 2xx."""
    return FailedAttemptError(f"http_{status}", retryable=status in _RETRYABLE, after=after or 0.0)


def not_answered(error: requests.RequestException) -> FailedAttemptError:
    """The failure of an attempt without an answer, without the error's text, which holds the address."""
    retryable = isinstance(error, NETWORK_ERRORS)
    reason = "connection_error" if retryable else type(error).__name__
    return FailedAttemptError(
        "timeout" if isinstance(error, requests.Timeout) else reason, retryable=retryable
    )
