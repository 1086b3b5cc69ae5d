"""Generated records: such as fit their SCHEMA, and such as do not."""

from __future__ import annotations

import json
from typing import Any

from tests.recorded.case import Dice, Json
from tests.recorded.generated_schemas import PATTERNS
from tests.recorded.values import MOMENTS, NUMBERS, TEXTS, VALUES, deep

RECORDS = 30

_WORDS = ("gold", "Ada", "x", "two words", "Köln", "u_7", "42", "a/b", "")
_GOOD_MOMENTS = ("2026-01-05T09:12:44Z", "2026-01-05", "2026-01-05T09:12:44.250+02:00")
_EXTRA = ("more", "Plan name", "Plan-name", "plan", "_sdc_extra", "é", "a.b", "uid", "properties", "0")


def records(dice: Dice, schema: Json) -> list[Json]:
    """Thirty records of all sorts."""
    return [_record(dice, schema, number) for number in range(RECORDS)]


def _record(dice: Dice, schema: Json, number: int) -> Json:
    columns = schema["properties"]
    row: Json = {name: _fitting(dice, inner, number, 0) for name, inner in columns.items()}
    row["id"] = _key(dice, schema, number)
    if not columns:
        row |= {"free": dice.pick(VALUES), "email": "a@e", "deep": {"er": dice.pick(VALUES)}}
        row |= {"name": "N", "nested": {"a b": {"c": [1, None]}}}
    sort = dice.below(100)
    if sort < 40:
        return row
    if sort < 55:
        return {name: value for name, value in row.items() if name == "id" or dice.chance(50)}
    if sort < 63:
        nulls = dice.some([name for name in row if name != "id"], 4)
        return row | dict.fromkeys(nulls)
    if sort < 72:
        return row | {name: dice.pick([*VALUES, deep(3)]) for name in dice.some(_EXTRA, 3)}
    if sort < 74:
        return row | {f"wide{at}": at for at in range(dice.pick([480, 501]))}
    wild = dice.some(list(row), 2) or ["id"]
    return row | {name: _wild(dice, columns.get(name, {})) for name in wild}


def _key(dice: Dice, schema: Json, number: int) -> Any:
    types = schema["properties"].get("id", {}).get("type", "integer")
    # Users that come twice are merged.
    number = number if dice.chance(85) else dice.below(10)
    return f"k{number}" if types == "string" else number


def _wild(dice: Dice, schema: Any) -> Any:
    """Anything, most often of the right type."""
    told = json.dumps(schema)
    if '"date' in told and dice.chance(70):
        return dice.pick(MOMENTS)
    if '"string"' in told and dice.chance(70):
        return dice.pick(TEXTS) if dice.chance(80) else "w" * dice.pick([128, 129, 256, 257, 9000])
    if ('"integer"' in told or '"number"' in told) and dice.chance(70):
        return dice.pick(NUMBERS)
    if '"array"' in told and dice.chance(70):
        return [dice.pick(VALUES) for _ in range(dice.below(4))]
    if '"object"' in told and dice.chance(70):
        names = dice.some([*_EXTRA, "city", "code"], 4)
        return {name: dice.pick(VALUES) for name in names}
    return dice.pick([*VALUES, *TEXTS, deep(dice.pick([5, 120])), *MOMENTS])


def _fitting(dice: Dice, schema: Any, number: int, depth: int) -> Any:
    """A value that the schema allows, nearly always."""
    if not isinstance(schema, dict) or not schema.keys() & {"type", "enum", "anyOf", "oneOf"}:
        return dice.pick([1, "a", None, 1.5, True, [1], {"a": 1}])
    if "enum" in schema:
        return dice.pick(schema["enum"])
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        return _fitting(dice, dice.pick(branches), number, depth)
    types = schema.get("type")
    kind = types if isinstance(types, str) else dice.pick(types or ["null"])
    if kind == "null" and dice.chance(50) and isinstance(types, list):
        kind = dice.pick(types)
    return _of(dice, kind, schema, number, depth)


def _of(dice: Dice, kind: str, schema: Json, number: int, depth: int) -> Any:
    if kind == "null":
        return None
    if kind == "boolean":
        return dice.chance(50)
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 200)
        whole = low + dice.below(high - low + 1)
        return whole if kind == "integer" or dice.chance(20) else whole + dice.below(100) / 100
    if kind == "array":
        items = schema.get("items", {})
        count = dice.pick([1, 1, 2, 3]) if "minItems" in schema else dice.below(4)
        return [_fitting(dice, items, number, depth + 1) for _ in range(count)]
    if kind == "object":
        inner = schema.get("properties", {})
        needed = schema.get("required", [])
        return {
            name: _fitting(dice, one, number, depth + 1)
            for name, one in inner.items()
            if name in needed or dice.chance(85)
        }
    return _text(dice, schema, number)


def _text(dice: Dice, schema: Json, number: int) -> str:
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    form = schema.get("format", "")
    if form == "date":
        return f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    if form.startswith("date"):
        return dice.pick(_GOOD_MOMENTS)
    return dice.pick(_WORDS[: -schema.get("minLength", 0) or None])[: schema.get("maxLength")]


def line(dice: Dice, stream: str, row: Json) -> str:
    """A RECORD line, in one of the styles that taps have."""
    message: Json = {"type": "RECORD", "stream": stream, "record": row}
    if dice.chance(10):
        message |= {"time_extracted": "2026-01-05T09:12:44Z", "version": 1}
    if dice.chance(10):
        message = {name: message[name] for name in reversed(message)}
    separators = (",", ":") if dice.chance(30) else None
    text = json.dumps(message, ensure_ascii=False, separators=separators)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(message, separators=separators)
    return text if dice.chance(40) else json.dumps(message, separators=separators)
