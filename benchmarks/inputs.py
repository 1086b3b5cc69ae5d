"""Writes the input: Singer messages of a known size, the same bytes whenever they are written.

A SCHEMA comes first, a STATE after every 10,000 records and at the end. A record's line has exactly as many
bytes as asked for, line break included, made up in its last column. No user appears twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

USER_BYTES, EVENT_BYTES = 400, 600
RECORDS_PER_STATE = 10_000
OVERSIZE_BYTES = 8_400
"""Length of a text that Fullstory does not take as a property's value (more than 8,192 bytes)."""

_PLANS = ("free", "starter", "team", "business", "enterprise")
_CITIES = (("Lisbon", "PT"), ("Montréal", "CA"), ("Osaka", "JP"), ("Atlanta", "US"), ("Kraków", "PL"))
_EVENTS = ("Order Placed", "Report Exported", "Seat Added", "Invoice Paid")
_FILLING = "the quick brown fox jumps over the lazy dog and runs on "

Write = Callable[[int], bytes]
"""Makes the line of a record from its number."""


@dataclass(frozen=True)
class Kind:
    """A sort of input.

    Attributes:
        schema: The SCHEMA message.
        record: Makes a record's line.
    """

    schema: dict[str, Any]
    record: Write

    def lines(self, records: int) -> Iterator[bytes]:
        """All messages, each with its line break."""
        yield json.dumps(self.schema).encode() + b"\n"
        for number in range(records):
            yield self.record(number)
            if (number + 1) % RECORDS_PER_STATE == 0:
                yield _state(number + 1)
        if records % RECORDS_PER_STATE or not records:
            yield _state(records)

    def write(self, path: Path, records: int) -> Path:
        """Write the input to a file, a part at a time.

        Args:
            path: The file.
            records: How many records.

        Returns:
            The file.
        """
        with path.open("wb", buffering=1 << 20) as file:
            file.writelines(self.lines(records))
        return path


def _schema(stream: str, key: str, columns: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": columns},
        "key_properties": [key],
    }


def _state(records: int) -> bytes:
    message = {"type": "STATE", "value": {"bookmarks": {"all": {"records": records}}}}
    return json.dumps(message).encode() + b"\n"


