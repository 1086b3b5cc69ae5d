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

import msgspec


class PendingDeletions:
    """The users deleted since the STATE that a restart would begin at."""

    def __init__(self, last_written: Callable[[], int], forbid: Callable[[range], None]) -> None:
        """Start with none; `last_written` and `forbid` are those of the checkpoints."""
        self._last_written = last_written
        self._forbid = forbid
        self._seen = 0
        self._users: dict[str, int] = {}

    def add(self, users: Mapping[str, int]) -> None:
        """Take note of users whose deletions are sent, each with the first STATE behind its last deletion."""
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


class _User(msgspec.Struct):
    uid: str | None = None
    id: str | None = None


class _Event(msgspec.Struct):
    user: _User | None = None
    session: _User | None = None


_event = msgspec.json.Decoder(_Event)


def goes_with(request: bytes, users: AbstractSet[str]) -> bool:
    """Whether deleting these users might take an event away; whose a session is, cannot be told."""
    event = _event.decode(request)
    if event.user is not None:
        return not users.isdisjoint({event.user.uid, event.user.id})
    return event.session is not None
