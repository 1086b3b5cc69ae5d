"""What docs/mapping.md tells of dates and conversions, and the casts of docs/json-form.md."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, Json, both_paths, numbered, table
from tests.recorded.values import MOMENTS, NUMBERS, TEXTS, VALUES

_CASTS = ("str", "int", "real", "bool", "date")
_FUNCTIONS = ("asString", "asNumber", "asBool", "asStrings", "asNumbers", "asBools")
_LOCAL: list[Any] = [
    "2026-07-05 09:12:44",
    "2026-10-25 02:30:00",
    "2026-03-29 02:30:00.125",
    "1890-01-01 00:00:00",
    "0001-01-01 00:00:00",
    "05.07.2026 09:12",
    " 5.7.2026 9:12 ",
    "31.02.2026 09:12",
    20260705,
]
_NUMERALS: list[Any] = [
    " 12 ",
    "1.50",
    "-3E2",
    "1_000",
    "0x10",
    "9223372036854775808",
    ".5",
    "1.",
    "+7",
    "9" * 500,
]
_LISTS: list[Any] = [["a", "", None, 2], [True, 1.0, "x"], ["1", "", "2.5"], [{"a": 1.0}, None], [["a"], 1]]


def cases() -> list[Case]:
    """All of them."""
    return [*_casts(), *_transforms(), *_dates(), *_functions(), *_soft_delete()]


def _load(name: str, mapping: Json, kinds: Json, rows: list[Json], **settings: Any) -> list[Case]:
    lines = table("s", {"id": "integer"} | kinds, numbered(rows))
    return both_paths(f"mapping/{name}", {"s": mapping}, lines, **settings)


def _casts() -> list[Case]:
    rows = [{"v": value} for value in [*VALUES, *NUMBERS, *TEXTS, *MOMENTS, *_LOCAL, *_NUMERALS, *_LISTS]]
    made = []
    for kind in ("any", "string", "integer", "number", "array"):
        properties = {f"as_{cast}": {"column": "v", "as": cast} for cast in _CASTS}
        mapping = {"kind": "users", "fields": {"uid": "id"}, "properties": properties}
        made += _load(f"casts of a column of {kind}", mapping, {"v": kind}, rows, validate_records=False)
    fields = {"uid": {"column": "v", "as": "int"}, "email": {"column": "v", "as": "str"}}
    made += _load("casts in fields", {"kind": "users", "fields": fields}, {"v": "any"}, rows)
    return made


def _transforms() -> list[Case]:
    texts: list[Any] = [None, "", "  ", " Ada ", "ÉCOLE", "1", 1, 1.0, True, "x" * 300]
    rows = [{"a": one, "b": texts[at - 1], "c": texts[at - 2]} for at, one in enumerate(texts)]
    properties = {
        "first": {"coalesce": ["a", "b", "c"]},
        "trimmed": {"coalesce": ["a", "b"], "trim": True, "lower": True},
        "loud": {"template": "{a} {b}", "upper": True},
        "or_none": {"column": "a", "default": "none"},
        "listed": {"column": "a", "map": {"1": "one", "true": False, "Ada": 5}, "trim": True},
        "listed_or": {"column": "a", "map": {"1": "1", "": 0}, "default": 9, "as": "int"},
        "constant": {"const": ["a", 1]},
        "made": {"template": "{a}!"},
    }
    fields = {"uid": "id", "email": {"coalesce": ["a", "b"], "lower": True, "trim": True, "default": "e@x"}}
    kinds = {"a": "any", "b": "any", "c": "any"}
    mapping = {"kind": "users", "fields": fields, "properties": properties}
    return [
        *_load("transforms", mapping, kinds, rows),
        *_load("transforms, nulls", mapping, kinds, rows, null_values="send", declare_types="all"),
    ]


def _dates() -> list[Case]:
    rows = [{"at": one, "on": one, "all": [one, "2026-01-05"]} for one in [*MOMENTS, *_LOCAL]]
    kinds = {
        "at": "date-time",
        "on": "date",
        "all": {"type": "array", "items": {"format": "date", "type": "string"}},
    }
    fields = {"name": {"const": "Done"}, "timestamp": {"column": "at", "default": "2026-01-01"}}
    own = {"column": "at", "format": "%d.%m.%Y %H:%M", "timezone": "America/New_York"}
    properties = {
        "at": "at",
        "own": own,
        "day": {"column": "at", "format": "%Y%m%d"},
        "midnight": {"column": "on", "timezone": "Asia/Kolkata"},
        "cast": {"column": "on", "as": "date"},
    }
    made = []
    for zone in (None, "Europe/Berlin"):
        told = {"timezone": zone} if zone else {}
        mapping: Json = {"kind": "events", "fields": fields, **told}
        for name, more in {"all": {}, "converted": {"properties": properties}}.items():
            label = f"dates, {name}, {zone or 'no zone'}"
            made += _load(label, mapping | more, kinds, rows, validate_records=False)
    mapping = {"kind": "users", "fields": {"uid": "id"}}
    made += _load("dates, undeclared", mapping, kinds, rows, validate_records=False, declare_types="none")
    return made


def _functions() -> list[Case]:
    rows = [{"v": value} for value in [*VALUES, *NUMBERS, *TEXTS, *_NUMERALS, *_LISTS]]
    properties: Json = {name: [name, ["var", "v"]] for name in _FUNCTIONS}
    properties |= {"nested": ["asStrings", ["list", ["asNumber", ["var", "v"]], ["var", "id"]]]}
    properties |= {"text": ["concat", ["asString", ["var", "v"]], "!"], "five": ["asNumber", "5"]}
    template = {"name": ["asString", ["var", "id"]], "properties": properties}
    made = []
    for kind in ("any", "string", "number", "array"):
        mapping = {"kind": "events", "json": template}
        made += _load(f"functions of a column of {kind}", mapping, {"v": kind}, rows, validate_records=False)
    return made


def _soft_delete() -> list[Case]:
    marks: list[Any] = [None, False, True, 0, 1, "", "false", "True", "no", "2026-01-05", [], "0"]
    rows = [{"gone": mark, "was": {"at": mark}, "n": at} for at, mark in enumerate(marks)]
    made = []
    for column in ("gone", "was.at"):
        mapping = {"kind": "users", "fields": {"uid": "id"}, "soft_delete": {"column": column}}
        for name, more in {"deletes": {"hard_delete": True}, "does nothing": {}}.items():
            kinds = {"gone": "any", "was": "any", "n": "integer"}
            made += _load(f"soft_delete {column}, {name}", mapping, kinds, rows, **more)
    return made
