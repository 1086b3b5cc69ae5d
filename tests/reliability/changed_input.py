"""The input of the crash test for `sync: changed`: a tap that repeats itself, in another order each time."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import schema

_TIME = {"type": ["null", "string"], "format": "date-time"}
_OWNER = {"type": "object", "properties": {"uid": {"type": "string"}, "id": {"type": "string"}}}
_EVENT = {"name": "string", "user": _OWNER, "number": "integer", "_sdc_extracted_at": _TIME}
_ACCOUNT = {"version": "integer", **{f"p{number}": "integer" for number in range(4)}}
_PROFILE = {"seen": "integer", **{f"q{number}": "integer" for number in range(2)}}
VERSIONS = {"accounts": "version", "profiles": "seen"}
"""The property that tells one version of a user from another, by stream."""

SCHEMAS = [
    schema("accounts", {"uid": "string", **_ACCOUNT, "_sdc_extracted_at": _TIME}, ["uid"]),
    schema("profiles", {"uid": "string", **_PROFILE, "_sdc_extracted_at": _TIME}, ["uid"]),
    schema("orders", {**_EVENT, "id": "string", "timestamp": _TIME, "pad": "string"}, ["id"]),
    schema("visits", _EVENT),
    schema("payments", {**_EVENT, "timestamp": _TIME, "amount": "integer"}),
]
STREAMS: dict[str, Any] = {
    "accounts": {"kind": "users", "sync": "changed"},
    "profiles": {"kind": "users", "sync": "changed"},
    # Two orders may look alike once their ids are left out.
    "orders": {"kind": "events", "sync": "changed", "exclude": ["id"]},
    # Neither a time nor a key.
    "visits": {"kind": "events", "sync": "changed"},
    # A payment whose amount is another one later is the same payment.
    "payments": {"kind": "events", "sync": "changed", "identity": ["number"]},
}
_PAD = "x" * 5000
"""With it in some orders, batches together come to `max_open_bytes`."""


@dataclass(frozen=True)
class Item:
    """A record of the source, before the tap adds what differs each time."""

    stream: str
    record: dict[str, Any]

    @property
    def user(self) -> tuple[str, str] | None:
        """The stream and uid of a user's record."""
        return (self.stream, self.record["uid"]) if self.stream in VERSIONS else None

    def line(self, rng: random.Random) -> str:
        record = dict(self.record)
        if self.stream == "payments":
            record["amount"] = rng.randrange(1000)
        if rng.random() < 0.4:
            record["_sdc_extracted_at"] = f"2026-02-01T00:00:{rng.randrange(60):02}Z"
        if rng.random() < 0.2:
            record = dict(reversed(record.items()))
        return json.dumps({"type": "RECORD", "stream": self.stream, "record": record})


@dataclass
class Emission:
    """What the tap sends in one run.

    Attributes:
        lines: The lines after the SCHEMAs.
        versions: The versions of each user among them.
    """

    lines: list[str] = field(default_factory=list)
    versions: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, items: list[Item], rng: random.Random) -> None:
        for item in items:
            self.lines.append(item.line(rng))
            if item.user is not None:
                self.versions[item.user].add(item.record[VERSIONS[item.stream]])

    def state(self, lines: int) -> None:
        self.lines.append(json.dumps({"type": "STATE", "value": {"bookmarks": {"lines": lines}}}))

    @property
    def records(self) -> Counter[str]:
        messages = map(json.loads, self.lines)
        return Counter(one["stream"] for one in messages if one["type"] == "RECORD")


