"""What nights of `sync: changed` must send: a naive model, which keeps everything in dictionaries.

Five streams: users in `people` (who may be deleted softly) and `profiles`, events in `orders` (key properties
that are not sent), `visits` (no key at all) and `payments` (an `identity` of their own), and deletions in
`erasures`, all of which are sent.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import schema, state
from tests.reliability.night_server import Fields, Sent, canonical

DELETED = "deleted"
_TIME = {"type": ["null", "string"], "format": "date-time"}
_COLUMNS: dict[str, dict[str, Any]] = {
    "people": {"uid": "string", "name": "string", "seats": "integer", "score": "number", "gone": _TIME},
    "profiles": {"uid": "string", "tier": "string"},
    "orders": {"id": "integer", "at": _TIME, "uid": "string", "number": "integer", "total": "number"},
    "visits": {"at": _TIME, "uid": "string", "number": "integer", "info": "object", "width": "number"},
    "payments": {"number": "integer", "at": _TIME, "uid": "string", "total": "number"},
    "erasures": {"uid": "string"},
}
STREAMS = tuple(_COLUMNS)
_USERS = ("people", "profiles")
_KEYS = {"orders": ["id"], "payments": ["number"], "people": ["uid"], "profiles": ["uid"]}
_PEOPLE = (
    {"name": "name", "seats": "seats", "score": "score"},
    {"name": "name", "score": "score"},
    {"title": "name", "seats": "seats", "score": "score"},
)
_ORDERS = ({"number": "number", "total": "total"}, {"number": "number"})
_VISITS = {"number": "number", "info": "info", "width": "width"}
EXTRACTED = "2026-02-01T00:00:{night:02}Z"


@dataclass(frozen=True)
class Row:
    """A record; `style` says in what way of JSON it is written."""

    stream: str
    record: Fields
    style: int = 0

    def line(self, extracted: str | None) -> str:
        items = list(self.record.items())
        if extracted is not None:
            items.append(("_sdc_extracted_at", extracted))
        if self.style & 1:
            items.reverse()
        body = ", ".join(f"{_text(name, 0)}: {_text(value, self.style)}" for name, value in items)
        if self.style & 8:
            return f'{{"record": {{{body}}}, "stream": "{self.stream}", "type": "RECORD"}}'
        return f'{{"type": "RECORD", "stream": "{self.stream}", "record": {{{body}}}}}'


def _text(value: Any, style: int) -> str:
    """JSON that means the value."""
    if isinstance(value, float) and style & 2:
        return f"{value}00"
    if isinstance(value, dict):
        items = reversed(value.items()) if style & 1 else value.items()
        return "{" + ", ".join(f"{_text(name, 0)}: {_text(one, style)}" for name, one in items) + "}"
    if isinstance(value, str) and style & 4:
        return '"' + "".join(f"\\u{ord(one):04x}" for one in value) + '"'
    return json.dumps(value)


@dataclass(frozen=True)
class Night:
    """One run: its records and how it is set up.

    Attributes:
        rows: The records, in order.
        settings: Settings that make no difference to what is to be sent.
        people: Which mapping the people have.
        orders: Which mapping the orders have.
        turned: Whether the SCHEMA has its columns the other way round, and one more.
        extracted: Whether the records have a time of extraction, tonight's.
        states: After every so many records comes a STATE.
        refused: The uids and numbers that Fullstory refuses tonight.
        quota: The setting `max_events`.
        days: How many days have passed since the night before.
        resend_after: The setting `resend_after_days`.
        keep: The setting `keep_events_days`.
    """

    rows: tuple[Row, ...]
    settings: Fields = field(default_factory=dict)
    people: int = 0
    orders: int = 0
    turned: bool = False
    extracted: bool = False
    states: int = 5
    refused: frozenset[str | int] = frozenset()
    quota: int | None = None
    days: int = 1
    resend_after: int | None = None
    keep: int = 400

    @property
    def streams(self) -> Fields:
        """The setting `streams`."""
        changed = {"sync": "changed"}
        properties = {"src": {"const": "people"}, **_PEOPLE[self.people]}
        people = {"kind": "users", "fields": {"uid": "uid"}, "properties": properties}
        profiles = {
            "kind": "users",
            "fields": {"uid": "uid"},
            "properties": {"src2": {"const": "yes"}, "tier": "tier"},
        }
        mapped = {
            "people": people | changed | {"soft_delete": {"column": "gone"}},
            "profiles": profiles | changed,
            "erasures": {"kind": "user_deletions", "fields": {"uid": "uid"}},
        }
        for name in ("orders", "visits", "payments"):
            fields = {"name": {"const": name}, "timestamp": "at", "user.uid": "uid"}
            mapped[name] = {"kind": "events", "fields": fields} | changed
        # Of the visits every column is sent that is not named, and in no order.
        mapped["orders"]["properties"] = _ORDERS[self.orders]
        mapped["payments"] |= {"properties": _ORDERS[0], "identity": ["number"]}
        return mapped

    def lines(self, number: int) -> list[str]:
        extracted = EXTRACTED.format(night=number) if self.extracted else None
        lines = []
        for name, columns in _COLUMNS.items():
            own = dict(columns)
            if self.extracted:
                own["_sdc_extracted_at"] = _TIME
            if self.turned:
                own = {"more": "string", **dict(reversed(own.items()))}
            lines.append(schema(name, own, _KEYS.get(name)))
        for place, row in enumerate(self.rows, 1):
            lines.append(row.line(extracted))
            if place % self.states == 0:
                lines.append(state(place=place))
        return [*lines, state(place=len(self.rows), night=number)]

    def request(self, row: Row) -> Fields | None:
        """What a record becomes; None where it is refused, and of a deletion nothing but the uid."""
        one = row.record
        if row.stream in {*_USERS, "erasures"} and one["uid"] is None:
            return None
        if row.stream == "erasures" or one.get("gone") is not None:
            return {"uid": one["uid"]}
        if row.stream == "people":
            sent = {name: one[column] for name, column in _PEOPLE[self.people].items()}
            return {"uid": one["uid"], "properties": {"src": "people"} | _given(sent)}
        if row.stream == "profiles":
            return {"uid": one["uid"], "properties": {"src2": "yes"} | _given({"tier": one["tier"]})}
        columns = {"orders": _ORDERS[self.orders], "payments": _ORDERS[0], "visits": _VISITS}[row.stream]
        properties = _given({name: one[column] for name, column in columns.items()})
        made = {"name": row.stream, "timestamp": one["at"], "user": {"uid": one["uid"]}}
        return _given(made) | {"properties": properties}


def _given(values: Fields) -> Fields:
    return {name: value for name, value in values.items() if value is not None}


Step = tuple[str, str]
"""A stream and the content of a request, or `DELETED` for any stream's deletion."""


