"""Generated SCHEMAs, and the paths that a mapping can name in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.recorded.case import Dice, Json

PATTERNS = {"^[a-c]+$": "abc", "^[0-9]{3}$": "042", "^u_": "u_9"}
"""Patterns, each with a text that fits."""

FREE_FORM_PERCENT = 6

_PLAIN = ("plan", "seats", "mrr", "active", "tier", "city", "created_at", "renews_on", "tags", "lines")
_MORE = ("address", "score", "note", "code", "owner", "flags", "owner_id", "class", "type", "record")
_ODD = (
    "Plan name",
    "Plan-name",
    "plan name",
    "Plan_name",
    "2fa",
    "p_2fa",
    "_tier",
    "__",
    "p",
    "Größe",
    "日本",
    "a.b",
    "a",
    "a_b",
    "address.city",
    "plan_2",
    "$x",
    "self",
    "0",
    'quote"s',
    "tab\there",
    "emoji😀",
    "UPPER",
    "upper",
    "n" * 200,
    "properties",
    "_sdc_sequence",
    "_sdc_deleted_at",
    "schema",
    "id_",
)
_OWN = ("email", "display_name", "name", "timestamp", "user", "session", "context", "uid")
_SCALARS = ("string", "string", "integer", "number", "boolean", "moment", "moment", "enum", "union")


def columns(dice: Dice) -> Json:
    """Some columns: the key `id` and up to fifteen others."""
    found: Json = {"id": {"type": dice.pick(["integer", "integer", "string", ["integer", "string"]])}}
    for pool, most in ((_PLAIN, 6), (_MORE, 4), (_ODD, 5), (_OWN, 2)):
        for name in dice.some(pool, most):
            found[name] = _column(dice, 0)
    return found


def simple_schema(dice: Dice) -> Json:
    """A schema that singer-sdk can flatten: no booleans, no columns of any type, no unions."""
    found: Json = {"id": {"type": "integer"}}
    for name in [*dice.some(_PLAIN, 5), *dice.some(_ODD, 3)]:
        inner = {one: {"type": ["null", dice.pick(["string", "number"])]} for one in _PLAIN[:2]}
        deeper = {"type": ["null", "object"], "properties": {"in": _more_objects(dice), **inner}}
        scalar = {"type": ["null", dice.pick(["string", "integer", "boolean"])]}
        found[name] = dice.pick([deeper, scalar, scalar, {"type": ["null", "array"], "items": scalar}])
    return {"type": "object", "properties": found}


def _more_objects(dice: Dice) -> Json:
    inner = {name: {"type": ["integer", "null"]} for name in dice.some(_ODD, 2)}
    return {"type": ["null", "object"], "properties": inner}


def stream_schema(dice: Dice) -> Json:
    """A stream's schema: columns or, now and then, none at all."""
    if dice.chance(FREE_FORM_PERCENT):
        return {"type": "object", "properties": {}}
    schema: Json = {"type": dice.pick(["object", ["object", "null"]]), "properties": columns(dice)}
    if dice.chance(20):
        schema["required"] = ["id", *dice.some([*schema["properties"]][1:], 1)]
    if dice.chance(15):
        schema["additionalProperties"] = dice.pick([True, {"type": ["string", "null"]}, False])
    return schema


def _column(dice: Dice, depth: int) -> Any:
    roll = dice.below(100)
    if roll < 4:
        return dice.pick([{}, True, {"description": "anything"}])
    if roll < 66 or depth > 3:
        return _scalar(dice)
    return _array(dice, depth) if roll < 82 else _object(dice, depth)


def _scalar(dice: Dice) -> Json:
    kind = dice.pick(_SCALARS)
    if kind == "union":
        types = ["string", "integer", "number", "boolean", "null", "object", "array"]
        chosen = dice.some(types, 4) or ["string"]
        if dice.chance(50) or chosen == ["integer"]:
            return {"type": chosen}
        # An integer is a number, too: `oneOf` would be for neither.
        branches = [{"type": one} for one in chosen if one != "integer"]
        return {dice.pick(["anyOf", "oneOf"]): branches}
    if kind == "enum":
        return {"enum": dice.pick([["a", "b", None], [1, 2], ["a", 1, True], ["2026-01-05", None]])}
    if kind == "moment":
        return _nullable(dice, "string", {"format": dice.pick(["date", "date-time", "date-time"])})
    return _nullable(dice, kind, _limits(dice, kind))


def _limits(dice: Dice, kind: str) -> Json:
    if dice.chance(70) or kind == "boolean":
        return {}
    if kind == "string":
        return dice.pick(
            [
                {"maxLength": 20},
                {"minLength": 1},
                {"maxLength": 8192, "minLength": 2},
                {"format": "uuid"},
                {"pattern": dice.pick(list(PATTERNS))},
            ]
        )
    return dice.pick(
        [{"minimum": 0}, {"maximum": 1000}, {"exclusiveMinimum": -1}, {"minimum": -5, "maximum": 5}]
    )


def _nullable(dice: Dice, kind: str, more: Json) -> Json:
    return dice.pick(
        [
            {"type": ["null", kind], **more},
            {"type": [kind, "null"], **more},
            {"type": kind, **more},
            {"anyOf": [{"type": kind, **more}, {"type": "null"}]},
            {"oneOf": [{"type": "null"}, {"type": kind, **more}]},
        ]
    )


def _array(dice: Dice, depth: int) -> Json:
    more: Json = {}
    if dice.chance(85):
        more["items"] = _scalar(dice) if dice.chance(60) else _column(dice, depth + 1)
    if dice.chance(10):
        more["minItems"] = 1
    return _nullable(dice, "array", more)


def _object(dice: Dice, depth: int) -> Json:
    more: Json = {}
    if dice.chance(85):
        names = [*dice.some(_PLAIN, 3), *dice.some(_ODD, 2), *dice.some(_MORE, 2)]
        more["properties"] = {name: _column(dice, depth + 1) for name in names}
        if names and dice.chance(20):
            more["required"] = [dice.pick(names)]
    if dice.chance(20):
        more["additionalProperties"] = dice.pick([True, False, {"type": "integer"}])
    return _nullable(dice, "object", more)


def paths(schema: Json) -> dict[str, Any]:
    """What a mapping can name: columns and dotted paths into them, with what they are schemas of."""
    found: Json = {}
    for name, inner in schema.get("properties", {}).items():
        for path, leaf in _paths(name, inner, 3):
            if path and not set(path) & set("{}"):
                found.setdefault(path, leaf)
    return found or {"free": {}, "deep.er": {}}


def _paths(name: str, schema: Any, depth: int) -> Iterator[tuple[str, Any]]:
    yield name, schema
    if not isinstance(schema, dict) or not depth:
        return
    for column, inner in (schema.get("properties") or {}).items():
        yield from _paths(f"{name}.{column}", inner, depth - 1)
    if "array" in (schema.get("type") or ()) and "items" in schema:
        yield from _paths(f"{name}.0", schema["items"], depth - 1)


def only_type(schema: Any) -> str | None:
    """The one type besides null that a plain schema tells; `date` for moments."""
    types = schema.get("type") if isinstance(schema, dict) else None
    told = [types] if isinstance(types, str) else types or []
    told = [one for one in told if one != "null"]
    if len(told) != 1:
        return None
    moment = str(schema.get("format", "")).startswith("date")
    return "date" if told[0] == "string" and moment else str(told[0])
