"""The input of the crash test, and what Fullstory is to hold when all of it is in."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import record, schema

_TIME = {"type": ["null", "string"], "format": "date-time"}
_PROPERTIES = {"version": "integer", **{f"p{number}": "integer" for number in range(4)}}
_OWNER = {"type": "object", "properties": {"uid": {"type": "string"}, "id": {"type": "string"}}}
_EVENT = {"name": "string", "timestamp": _TIME, "user": _OWNER, "number": "integer"}

SCHEMAS = [
    schema("accounts", {"uid": "string", **_PROPERTIES, "_sdc_deleted_at": _TIME}, ["uid"]),
    schema("profiles", {"uid": "string", **_PROPERTIES}, ["uid"]),
    schema("erasures", {"uid": "string"}, ["uid"]),
    schema("orders", _EVENT),
    schema("visits", _EVENT),
    schema("calls", {"what": "string", "number": "integer"}),
]

STREAMS: dict[str, Any] = {
    "accounts": {"kind": "users"},
    "profiles": {"kind": "users"},
    "erasures": {"kind": "user_deletions"},
    "orders": {"kind": "events"},
    "visits": {"kind": "events"},
    # A call that leaves something to be counted: it has no user and no key of its content.
    "calls": {
        "kind": "request",
        "method": "POST",
        "path": "/v2/events",
        "properties": {"name": "what", "properties.number": "number"},
    },
}
CALL = "called"
"""The name of the events that the calls make."""
ORGANIZATION = 1_000_000
"""The records of each organization have numbers of their own, from this times its place on."""


@dataclass
class Input:
    """A tap's whole input, and what is to come of it.

    Attributes:
        lines: The lines after the SCHEMAs.
        users: Users that live at the end, with their properties.
        events: Events that are to be there once, with their users: they came while the user was alive, or
            before anybody knew it.
        loose: Events that came between a user's deletion and its return: there, but perhaps twice.
        gone: Events that went with their users.
        calls: Calls that are carried out, in order.
        deleted: Users that were deleted at some time.
        unknown: Users that are deleted, but never were.
        rejects: Events and calls that are refused.
        organization: Whose input it is, see `make_input`.
    """

    organization: int = 0
    lines: list[str] = field(default_factory=list)
    users: dict[str, dict[str, int]] = field(default_factory=dict)
    events: dict[int, str] = field(default_factory=dict)
    loose: dict[int, str] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    rejects: set[int] = field(default_factory=set)

    @property
    def prefix(self) -> str:
        """What the names of its users begin with."""
        return "uvw"[self.organization]

    def owns(self, number: int) -> bool:
        return number // ORGANIZATION == self.organization

    @property
    def records(self) -> int:
        return sum(self.records_from(0).values())

    @property
    def deletions(self) -> int:
        return sum(map(_deletes, self.lines))

    def records_from(self, offset: int) -> dict[str, int]:
        """How many records there are behind a line, by stream."""
        messages = map(json.loads, self.lines[offset:])
        return dict(Counter(one["stream"] for one in messages if one["type"] == "RECORD"))

    def update(self, stream: str, uid: str, values: dict[str, int]) -> None:
        self.lines.append(record(stream, uid=uid, **values))
        self.users.setdefault(uid, {}).update(values)

    def delete(self, stream: str, uid: str) -> None:
        at = {"_sdc_deleted_at": "2026-01-05T09:12:44Z"} if stream == "accounts" else {}
        self.lines.append(record(stream, uid=uid, **at))
        if self.users.pop(uid, None) is None:
            self.unknown.add(uid)
            return
        self.deleted.add(uid)
        for events in (self.events, self.loose):
            for number in [number for number, owner in events.items() if owner == uid]:
                del events[number]
                self.gone.add(number)

    def happen(self, stream: str, uid: str, number: int) -> None:
        dead = uid in self.deleted and uid not in self.users
        (self.loose if dead else self.events)[number] = uid
        self._event(stream, stream, {"uid": uid}, number)

    def refuse_event(self, stream: str, *, by_fullstory: bool, number: int) -> None:
        self.rejects.add(number)
        name, owner = (stream, {"id": "999999"}) if by_fullstory else ("", {"uid": "u0"})
        self._event(stream, name, owner, number)

    def _event(self, stream: str, name: str, owner: dict[str, str], number: int) -> None:
        # Several events share a time; the number alone tells them apart.
        time = f"2026-01-01T00:{number // 60 % 60:02}:{number // 10 % 6}0Z"
        self.lines.append(record(stream, name=name, timestamp=time, user=owner, number=number))

    def call(self, number: int, *, refused: bool) -> None:
        if refused:
            self.rejects.add(number)
        else:
            self.calls.append(number)
        self.lines.append(record("calls", what="x" * 300 if refused else CALL, number=number))

    def state(self) -> None:
        value = {"bookmarks": {"lines": len(self.lines) + 1}}
        self.lines.append(json.dumps({"type": "STATE", "value": value}))

    def deletes_between(self, begin: int, end: int) -> bool:
        """Whether one of these lines deletes a user."""
        return any(map(_deletes, self.lines[begin:end]))


def _deletes(line: str) -> bool:
    return '"stream": "erasures"' in line or '"_sdc_deleted_at"' in line


def make_input(rng: random.Random, records: int, deletions: float, organization: int = 0) -> Input:
    """Users that come, change, go and come back in two streams, their events, calls and STATEs.

    Args:
        rng: Draws it.
        records: How many records.
        deletions: The share of deletions among them.
        organization: Whose input it is; no other's has one of its users or numbers.
    """
    made = Input(organization=organization)
    people = [f"{made.prefix}{number}" for number in range(max(records // 12, 5))]
    until_state = 0
    # Whom the next records are about, most of them: a user who has just been deleted.
    spotlight: list[str] = []
    for number in range(organization * ORGANIZATION, organization * ORGANIZATION + records):
        uid = spotlight.pop() if spotlight else rng.choice(people)
        what = rng.random()
        if what < deletions:
            stream = rng.choice(["accounts", "erasures"])
            if uid in made.users:
                made.delete(stream, uid)
                spotlight = [uid] * rng.randrange(6)
            else:
                made.delete(stream, f"nobody{number}")
        elif what < deletions + 0.06:
            made.call(number, refused=rng.random() < 0.1)
        elif what < deletions + 0.53:
            # Few in the second stream: every change of streams ends a batch, as the users are the same.
            stream = rng.choices(["accounts", "profiles"], [20, 1])[0]
            made.update(stream, uid, {"version": number, f"p{rng.randrange(4)}": number})
        else:
            stream = rng.choice(["orders", "visits"])
            refused_by = rng.choices([None, "us", "Fullstory"], [50, 1, 1])[0]
            if refused_by is None:
                made.happen(stream, uid, number)
            else:
                by_fullstory = refused_by == "Fullstory"
                made.refuse_event(stream, by_fullstory=by_fullstory, number=number)
        until_state -= 1
        if until_state <= 0:
            made.state()
            until_state = rng.randint(3, 60)
    made.state()
    return made
