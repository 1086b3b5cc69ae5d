"""The kinds: what records become, and what sets one kind apart from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["users", "events", "user_deletions", "webhook_endpoints", "request"]
"""What the records of a stream become."""


@dataclass(frozen=True, kw_only=True)
class KindRules:
    """One kind's row in the table.

    Attributes:
        roles: The roles of an API key that may send it, as Fullstory names them.
        endpoint: Where its requests are posted; empty where each call brings a method and a path.
        item: What a batch job calls one of its items; empty where it cannot go in a batch job.
        changes_users: Requests of one user keep their order, across streams too.
        in_series: The calls of a stream go one after the other.
        cut_at_state: Its batches end at a STATE where one lies inside: a replay forms them again, and they
            are recognised by their content.
        waits_for: The kinds that are sent and finished first, where events wait for users.
    """

    roles: frozenset[str]
    endpoint: str = ""
    item: str = ""
    changes_users: bool = False
    in_series: bool = False
    cut_at_state: bool = False
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
