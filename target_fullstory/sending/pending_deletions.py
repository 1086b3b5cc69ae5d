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


class Erasures:
    """The users deleted since the STATE that a restart would begin at."""

    def __init__(self, restart: Callable[[], int], bar: Callable[[range], None]) -> None:
        """Start with none.

        Args:
            restart: Gives the number of the STATE written last, 0 before the first.
            bar: Forbids the STATEs of these numbers.
        """
        self._restart = restart
        self._bar = bar
        self._seen = 0
        self._users: dict[str, int] = {}

    def add(self, users: Mapping[str, int]) -> None:
        """Take note of deletions that are sent.

        Args:
            users: By uid or id, the number of the first STATE behind the user's last deletion.
        """
        self._users |= users

    def any_repeated(self) -> bool:
        """Whether a restart would repeat deletions, were it now."""
        return bool(self.repeated())

    def repeated(self) -> AbstractSet[str]:
        """The users whose deletion a restart would repeat, were it now."""
        if self._users and self._seen != (restart := self._restart()):
            self._seen = restart
            self._users = {user: state for user, state in self._users.items() if state > restart}
        return self._users.keys()

    def among(self, requests: list[bytes], covered_by: int) -> frozenset[str]:
        """The users whose deletion a restart would repeat, where it takes away one of these events.

        Args:
            requests: Events that are about to be sent; nothing else is on its way that a STATE waits for.
            covered_by: The number of the first STATE behind all of them.
        """
        users = frozenset(self.repeated())
        if not any(is_erased(request, users) for request in requests):
            return frozenset()
        self._bar(range(min(self._users.values()), covered_by))
        return users


class _User(msgspec.Struct):
    uid: str | None = None
    id: str | None = None


class _Event(msgspec.Struct):
    user: _User | None = None
    session: _User | None = None


_event = msgspec.json.Decoder(_Event)


def is_erased(request: bytes, users: AbstractSet[str]) -> bool:
    """Whether deleting these users might take an event away; whose a session is, cannot be told.

    Args:
        request: The event's request.
        users: The users.
    """
    event = _event.decode(request)
    if event.user is not None:
        return not users.isdisjoint({event.user.uid, event.user.id})
    return event.session is not None
