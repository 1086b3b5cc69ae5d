"""When a message to the response webhook is retried; the rules are those of Fullstory's Streams."""

from __future__ import annotations

import msgspec

from target_fullstory.api.network_errors import NoResponseError, NotSendableError

_RETRYABLE = frozenset({302, 303, 307, 429, *range(500, 600)})  # any other status is final


class RetryRules(msgspec.Struct, frozen=True):
    """How messages are delivered, with the defaults of Fullstory's Streams where these are known."""

    timeout: float = 5.0  # of an attempt, in seconds
    retries: int = 30
    retry_seconds: float = 5 * 3600.0  # from the first attempt to the beginning of the last
    first_pause: float = 0.5  # at most, in seconds; doubles with each retry
    longest_pause: float = 900.0
    room: int = 10_000  # messages that wait
    threads: int = 4

    def longest_pause_after(self, attempts: int) -> float:
        """The longest pause after so many attempts, in seconds."""
        # The exponent is bounded: a float overflows.
        return min(self.longest_pause, self.first_pause * 2.0 ** min(attempts - 1, 64))

    def allow_retry(self, attempts: int, seconds: float) -> bool:
        """Whether another attempt may follow, so many seconds after the beginning of the first one."""
        return attempts <= self.retries and seconds <= self.retry_seconds


class FailedAttemptError(Exception):
    """An attempt that did not deliver; its reason, such as `http_503`, never holds an address.

    If it is retryable, the next attempt comes `after` the seconds that the webhook asked to wait, or later.
    """

    def __init__(self, reason: str, *, retryable: bool, after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.after = after


def refused(status: int, after: float | None) -> FailedAttemptError:
    """The failure of an attempt whose response is no 2xx."""
    return FailedAttemptError(f"http_{status}", retryable=status in _RETRYABLE, after=after or 0.0)


def no_response(error: NoResponseError | NotSendableError) -> FailedAttemptError:
    """The failure of an attempt without a response."""
    if isinstance(error, NoResponseError):
        return FailedAttemptError(error.kind, retryable=True)
    return FailedAttemptError(str(error), retryable=False)
