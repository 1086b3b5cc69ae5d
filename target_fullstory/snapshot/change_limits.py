"""The setting `max_vanished_percent`: a query that lost half its rows must not delete half the users."""

from __future__ import annotations

from collections.abc import Iterable

from target_fullstory.errors import TargetFullstoryError
from target_fullstory.settings.model import Settings

LEAST_USERS = 20
"""A stream with fewer known users is never stopped."""


class ChangeLimits:
    """Holds what the streams' users become against the limits."""

    def __init__(self, settings: Settings) -> None:
        self._percent = settings.max_vanished_percent

    def check_vanished(self, stream: str, known: int, vanished_keys: Iterable[bytes]) -> None:
        """Look at a stream's vanished users, before the first is marked or deleted.

        Raises:
            TargetFullstoryError: They are too many.
        """
        count = sum(1 for _ in vanished_keys)
        if self._percent is not None and known >= LEAST_USERS and count * 100 > self._percent * known:
            raise TargetFullstoryError(
                f"Stream {stream!r}: {count} of {known} known users vanished, more than max_vanished_percent "
                f"({self._percent:g}) allows. None is marked or deleted; all else is sent."
            )