def _filled(head: str, size: int) -> bytes:
    """A record's line: its head, a last text column that makes up the size, and its end."""
    start, end = head.encode(), b'"}}\n'
    missing = size - len(start) - len(end)
    if missing < 0:
        raise ValueError(f"a line of {size} bytes has no room for its columns")
    return start + (_FILLING * (missing // len(_FILLING) + 1))[:missing].encode() + end


def _moment(number: int) -> str:
    minutes, seconds = divmod(number % 86_400, 60)
    hours, minutes = divmod(minutes, 60)
    day = number // 86_400 % 28 + 1
    return f"2026-01-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z"


# Users: ten columns, the integer key becomes the uid


CHANGED_EVERY = 100
"""Of so many users one changes in a night: 1%."""


def _user_head(number: int, *, seats: str = "", plan: int = 0, more: str = "") -> str:
    return (
        '{"type": "RECORD", "stream": "users", "record": {'
        f'"id": {number + 1}, "email": "user{number}@example.com", "display_name": "User Number {number}", '
        f'"plan": "{_PLANS[(number + plan) % 5]}", "seats": {seats or number % 250 + 1}, '
        f'"mrr": {number % 1000}.{number % 90 + 10}, "active": {"true" if number % 3 else "false"}, '
        f'"created_at": "{_moment(number)}", "company": "Company {number % 5000}", {more}"notes": "'
    )


def _user(number: int, size: int) -> bytes:
    return _filled(_user_head(number), size)


def _user_of_night(number: int, night: int) -> bytes:
    """Each night another 1% have a new plan, spread evenly; the others are as the night before."""
    return _filled(_user_head(number, plan=int(number % CHANGED_EVERY < night)), USER_BYTES)


def changed_in_night(night: int, records: int) -> int:
    """How many of so many users change in a night; the first load is night 0."""
    return len(range(night - 1, records, CHANGED_EVERY)) if night else records


def _dirty_user(number: int, size: int) -> bytes:
    """Every tenth record is dirty, one sort after the other.

    Evenly spread is the worst case for whoever maps many records at a time. One sort has a column that the
    SCHEMA does not tell, with a name to be sanitised or an array with nulls; one a text too long for a
    property, which makes its line longer; one a value that the SCHEMA does not allow.
    """
    if number % 10 != 7:
        return _user(number, size)
    sort = number // 10 % 3
    if sort == 0:
        name, value = ("plan tier!", '"gold"') if number // 30 % 2 else ("tags", '["a", null, "b"]')
        return _filled(_user_head(number, more=f'"{name}": {value}, '), size)
    if sort == 1:
        return _filled(_user_head(number), size + OVERSIZE_BYTES)
    return _filled(_user_head(number, seats='"many"'), size)


_USER_COLUMNS: dict[str, Any] = {
    "id": {"type": "integer"},
    "email": {"type": ["null", "string"]},
    "display_name": {"type": ["null", "string"]},
    "plan": {"type": ["null", "string"]},
    "seats": {"type": ["null", "integer"]},
    "mrr": {"type": ["null", "number"]},
    "active": {"type": ["null", "boolean"]},
    "created_at": {"type": ["null", "string"], "format": "date-time"},
    "company": {"type": ["null", "string"]},
    "notes": {"type": ["null", "string"]},
}


# Events: fields, columns of context, and an object among the properties


def _event(number: int, size: int) -> bytes:
    city, country = _CITIES[number % 5]
    return _filled(
        '{"type": "RECORD", "stream": "events", "record": {'
        f'"id": {number + 1}, "name": "{_EVENTS[number % 4]}", "timestamp": "{_moment(number)}", '
        f'"user_id": {number % 20_000 + 1}, "page_url": "https://app.example.com/orders/{number}", '
        '"user_agent": "Mozilla/5.0 (X11; Linux x86_64)", '
        f'"city": "{city}", "country": "{country}", "total": {number % 500}.{number % 90 + 10}, '
        f'"order": {{"number": "N-{number}", "items": {number % 9 + 1}, '
        f'"gift": {"false" if number % 7 else "true"}, '
        f'"shipping": {{"method": "express", "days": {number % 5 + 1}}}}}, "comment": "',
        size,
    )


_EVENT_COLUMNS: dict[str, Any] = {
    "id": {"type": "integer"},
    "name": {"type": "string"},
    "timestamp": {"type": "string", "format": "date-time"},
    "user_id": {"type": ["null", "integer"]},
    "page_url": {"type": ["null", "string"]},
    "user_agent": {"type": ["null", "string"]},
    "city": {"type": ["null", "string"]},
    "country": {"type": ["null", "string"]},
    "total": {"type": ["null", "number"]},
    "order": {
        "type": ["null", "object"],
        "properties": {
            "number": {"type": ["null", "string"]},
            "items": {"type": ["null", "integer"]},
            "gift": {"type": ["null", "boolean"]},
            "shipping": {
                "type": ["null", "object"],
                "properties": {"method": {"type": ["null", "string"]}, "days": {"type": ["null", "integer"]}},
            },
        },
    },
    "comment": {"type": ["null", "string"]},
}

EVENT_MAPPING: dict[str, Any] = {
    "kind": "events",
    "fields": {
        "name": "name",
        "timestamp": "timestamp",
        "user.uid": "user_id",
        "context.browser.url": "page_url",
        "context.browser.user_agent": "user_agent",
        "context.location.city": "city",
        "context.location.country": "country",
    },
}
"""The configured mapping of the stream of events; that of users needs none."""

KINDS: dict[str, Kind] = {
    "users": Kind(_schema("users", "id", _USER_COLUMNS), partial(_user, size=USER_BYTES)),
    "dirty": Kind(_schema("users", "id", _USER_COLUMNS), partial(_dirty_user, size=USER_BYTES)),
    "events": Kind(_schema("events", "id", _EVENT_COLUMNS), partial(_event, size=EVENT_BYTES)),
}


def users_of_night(night: int) -> Kind:
    """The users of KINDS, so many nights later: each night another 1% of them have changed."""
    return Kind(_schema("users", "id", _USER_COLUMNS), partial(_user_of_night, night=night))
