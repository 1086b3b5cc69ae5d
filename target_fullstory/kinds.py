"""The kinds: what records become, and what sets one kind apart from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["users", "events", "user_deletions", "webhook_endpoints", "request"]
"""What the records of a stream become."""


@dataclass(frozen=True, kw_only=True)
class KindRules:
    """One kind's row in the table."""

    roles: frozenset[str]  # the roles of an API key that may send it, as Fullstory names them
    endpoint: str = ""  # where its requests are posted; empty where each call brings a method and a path
    item: str = ""  # what a batch job calls one of its items; empty where it cannot go in a batch job
    changes_users: bool = False  # requests of one user keep their order, across streams too
    in_series: bool = False  # the calls of a stream go one after the other
    # Its batches end at a STATE where one lies inside: a replay forms them again, and they are recognised by
    # their content.
    cut_at_state: bool = False
    # The kinds that are sent and finished first, where events wait for users.
    waits_for: frozenset[Kind] = frozenset()


_WRITERS = frozenset({"USER", "ADMIN", "ARCHITECT"})
USER_CHANGES: frozenset[Kind] = frozenset({"users", "user_deletions"})

KINDS: Final[dict[str, KindRules]] = {
    "users": KindRules(roles=_WRITERS, endpoint="/v2/users", item="user", changes_users=True),
    "events": KindRules(
        roles=_WRITERS, endpoint="/v2/events", item="event", cut_at_state=True, waits_for=USER_CHANGES
    ),
    "user_deletions": KindRules(
        roles=frozenset({"ARCHITECT"}), changes_users=True, waits_for=frozenset({"events"})
    ),
    "webhook_endpoints": KindRules(
        roles=frozenset({"ADMIN", "ARCHITECT"}), in_series=True, waits_for=USER_CHANGES
    ),
    # Any call: what it needs beyond writing depends on the call.
    "request": KindRules(roles=_WRITERS, in_series=True, waits_for=USER_CHANGES),
}
