"""How a record violates its SCHEMA: the column's path and the rule, never a value.

A path is made of the names in the SCHEMA, so that equal causes have equal messages: `contact.email`, `tags[]`
for the items of an array, `labels.*` for members that the SCHEMA does not name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from target_fullstory.mapping import Rejected

_MOST_KNOWN = 1000


class Violations:
    """The rejections that validation errors become, each made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | int, ...], Rejected] = {}

    def rejection(self, error: jsonschema_rs.ValidationError) -> Rejected:
        """The rejection for an error."""
        steps = tuple(error.evaluation_path)
        known = self._known.get(steps)
        if known is not None:
            return known
        made = _rejection(steps, error)
        # What names a column of the record is not the same each time.
        if steps and steps[-1] not in _NAMING and len(self._known) < _MOST_KNOWN:
            self._known[steps] = made
        return made


def violation(column: str, rule: str) -> Rejected:
    """The rejection of a record; `column` is empty where the record as a whole is to blame."""
    return Rejected(
        "schema_violation", f"column {column}: {rule}" if column else f"record: {rule}", column or None
    )


def inside(column: str, name: str) -> str:
    """The path of a column in an object."""
    return f"{column}.{name}" if column else name


_NAMING = frozenset({"required", "dependentRequired", "additionalProperties", "unevaluatedProperties"})
_ITEMS = frozenset({"items", "contains", "unevaluatedItems"})
_MEMBERS = frozenset({"additionalProperties", "unevaluatedProperties", "propertyNames"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf"})


def _rejection(steps: tuple[str | int, ...], error: jsonschema_rs.ValidationError) -> Rejected:
    kind: Any = error.kind
    name = type(kind).__name__
    if name == "FalseSchema" and steps and steps[-1] not in _MEMBERS:
        return violation(_column(steps), "no value is allowed")
    end = len(steps) - 1
    if name == "BacktrackLimitExceeded" and steps[-2:-1] == ("patternProperties",):
        end -= 1
    if name == "PropertyNames":
        end -= steps[::-1].index("propertyNames")
    column = _column(steps[: max(end, 0)])
    if name == "Required":
        return violation(inside(column, kind.property), "missing")
    unexpected = getattr(kind, "unexpected", None)
    if unexpected and not column and name in ("AdditionalProperties", "UnevaluatedProperties"):
        return violation(min(unexpected), "not in the SCHEMA")
    return violation(column, _rule(name, kind, str(steps[-1]) if steps else ""))


def _column(steps: tuple[str | int, ...]) -> str:
    """The path of a column, by the path of keywords that leads to its schema."""
    path = ""
    rest: Iterator[str | int] = iter(steps)
    for step in rest:
        if step == "properties":
            path = inside(path, str(next(rest, "")))
        elif step in _ITEMS:
            path += "[]"
        elif step == "prefixItems":
            next(rest, None)
            path += "[]"
        elif step == "patternProperties":
            next(rest, None)
            path = inside(path, "*")
        elif step in _MEMBERS:
            path = inside(path, "*")
        elif step in _LISTS or step == "dependentSchemas":
            next(rest, None)
    return path


def _rule(name: str, kind: Any, keyword: str) -> str:
    if name == "Type":
        return _of_no_type(kind.types)
    if name in _LIMITS:
        return _LIMITS[name].format(_number(kind.limit))
    if name in _COUNTS:
        more, unit = _COUNTS[name]
        return f"{more} than {kind.limit} {unit}{'' if kind.limit == 1 else 's'}"
    if name == "MultipleOf":
        return f"not a multiple of {_number(kind.multiple_of)}"
    return _RULES.get(name) or f"violates the rule {keyword or name}"


_ARTICLES = {"integer": "an integer", "array": "an array", "object": "an object", "null": "null"}


def _of_no_type(types: list[str]) -> str:
    """What it is not; that null would do as well is left out."""
    names = [name for name in types if name != "null"] or ["null"]
    return "not " + " or ".join(_ARTICLES.get(name, f"a {name}") for name in sorted(names))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value == int(value) else str(value)


_LIMITS = {
    "Minimum": "less than {}",
    "Maximum": "greater than {}",
    "ExclusiveMinimum": "not greater than {}",
    "ExclusiveMaximum": "not less than {}",
}
_COUNTS = {
    "MaxLength": ("longer", "character"),
    "MinLength": ("shorter", "character"),
    "MaxItems": ("more", "item"),
    "MinItems": ("fewer", "item"),
    "MaxProperties": ("more", "column"),
    "MinProperties": ("fewer", "column"),
}
_RULES = {
    "Enum": "not one of the values allowed",
    "Constant": "not the value allowed",
    "Pattern": "does not match its pattern",
    "BacktrackLimitExceeded": "its pattern takes too long to match",
    "UniqueItems": "holds an item twice",
    "Contains": "does not hold the items asked for",
    "AdditionalItems": "holds an item too many",
    "UnevaluatedItems": "holds an item too many",
    "AdditionalProperties": "holds a column that is not in the SCHEMA",
    "UnevaluatedProperties": "holds a column that is not in the SCHEMA",
    "FalseSchema": "holds a column that is not in the SCHEMA",
    "PropertyNames": "holds a column whose name is not allowed",
    "AnyOf": "fits none of the alternatives (anyOf)",
    "OneOfNotValid": "fits none of the alternatives (oneOf)",
    "OneOfMultipleValid": "fits several of the alternatives (oneOf)",
    "Not": "is what is not allowed (not)",
}
