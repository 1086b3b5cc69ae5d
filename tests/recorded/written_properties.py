"""What docs/mapping.md tells of properties and limits, row by row, and its edges."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, Json, both_paths, numbered, record, schema, table
from tests.recorded.values import TEXTS, VALUES, deep

EVENT = {"const": "Done"}


def cases() -> list[Case]:
    """All of them."""
    return [*_chosen(), *_names(), *_values(), *_types(), *_limits()]


_ADDRESS: Json = {
    "type": ["null", "object"],
    "properties": {
        "city": {"type": ["null", "string"]},
        "street": {"type": ["null", "string"]},
        "geo": {
            "type": ["null", "object"],
            "properties": {"lat": {"type": ["null", "number"]}, "lon": {"type": ["null", "number"]}},
        },
    },
}


def _chosen() -> list[Case]:
    columns = {
        "id": "integer",
        "plan_code": "string",
        "ssn": "string",
        "address": _ADDRESS,
        "properties": {"type": ["null", "object"], "properties": {"score": {"type": "number"}}},
        "tags": {"type": ["null", "array"], "items": {"type": "string"}},
        "_sdc_batched_at": "date-time",
        "free": {"type": "object"},
    }
    geo = {"lat": 1.5, "lon": 2}
    rows = numbered(
        [
            {"plan_code": "T30", "address": {"city": "Bonn", "street": "Weg 1"}, "ssn": "x"},
            {"address": {"city": "Ulm", "street": None, "geo": geo}, "properties": {"score": 0.5}},
            {"properties": {"score": 1, "plan_code": "other", "more": [1, None]}, "plan_code": "P"},
            {"_sdc_batched_at": "2026-01-05T09:12:44Z", "tags": ["a", "b"], "free": {"a": {"b": 1}}},
            {"address": {"geo": {"lat": None}}, "tags": [], "free": {}},
            {"properties": None, "address": None, "tags": ["only"]},
            {"address": {"city": "Köln", "planet": "Earth", "geo": geo | {"alt": 5}}, "more": True},
            {"properties": {"address": {"city": "inner"}}, "address": {"city": "outer"}},
            {"free": {"a": {"b": {"c": None}}, "a.b": 2}},
        ]
    )
    made = []
    for name, parts in {
        "all": {},
        "a list": {"properties": ["plan_code", "address.city", "tags.0", "_sdc_batched_at"]},
        "a list with objects": {"properties": ["properties", "address", "free"]},
        "renamed": {"properties": {"plan": "plan_code", "town": "address.city", "x y": "ssn"}},
        "renamed with dots": {"properties": {"a.b": "plan_code", "a.c": "address.geo"}},
        "none": {"properties": []},
        "excluded": {"exclude": ["ssn", "address.street", "free.a.b", "properties.score"]},
        "excluded whole": {"exclude": ["address", "properties", "tags"]},
        "excluded of a list": {"properties": ["address", "free"], "exclude": ["address.geo.lat"]},
        "parts used": {"fields": {"uid": "id", "email": "address.city", "display_name": "ssn"}},
        "excluded fields": {"exclude": ["email", "plan_code", "display_name"]},
    }.items():
        have = columns | ({"email": "string", "display_name": "string"} if "fields" in name else {})
        mapping = {"kind": "users", "fields": {"uid": "id"}} | parts
        made += both_paths(f"mapping/properties, {name}", {"leads": mapping}, table("leads", have, rows))
    for nulls in ("send", "omit"):
        made += both_paths(
            f"mapping/properties, nulls: {nulls}",
            {"leads": {"kind": "users", "fields": {"uid": "id"}}},
            table("leads", columns, rows),
            null_values=nulls,
        )
    return made


def _names() -> list[Case]:
    names = ["Plan name", "Plan-name", "Plan_name", "_tier", "tier", "2fa", "p_2fa", "Größe"]
    names += ["Gr__e", "日本", "__", "p", "p_2", "a.b", "a_b", "a", "x" * 512, "class", "self", "é"]
    names += ["type", "record", "stream", "😀", "tab\t", 'quote"', "back\\slash", "0", "uid_", " "]
    values = {name: at for at, name in enumerate(names)}
    nested = {"id": 2, "a": {"b": 1, "b ": 2, "b  ": 3}, "a.b": 4, "a b": {"c-d": {"e f": 5}}}
    known: Json = dict.fromkeys(names, "integer") | {"id": "integer"}
    deeper = known | {
        "a": {"type": "object", "properties": {"b ": {"type": "integer"}, "b": {}}},
        "a b": {"type": "object", "properties": {"c-d": {"type": "object"}}},
    }
    rows = [{"id": 1, **values}, nested, {"id": 3, **dict(reversed(values.items()))}]
    rows += [{"id": 4, "Plan-name": 1}, {"id": 5, "": 1}, {"id": 6, "nine": {"": {"": 1}}}]
    mapping = {"odd": {"kind": "users", "fields": {"uid": "id"}}}
    made = []
    for name, columns in {"known": known, "nested": deeper, "not known": {"id": "integer"}}.items():
        made += both_paths(f"mapping/names, {name}", mapping, table("odd", columns, rows))
    free = schema("odd", {}, ["id"])
    lines = [free, *(record("odd", row) for row in rows)]
    return made + both_paths("mapping/names, free form", mapping, lines)


def _values() -> list[Case]:
    values: list[Any] = [*VALUES, *TEXTS]
    values += [values[at : at + 3] for at in range(0, len(values), 3)]
    values += [[1, None, 2], [None], [], [[1], [None]], [{"a": None}, 5], [["é" * 9000]], [True, "x"]]
    values += [{"a": one} for one in values[::4]] + [deep(depth) for depth in (3, 99, 100, 101, 102)]
    values += [["x"] * 2000, ["x" * 8188], ["x" * 8189], [{"a": "x" * 8182}], [{"a": "x" * 8183}]]
    rows = numbered({"v": value, "w": {"v": value}} for value in values)
    inner = {"type": ["null", "object"], "properties": {"v": {}}}
    made = []
    for kind in ("any", "string", "integer", "number", "boolean", "array", "object"):
        columns = {"id": "integer", "v": kind, "w": inner}
        made += both_paths(
            f"mapping/values in a column of {kind}",
            {"baskets": {"kind": "users", "fields": {"uid": "id"}}},
            table("baskets", columns, rows),
            validate_records=False,
        )
    events = {"baskets": {"kind": "events", "fields": {"name": EVENT}}}
    lines = table("baskets", {"id": "integer", "v": "any"}, rows)
    made += both_paths("mapping/values of events", events, lines, null_values="send")
    return made


def _types() -> list[Case]:
    scalars = ["string", "integer", "number", "boolean", "date", "date-time"]
    columns: Json = {f"{name}s".replace("-", "_"): name for name in scalars}
    for name in scalars:
        item = {"type": "string", "format": name} if name.startswith("date") else {"type": name}
        columns[f"list of {name}"] = {"type": ["null", "array"], "items": item}
    columns["either"] = {"type": ["integer", "string", "null"]}
    columns["any_of"] = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
    columns["nested"] = {"type": "object", "properties": {"n": {"type": "integer"}, "t": {}}}
    columns["enum"] = {"enum": ["a", 1, None]}
    good: list[Any] = ["t", 1, 1.5, True, "2026-01-05", "2026-01-05T10:11:12Z"]
    others: list[Any] = [5, 5.0, "text", "2026-01-05 10:11", 2**63, 1e300, False, "", None]
    rows = [dict(zip(columns, [*good, *([one] for one in good)], strict=False))]
    rows[0] |= {"either": 1, "any_of": "2026-01-05", "nested": {"n": 1, "t": "x"}, "enum": 1}
    rows += [rows[0] | {name: other} for name in columns for other in others]
    rows += [rows[0] | {name: [other, good[0]]} for name in columns for other in others]
    rows = [rows[0], rows[0] | {"nested": {"n": 1.0}}, *rows[1:]]
    made = []
    for declared in ("auto", "all", "none"):
        made += both_paths(
            f"mapping/types, {declared}",
            {"plans": {"kind": "users", "fields": {"uid": "id"}}},
            table("plans", {"id": "integer", **columns}, numbered(rows)),
            declare_types=declared,
            validate_records=False,
        )
    return made


def _limits() -> list[Case]:
    rows: list[Json] = [{f"c{at}": at for at in range(count)} for count in (499, 500, 501)]
    rows += [{"a": {f"c{at}": at for at in range(count)}} for count in (499, 500, 501)]
    rows += [{"n" * 511: 1}, {"n" * 512: 1}, {"n" * 513: 1}, {"a": {"n" * 510: 1}}]
    rows += [{"a": {"n" * 511: 1}}, {"a": {"b": {"n" * 509: 1}}}, {"plan": 5}, {"plan": "x"}]
    columns = {"id": "integer!", "plan": "string"}
    users = {"kind": "users", "fields": {"uid": "id"}}
    events = {"kind": "events", "fields": {"name": EVENT}}
    made = both_paths("mapping/limits of users", {"a": users}, table("a", columns, numbered(rows)))
    made += both_paths("mapping/limits of events", {"a": events}, table("a", columns, numbered(rows)))
    many = {f"c{at}": "integer" for at in range(502)}
    wide: list[Json] = [{f"c{at}": at for at in range(count)} for count in (500, 501, 502)]
    made += both_paths(
        "mapping/limits of known columns", {"a": users}, table("a", {"id": "integer", **many}, numbered(wide))
    )
    strict = {
        "id": "integer!",
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "t": {"type": ["string", "null"], "maxLength": 3, "pattern": "^[a-c]*$"},
        "e": {"enum": ["a", "b"]},
        "o": {
            "type": "object",
            "required": ["k"],
            "additionalProperties": False,
            "properties": {"k": {"type": "integer"}},
        },
        "l": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
    }
    tries: list[Json] = [{}, {"n": 1}, {"n": 0}, {"n": 11}, {"n": "1"}, {"n": 1.0}, {"t": "abc"}]
    tries += [{"t": "abcd"}, {"t": "d"}, {"e": "a"}, {"e": "c"}, {"o": {"k": 1}}, {"o": {}}]
    tries += [{"o": {"k": 1, "m": 2}}, {"l": [1]}, {"l": []}, {"l": [1, 2, 3]}, {"l": ["x"]}]
    tries += [{"n": float("nan")}, {"n": None}, {"n": 2**70}]
    lines = [schema("a", strict, ["id", "n"], required=["id"])]
    lines += [record("a", row) for row in numbered(tries)] + [record("a", {"n": 1})]
    made += both_paths("mapping/limits of the SCHEMA", {"a": users}, lines)
    made += both_paths(
        "mapping/limits of the SCHEMA, not validated", {"a": users}, lines, validate_records=False
    )
    quota = table("a", columns, numbered([{"plan": "p"}] * 9))
    made += both_paths("mapping/limits by max_events", {"a": events}, quota, max_events=4)
    made += both_paths("mapping/limits by rejects", {"a": users}, lines, max_rejected_records=0)
    return made
