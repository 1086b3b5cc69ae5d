"""What docs/json-form.md and docs/linking.md tell, row by row, and their edges."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, Json, both_paths, numbered, table
from tests.recorded.values import MOMENTS, NUMBERS, TEXTS, VALUES

AT = ["var", "at"]
UID = ["concat", "u_", ["var", "id"]]


def cases() -> list[Case]:
    """All of them."""
    return [*_language(), *_events(), *_users(), *_linking()]


_COLUMNS: Json = {
    "id": "integer",
    "at": "date-time",
    "day": "date",
    "text": "string",
    "number": "number",
    "count": "integer",
    "flag": "boolean",
    "any": "any",
    "address": {
        "type": ["null", "object"],
        "properties": {
            "city": {"type": ["null", "string"]},
            "geo": {"type": ["null", "object"], "properties": {"lat": {"type": "number"}}},
        },
    },
    "lines": {
        "type": ["null", "array"],
        "items": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "n": {"type": ["integer", "null"]}},
        },
    },
    "tags": {"type": ["null", "array"], "items": {"type": "string"}},
    "counts": {"type": ["null", "array"], "items": {"type": "integer"}},
}
_ROW: Json = {
    "at": "2026-01-05T09:12:44Z",
    "day": "2026-01-05",
    "text": "t",
    "number": 1.5,
    "count": 3,
    "flag": True,
    "any": "a",
    "address": {"city": "Köln", "geo": {"lat": 50.9}},
    "lines": [{"sku": "A1", "n": 1}, {"sku": "B2", "n": None}],
    "tags": ["x", "y"],
    "counts": [1, 2],
}


def _rows() -> list[Json]:
    changes: list[Json] = [{}]
    changes += [{name: None} for name in _ROW]
    changes += [{"text": text} for text in TEXTS] + [{"number": one} for one in NUMBERS]
    changes += [{"count": one} for one in NUMBERS] + [{"any": one} for one in VALUES]
    changes += [{"at": moment} for moment in MOMENTS] + [{"day": one} for one in MOMENTS[:30]]
    changes += [{"lines": []}, {"lines": [{}]}, {"lines": [{"sku": None}]}, {"lines": [1]}]
    changes += [{"lines": [{"sku": "s", "more": [1]}, 5, None]}, {"lines": {"0": {"sku": "k"}}}]
    changes += [{"address": {}}, {"address": {"geo": {}}}, {"address": "text"}, {"more": 1}]
    changes += [{"tags": [None]}, {"tags": ["x" * 9000]}, {"counts": [1.0]}, {"counts": ["a"]}]
    return numbered(_ROW | change for change in changes)


def _language() -> list[Case]:
    concat = [["var", "text"], " ", ["var", "number"], 5, True, 2.0, ["var", "flag"], ""]
    properties = {
        "plain": ["var", "text"],
        "number": ["var", "number"],
        "count": ["var", "count"],
        "any": ["var", "any"],
        "city": ["var", "address.city"],
        "lat": ["var", "address.geo.lat"],
        "sku": ["var", "lines.1.sku"],
        "n": ["var", "lines.0.n"],
        "label": ["concat", *concat],
        "inner": ["concat", ["concat", "a", ["var", "id"]], ["toUnixTimestamp", AT]],
        "only": ["concat", "just ", "text"],
        "codes": ["list", ["var", "text"], ["var", "any"], "literal", None, 5],
        "days": ["list", ["var", "day"], ["var", "at"]],
        "ints": ["list", ["var", "count"], ["var", "id"]],
        "seconds": ["toUnixTimestamp", AT],
        "day seconds": ["toUnixTimestamp", ["var", "day"]],
        "made seconds": ["toUnixTimestamp", ["concat", ["var", "day"], "T00:00:00"]],
        "of any": ["toUnixTimestamp", ["var", "any"]],
        "constant seconds": ["toUnixTimestamp", "2026-01-05"],
        "twice": ["toUnixTimestamp", ["toUnixTimestamp", AT]],
        "literal": "text",
        "whole": 5,
        "real": 5.5,
        "flag": True,
        "literal list": [1, 2, 3],
        "texts": ["a", "b"],
        "mixed": [1, ["var", "text"], {"a": ["var", "count"]}],
        "object": {"a": {"b": {"c": ["var", "text"], "d": 1}}, "e": ["var", "address"]},
        "object list": ["list", {"sku": ["var", "lines.0.sku"]}, {"n": 1}],
        "whole lines": ["var", "lines"],
        "whole address": ["var", "address"],
        "tags": ["var", "tags"],
        "counts": ["var", "counts"],
        "nothing": None,
        "empty": {},
        "no items": [],
        "dotted.a": ["var", "text"],
        "dotted.b": 2,
    }
    made = []
    for kind, head in {"users": {"uid": UID}, "events": {"name": "N", "timestamp": AT}}.items():
        mapping = {"kind": kind, "json": {**head, "properties": properties}}
        for declared in ("auto", "all", "none"):
            made += both_paths(
                f"json/the language in {kind}, {declared}",
                {"made": mapping},
                table("made", _COLUMNS, _rows()),
                declare_types=declared,
                validate_records=False,
            )
    mapping = {"kind": "users", "json": {"uid": UID, "properties": properties}}
    made += both_paths(
        "json/the language on a free form", {"made": mapping}, table("made", {}, _rows(), ["id"])
    )
    made += both_paths(
        "json/the language with nulls",
        {"made": mapping},
        table("made", _COLUMNS, _rows()),
        null_values="send",
    )
    return made


def _events() -> list[Case]:
    template = {
        "name": ["concat", "Order ", ["var", "text"]],
        "timestamp": ["toUnixTimestamp", ["var", "any"]],
        "session": {"id": ["concat", ["var", "number"], ":", ["var", "count"]]},
        "user": {"uid": ["var", "text"], "id": ["var", "id"]},
        "context": {
            "browser": {"url": ["concat", "https://x/", ["var", "text"]]},
            "location": {"city": ["var", "address.city"], "latitude": ["var", "any"]},
            "device": {"screen_width": ["var", "count"]},
        },
        "properties": ["var", "address"],
        "schema": {"properties": {"geo.lat": "int", "city": "str"}},
    }
    whole = {
        "name": ["var", "text"],
        "timestamp": ["var", "at"],
        "context": ["var", "any"],
        "user": ["var", "address"],
        "session": {"use_most_recent": ["var", "flag"]},
        "properties": {"deep": {"a": ["list", 1, ["var", "count"]]}},
    }
    made = []
    for name, json in {"parts": template, "whole objects": whole}.items():
        made += both_paths(
            f"json/an event, {name}",
            {"made": {"kind": "events", "json": json}},
            table("made", _COLUMNS, _rows()),
            validate_records=False,
        )
    return made


def _users() -> list[Case]:
    types = dict(zip(("s", "i", "r", "b", "d"), ("str", "int", "real", "bool", "date"), strict=True))
    declared = types | {f"{name}s": f"{kind}s" for name, kind in types.items()}
    properties = {name: ["var", "any"] for name in declared} | {
        "nest": {"i": ["var", "any"], "d": ["var", "text"]}
    }
    nested = {"nest.i": "int", "nest": {"d": "date"}}
    user = {
        "uid": ["var", "text"],
        "id": ["var", "id"],
        "email": ["concat", ["var", "text"], "@example.com"],
        "display_name": ["concat", ["var", "address.city"], " ", ["var", "number"]],
        "properties": properties,
        "schema": {"properties": declared | nested},
    }
    values: list[Any] = [*VALUES, *MOMENTS[:12], ["2026-01-05"], [1, 2], [1.5], [True], ["a", 1]]
    rows = numbered(_ROW | {"any": one, "text": f"t{at}"} for at, one in enumerate(values))
    made = []
    for setting in ("auto", "none"):
        made += both_paths(
            f"json/a user, declared, {setting}",
            {"made": {"kind": "users", "json": user}},
            table("made", _COLUMNS, rows),
            declare_types=setting,
        )
    spread = {"uid": UID, "properties": ["var", "any"], "schema": {"properties": {"n.a": "int"}}}
    objects: list[Any] = [{"n": {"a": 1.0}}, {"n": {"a": 1.5}}, {}, None, "text", {"x y": 1}]
    rows = numbered(_ROW | {"any": one} for one in [*objects, {"a": [1, {"b": 2}], "_sdc_x": 1}])
    made += both_paths(
        "json/a user, spread", {"made": {"kind": "users", "json": spread}}, table("made", _COLUMNS, rows)
    )
    return made


_URL = "https://app.fullstory.com/ui/o-1ABC-na1/session/"


def _linking() -> list[Case]:
    sessions: list[Any] = [
        f"{_URL}5804129933170688%3A5127413806661632",
        f"{_URL}5804129933170688:5127413806661632",
        f"{_URL}1%3A2?url.now=5#x",
        f"{_URL}1%3A2/",
        "https://app.fullstory.com/",
        "https://app.fullstory.com",
        "http://[bad/session/1",
        "HTTPS://app.fullstory.com/1%3A2",
        "5804129933170688:5127413806661632",
        "5804%3A5127",
        5804129933170688,
        5804129933170688.0,
        " a:b ",
        "",
        None,
        ["a:b"],
        True,
        "ä:ö",
        f"{_URL}%E4%F6",
        f"{_URL}%ff%3A1",
    ]
    people: list[Any] = ["7", 7, 7.0, "007", " 7", "U7", "u7", "", None, True, [], "x" * 257]
    rows = numbered(
        {
            "session": sessions[at % len(sessions)],
            "app": [None, "own", "x" * 256, "x" * 257, 5][at % 5],
            "uid": people[at % len(people)],
            "fs": [None, "1000000001", 1000000001, ""][at % 4],
            "online": [True, False, None, "true", "no", 1][at % 6],
            "at": f"2026-01-05T09:12:{at % 60:02}Z",
            "device": at if at % 3 else None,
        }
        for at in range(60)
    )
    kinds = ("session", "app", "uid", "fs", "online", "device")
    columns = {"id": "integer", "at": "date-time"} | dict.fromkeys(kinds, "any")
    base = {"name": {"const": "Done"}, "timestamp": "at"}
    made = []
    for name, fields in {
        "nobody": {},
        "uid": {"user.uid": "uid"},
        "own id": {"user.id": "fs"},
        "session": {"session.id": "session"},
        "application's session": {"session.uid": "app"},
        "most recent": {"user.uid": "uid", "session.use_most_recent": "online"},
        "always most recent": {"user.uid": "uid", "session.use_most_recent": {"const": True}},
        "most recent of nobody": {"session.use_most_recent": {"const": True}},
        "all": {
            "session.id": "session",
            "session.uid": "app",
            "user.uid": "uid",
            "user.id": "fs",
            "session.use_most_recent": "online",
        },
        "template": {"session.id": {"template": "{device}:{id}"}, "user.uid": {"template": "user_{uid}"}},
    }.items():
        made += both_paths(
            f"linking/{name}",
            {"visits": {"kind": "events", "fields": base | fields}},
            table("visits", columns, rows),
        )
    typed = columns | {"session": "string", "uid": "integer", "online": "boolean", "fs": "string"}
    good = numbered(
        {
            "session": sessions[at % 3] if at % 2 else None,
            "uid": at,
            "online": bool(at % 3),
            "fs": "1000000001" if at % 5 else None,
            "at": f"2026-01-05 09:12:{at % 60:02}",
            "device": at,
        }
        for at in range(40)
    )
    fields = {
        "session.id": "session",
        "user.uid": "uid",
        "user.id": "fs",
        "session.use_most_recent": "online",
    }
    made += both_paths(
        "linking/typed columns",
        {"visits": {"kind": "events", "fields": base | fields}},
        table("visits", typed, good),
    )
    filtered = {
        "streams": {"visits": {"kind": "events", "fields": base | fields}},
        "stream_maps": {"visits": {"__filter__": "uid is not None and uid % 2 == 0"}},
    }
    made.append(Case("linking/filtered", filtered, table("visits", typed, good)))
    return made