@dataclass
class Expected:
    """What a night must come to.

    Attributes:
        received: Records by stream.
        unchanged: Records held back, by stream.
        open: How many of these may be sent as well: what they repeat was refused tonight.
        users: By user, its requests in order, none of them merged.
        events: Events by content.
        rejected: Records that the target itself rejects, by stream.
        loose: Users and events of whom a request is refused tonight: what repeats it may be sent, or not.
        failed: The users whose last request was refused, by stream, with its content.
    """

    received: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    users: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    events: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    loose: set[str] = field(default_factory=set)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


class Model:
    """What Fullstory has confirmed so far, as a snapshot is to know it."""

    def __init__(self) -> None:
        # Contents and identities, with the days on which they were accepted.
        self._users: dict[tuple[str, str], tuple[str, int]] = {}
        self._events: dict[tuple[str, ...], int] = {}
        self._alive: set[str] = set()
        self._today = 0

    def load(self, night: Night) -> Expected:
        """What the night must send; it counts as sent then."""
        expected = Expected()
        self._today += night.days
        queued: dict[tuple[str, ...], bool] = {}
        left = night.quota
        for row in night.rows:
            expected.received[row.stream] += 1
            request = night.request(row)
            if request is None:
                expected.rejected[row.stream] += 1
            elif row.stream in {*_USERS, "erasures"}:
                self._user(night, row, request, expected)
            else:
                left = self._event(night, row, request, left, queued, expected)
        self._events |= {identity: self._today for identity, accepted in queued.items() if accepted}
        # A run forgets at its end.
        first = self._today - night.keep
        self._events = {identity: day for identity, day in self._events.items() if day >= first}
        return expected

    def _user(self, night: Night, row: Row, request: Fields, expected: Expected) -> None:
        uid, deletes = request["uid"], "properties" not in request
        content = DELETED if deletes else canonical(request)
        refused = uid in night.refused and not deletes
        last, day = self._users.get((row.stream, uid), ("", 0))
        if night.resend_after is not None and self._today - day >= night.resend_after:
            last = ""
        if row.stream != "erasures" and last == content:
            expected.unchanged[row.stream] += 1
            return
        if row.stream != "erasures" and expected.failed.get((row.stream, uid)) == content:
            expected.unchanged[row.stream] += 1
            expected.open[row.stream] += 1
            return
        expected.users[uid].append(("" if deletes else row.stream, content))
        for stream in _USERS if deletes else [row.stream]:
            self._users.pop((stream, uid), None)
            expected.failed.pop((stream, uid), None)
        if refused or (deletes and uid not in self._alive):
            expected.loose.add(uid)
            expected.failed[row.stream, uid] = content
            return
        (self._alive.discard if deletes else self._alive.add)(uid)
        if row.stream != "erasures":
            self._users[row.stream, uid] = content, self._today

    def _event(
        self,
        night: Night,
        row: Row,
        request: Fields,
        left: int | None,
        queued: dict[tuple[str, ...], bool],
        expected: Expected,
    ) -> int | None:
        content = canonical(request)
        identity = {
            "orders": ("orders", content, str(row.record.get("id"))),
            "visits": ("visits", content),
            "payments": ("payments", str(row.record["number"])),
        }[row.stream]
        if identity in self._events or identity in queued:
            expected.unchanged[row.stream] += 1
            if not queued.get(identity, True):
                expected.open[row.stream] += 1
                expected.loose.add(content)
            return left
        if left == 0:
            expected.rejected[row.stream] += 1
            return left
        refused = row.record["number"] in night.refused
        queued[identity] = not refused
        expected.events[content] += 1
        if refused:
            expected.loose.add(content)
        return left if left is None else left - 1