@dataclass
class ChangedInput:
    """A source, and what is to come of it.

    Attributes:
        items: Its records, in the order in which they came to be.
        users: Users with their properties.
        events: How often an event of this name and number is to be there.
        refused: The numbers of the events that are refused for ever.
        tonight: The uids and numbers that Fullstory refuses, and the last run in which it does.
    """

    items: list[Item] = field(default_factory=list)
    users: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    events: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused: set[int] = field(default_factory=set)
    tonight: dict[str | int, int] = field(default_factory=dict)

    def known(self, end: int) -> list[Item]:
        """What the source's tables hold at some time: events, and users in their latest version."""
        latest = {item.user: item for item in self.items[:end] if item.user is not None}
        return [*latest.values(), *(item for item in self.items[:end] if item.user is None)]

    def table(self, rng: random.Random) -> Emission:
        """The tables as they are, in any order."""
        made, items = Emission(), self.known(len(self.items))
        rng.shuffle(items)
        made.add(items, rng)
        made.state(len(self.items))
        return made

    def emission(self, rng: random.Random, begin: int) -> Emission:
        """What came to be from some time on, in another order, and repetitions of what was before."""
        made, position = Emission(), begin
        share = rng.choice([0, 0.02, 0.1, 1])
        made.add(self._repeated(rng, begin, share), rng)
        while position < len(self.items):
            piece = self.items[position : position + rng.randint(3, 60)]
            made.add(self._repeated(rng, position, 0.02), rng)
            again = [item for item in piece if item.user is None and rng.random() < 0.1]
            made.add(_shuffled(rng, [*piece, *again]), rng)
            position += len(piece)
            if position == len(self.items) or rng.random() < 0.8:
                made.state(position)
        return made

    def _repeated(self, rng: random.Random, end: int, share: float) -> list[Item]:
        items = [item for item in self.known(end) if rng.random() < share]
        rng.shuffle(items)
        return items


def _shuffled(rng: random.Random, items: list[Item]) -> list[Item]:
    """In another order, each user's versions one after the other."""
    waiting: dict[Any, list[Item]] = defaultdict(list)
    for item in items:
        waiting[item.user].append(item)
    rng.shuffle(waiting[None])
    order = [item.user for item in items]
    rng.shuffle(order)
    return [waiting[user].pop(0) for user in order]


def make_changed_input(rng: random.Random, records: int) -> ChangedInput:
    """Users in changing versions in two streams, events of three kinds; some are refused, or for a while."""
    made = ChangedInput()
    people = [f"u{number}" for number in range(max(records // 10, 5))]
    while len(made.items) < records:
        number, uid, what = len(made.items), rng.choice(people), rng.random()
        if what < 0.45:
            stream = rng.choices(["accounts", "profiles"], [5, 1])[0]
            name = f"p{rng.randrange(4)}" if stream == "accounts" else f"q{rng.randrange(2)}"
            values = {VERSIONS[stream]: number, name: number}
            made.items.append(Item(stream, {"uid": uid, **values}))
            made.users[uid].update(values)
        elif what < 0.48:
            made.refused.add(number)
            name, owner = rng.choice([("", {"uid": uid}), ("orders", {"id": "999999"})])
            made.items.append(_event("orders", name, owner, number, id=f"o{number}"))
        else:
            stream = rng.choice(["orders", "visits", "payments"])
            copies = rng.choice([1, 1, 2, 3]) if stream == "orders" else 1
            more = {"pad": _PAD} if stream == "orders" and rng.random() < 0.3 else {}
            for copy in range(copies):
                known = {"id": f"o{number}-{copy}"} if stream == "orders" else {}
                made.items.append(_event(stream, stream, {"uid": uid}, number, **known, **more))
            made.events[stream, number] += copies
    for name in [*made.users, *(number for _, number in made.events)]:
        if rng.random() < 0.06:
            made.tonight[name] = rng.randint(1, 8)
    return made


def _event(stream: str, name: str, owner: dict[str, str], number: int, **more: str) -> Item:
    record = {"name": name, "user": owner, "number": number, **more}
    if stream != "visits":
        record["timestamp"] = f"2026-01-01T00:{number // 60 % 60:02}:{number // 10 % 6}0Z"
    return Item(stream, record)
