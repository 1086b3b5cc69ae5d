"""The project's few exception types.

Every message says what happened, to which stream or setting, and what to do about it; the command line
prints it as its one line before exit code 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches


class TargetFullstoryError(Exception):
    """Anything that ends a run with one clear line and exit code 1."""


class ConfigurationError(TargetFullstoryError):
    """A setting or a mapping that cannot work, found before its records are sent."""


class InputError(TargetFullstoryError):
    """A line of input that is not a Singer message, or comes out of order."""


class DeliveryError(TargetFullstoryError):
    """Fullstory cannot be reached, or refuses more than a single record."""


class KeyRefusedError(DeliveryError):
    """Fullstory does not accept the API key, or its role does not allow the call."""


class OutputError(TargetFullstoryError):
    """A file of the run, such as the rejects file, cannot be written."""


class TooManyRejectsError(TargetFullstoryError):
    """More records were rejected than `max_rejected_records` allows; the rest was delivered."""


class MostlyRejectedError(TooManyRejectsError):
    """A larger share of a stream was rejected than `max_rejected_percent` allows; reading has stopped.

    What is to be done depends on which STATEs the run writes until its end: that is asked when it is told.
    """

    def __init__(self, reason: str, what_to_do: Callable[[], str]) -> None:
        super().__init__(reason)
        self._what_to_do = what_to_do

    def __str__(self) -> str:
        """The reason, and what is to be done as of now."""
        return f"{self.args[0]} {self._what_to_do()}"


class BeyondLimitError(TargetFullstoryError):
    """More users vanished or changed than a limit allows, or others than those of the approved plan."""

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(reason)
        self.stream = stream


def config_error(stream: str, key: str, problem: str) -> ConfigurationError:
    """An error that names the mapping's key, such as `streams.customers.fields.email`."""
    return ConfigurationError(f"streams.{stream}.{key}: {problem}")


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Suggest the valid name nearest to an unknown one; list the valid names where none is near."""
    names = list(valid)
    by_folded = {candidate.casefold(): candidate for candidate in reversed(names)}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {by_folded[close[0]]!r}?"
    shown = ", ".join(repr(candidate) for candidate in names[:20])
    return f"; there is {shown}{', …' if len(names) > 20 else ''}" if shown else ""