def problems(expected: Expected, sent: list[Sent], counts: dict[str, Fields]) -> list[str]:
    """What differs between a night as it was to be and as it was."""
    found = []
    for stream in STREAMS:
        one = counts.get(stream, {})
        ends = {
            name: one.get(name, 0) for name in ("delivered", "rejected", "merged", "ignored", "unchanged")
        }
        wanted = expected.unchanged[stream]
        if not wanted - expected.open[stream] <= ends["unchanged"] <= wanted:
            found.append(f"{stream}: {ends['unchanged']} unchanged, and {wanted} were to be: {one}")
        if one.get("received", 0) != expected.received[stream] or sum(ends.values()) != one.get(
            "received", 0
        ):
            found.append(f"{stream}: the counts do not add up to {expected.received[stream]}: {one}")
        if ends["rejected"] < expected.rejected[stream]:
            found.append(f"{stream}: {expected.rejected[stream]} were to be rejected: {one}")
    events = Counter(canonical(one.request) for one in sent if one.kind == "events")
    for content in sorted({*events, *expected.events}):
        many, wanted = events[content], expected.events[content]
        if many != wanted and not (content in expected.loose and many >= wanted):
            found.append(f"event sent {many} times, not {wanted}: {content}")
    users: dict[str, list[tuple[str, Fields]]] = defaultdict(list)
    for one in sent:
        if one.kind != "events":
            users[one.request["uid"]].append((one.kind, one.request))
    for uid in sorted({*users, *expected.users}):
        made, steps = users[uid], expected.users.get(uid, [])
        right = bool(made) == bool(steps) if uid in expected.loose else _explains(steps, made)
        if not right:
            found.append(f"user {uid}: sent {made}, not {steps}")
    return found


def _explains(steps: list[Step], made: list[tuple[str, Fields]]) -> bool:
    """Whether the requests made are these steps, neighbors of one stream merged or not."""
    if not steps or not made:
        return not steps and not made
    kind, request = made[0]
    stream = steps[0][0]
    if kind == "user_deletions":
        return stream == "" and _explains(steps[1:], made[1:])
    merged: Fields = {}
    for count, (own, content) in enumerate(steps, 1):
        if own != stream or own == "":
            return False
        step = json.loads(content)
        merged = {"uid": step["uid"], "properties": merged.get("properties", {}) | step["properties"]}
        if canonical(request) == canonical(merged) and _explains(steps[count:], made[1:]):
            return True
    return False
