"""Users whose deletion a restart would repeat, and their events that it would take away.

Fullstory ignores an event that comes again under a key made of its content. That keeps a restarted run from
sending it twice; but where the restarted run first deletes the event's user once more, the event is gone and
must be sent under another key. A restart repeats a deletion as long as no STATE behind it is written. Once
such events are sent, no STATE between the two is written: a restart repeats both, or neither.
Used by the reading thread alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from target_fullstory.batching.encoded_requests import deleted_with


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
        """The users whose deletion a restart from the latest written STATE would repeat."""
        if self._users and self._seen != (written := self._last_written()):
            self._seen = written
            self._users = {user: state for user, state in self._users.items() if state > written}
        return self._users.keys()

    def repeated_before(self, requests: list[bytes], covered_by: int) -> frozenset[str]:
        """The same users where one of these events may be deleted with them, else none.

        The events are about to be sent, and nothing else is in flight that a STATE waits for; `covered_by`
        is the number of the first STATE behind all of them.
        """
        users = frozenset(self.repeated())
        if not users or not any(deleted_with(request, users) for request in requests):
            return frozenset()
        self._forbid(range(min(self._users.values()), covered_by))
        return users
