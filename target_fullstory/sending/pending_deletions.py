"""Users whose deletion a restart would repeat, and their events that it would take away.

An event that was accepted under a key made of its content is not accepted again under that key. That is what
keeps a restarted run from sending it twice; but where the restarted run first deletes the event's user once
more, the event is gone, and has to be sent under another key. A deletion is repeated as long as no STATE
behind it is written; and once such events are sent, none between is: a restart repeats both, or neither.
Used by the reading thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from target_fullstory.batching.encoded_requests import goes_with


class PendingDeletions:
    """The users deleted since the STATE that a restart would begin at."""

    def __init__(self, last_written: Callable[[], int], forbid: Callable[[range], None]) -> None:
        """Bind it to the checkpoints' `last_written` and `forbid`."""
        self._last_written = last_written
        self._forbid = forbid
        self._seen = 0
        self._users: dict[str, int] = {}

    def add(self, users: Mapping[str, int]) -> None:
        """Note users whose deletions are sent, each with the first STATE behind its last deletion."""
        self._users |= users

    def repeated(self) -> AbstractSet[str]:
        """The users whose deletion a restart would repeat, were it now."""
        if self._users and self._seen != (written := self._last_written()):
            self._seen = written
            self._users = {user: state for user, state in self._users.items() if state > written}
        return self._users.keys()

    def repeated_before(self, requests: list[bytes], covered_by: int) -> frozenset[str]:
        """The users whose deletion a restart would repeat, where it takes away one of these events.

        The events are about to be sent, and nothing else is in flight that a STATE waits for; `covered_by`
        is the number of the first STATE behind all of them.
        """
        users = frozenset(self.repeated())
        if not any(goes_with(request, users) for request in requests):
            return frozenset()
        self._forbid(range(min(self._users.values()), covered_by))
        return users
