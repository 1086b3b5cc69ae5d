"""Streams that are clean but for a record here and there: most of them goes fast, many at a time."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import SLOW, Case, Json, state, table

ROWS = 300
_APART = 7

_TEXT = {"type": ["null", "string"]}
_WHOLE = {"type": ["null", "integer"]}
_COLUMNS: Json = {
    "id": "integer!",
    "uid": {"type": "string", "minLength": 1, "maxLength": 20},
    "at": "date-time",
    "on": "date",
    "epoch": "integer",
    "millis": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**15},
    "price": "number",
    "text": "string",
    "days": {"type": ["null", "array"], "items": {"type": "string", "format": "date"}},
    "tags": {"type": ["null", "array"], "items": _TEXT},
    "counts": {"type": ["null", "array"], "items": {"type": "integer"}},
    "kind": {"enum": ["a", "b"]},
    "user": {"type": ["null", "object"], "properties": {"uid": _TEXT, "id": _TEXT}},
    "session": {"type": ["null", "object"], "properties": {"id": _TEXT, "uid": _TEXT}},
    "context": {
        "type": ["null", "object"],
        "properties": {
            "browser": {"type": ["null", "object"], "properties": {"url": _TEXT, "more": _WHOLE}},
            "device": {"type": "object", "properties": {"screen_width": _WHOLE, "model": _TEXT}},
            "location": {
                "type": "object",
                "properties": {"latitude": {"type": "number"}, "city": {"type": "string"}},
                "required": ["city"],
            },
        },
    },
    "nested": {
        "type": ["null", "object"],
        "properties": {"a": _WHOLE, "b c": {"type": "object", "properties": {"d": _TEXT}}},
        "required": ["a"],
    },
}
_TROUBLES: tuple[Json, ...] = (
    {"on": "5 Jan 2026"},
    {"at": "noon"},
    {"at": "2026-01-05 09:12:44"},
    {"at": "2026-01-05T09:12:44.5+02:00"},
    {"at": None},
    {"on": None, "epoch": None},
    {"days": ["2026-01-05", "x"]},
    {"days": []},
    {"days": None, "tags": None},
    {"epoch": 10**17},
    {"epoch": 1767604364250},
    {"epoch": -5},
    {"millis": 5},
    {"uid": ""},
    {"uid": "x" * 300},
    {"text": "x" * 8193},
    {"text": "é" * 4097},
    {"text": "\ud800"},
    {"text": None, "price": None},
    {"price": 5.0},
    {"price": float("inf")},
    {"price": 2**64},
    {"tags": ["a", None]},
    {"tags": ["x" * 5000, "y" * 5000]},
    {"counts": [1.0]},
    {"counts": [2**63]},
    {"kind": "c"},
    {"user": {}},
    {"user": {"uid": "", "id": "7"}},
    {"session": {"id": "https://x.example/s/1%3A2"}},
    {"session": {"uid": "own"}},
    {"session": None, "user": None},
    {"context": {}},
    {"context": {"device": {}}},
    {"context": {"browser": {"url": "", "more": 1}}},
    {"context": {"location": {"latitude": 5, "city": "x"}}},
    {"context": {"location": {"latitude": 5}}},
    {"nested": {"a": None, "b c": {}}},
    {"nested": {"a": 1, "b c": {"d": "x"}, "e": 1}},
    {"nested": {}},
    {"extra": 5},
    {"extra name": {"a": None}},
)
_SECONDS = {"on": ["var", "on"], "at": ["var", "at"], "epoch": ["var", "epoch"], "ms": ["var", "millis"]}


def _row(number: int) -> Json:
    clock = f"{number // 60:02}:{number % 60:02}"
    row: Json = {
        "id": number,
        "uid": f"u{number % 280}",
        "at": f"2026-01-05T09:{clock}Z",
        "on": f"2026-01-{number % 28 + 1:02}",
        "epoch": 1767604364 + number,
        "millis": 1767604364000 + number,
        "price": number + 0.5,
        "text": "text" if number % 5 else "Größe",
        "days": ["2026-01-05", "2026-01-06"],
        "tags": ["a", "b"],
        "counts": [number, 2],
        "kind": "ab"[number % 2],
        "user": {"uid": f"u{number}"},
        "session": {"id": None},
        "context": {
            "browser": {"url": "https://x.example/"},
            "device": {"screen_width": number, "model": "M"},
            "location": {"latitude": 50.5, "city": "Bonn"},
        },
        "nested": {"a": number, "b c": {"d": "deep"}},
    }
    if number % _APART == 5:
        row |= _TROUBLES[number // _APART % len(_TROUBLES)]
    return row


def _made(name: str, source: Any) -> Json:
    """Properties of a template with moments in many places."""
    return {
        "seconds": ["toUnixTimestamp", source],
        "label": ["concat", name, " ", ["toUnixTimestamp", source], ["var", "text"]],
        "list": ["list", ["toUnixTimestamp", source], ["var", "id"]],
        "texts": ["list", ["var", "text"], ["var", "uid"], "constant"],
        "prices": ["list", ["var", "price"], 1.5],
        "days": ["list", ["var", "on"], "2026-01-05"],
        "moments": ["list", ["var", "at"], ["var", "on"]],
        "sum": {"price": ["var", "price"], "of": {"text": ["var", "nested.b c.d"]}},
        "whole": ["var", "nested"],
        "first": ["var", "tags.0"],
    }


def _mappings() -> Json:
    moment = {"name": {"const": "Done"}}
    found: Json = {
        "users": {"kind": "users", "fields": {"uid": "uid"}},
        "users by key": {"kind": "users", "exclude": ["uid", "nested.b c"]},
        "users of a template": {"kind": "users", "fields": {"uid": {"template": "{uid}-{epoch}"}}},
        "chosen": {"kind": "users", "fields": {"uid": "uid"}, "properties": ["tags.0", "nested.a"]},
        "events by name": {"kind": "events", "fields": {"name": "text", "timestamp": "at"}},
        "parts": {
            "kind": "events",
            "fields": {
                **moment,
                "timestamp": "at",
                "user.uid": "uid",
                "session.id": "user.id",
                "session.use_most_recent": {"const": True},
                "context.browser.url": "context.browser.url",
                "context.location.latitude": "price",
            },
        },
    }
    for column in ("at", "on", "epoch", "millis", "price"):
        fields = moment | {"timestamp": column}
        found[f"events at {column}"] = {"kind": "events", "fields": fields}
    for name, source in _SECONDS.items():
        user = {"uid": ["concat", "u", ["var", "uid"]], "properties": _made(name, source)}
        event = {"name": "N", "timestamp": ["toUnixTimestamp", source]}
        found[f"json users, {name}"] = {"kind": "users", "json": user}
        event |= {"user": ["var", "user"], "context": ["var", "context"], "properties": ["var", "nested"]}
        found[f"json events, {name}"] = {"kind": "events", "json": event}
    return found


def cases() -> list[Case]:
    """All of them."""
    lines = [*table("s", _COLUMNS, [_row(number) for number in range(ROWS)]), state()]
    made = []
    for name, mapping in _mappings().items():
        settings = {"streams": {"s": mapping}, "delivery": "batch"}
        for told, more, piece in (
            ("in pieces", {}, 4500),
            ("at once", {"declare_types": "all", "null_values": "send"}, 1 << 18),
            ("unchecked", {"validate_records": False}, 9000),
            ("slow", SLOW, 1 << 18),
        ):
            if "json" in mapping and told == "unchecked":
                continue
            made.append(Case(f"clean/{name}, {told}", settings | more, lines, piece=piece))
    return made
