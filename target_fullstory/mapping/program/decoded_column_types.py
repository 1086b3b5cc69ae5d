"""One column's JSON Schema as msgspec types, by JSON type.

What they take is valid, and within the limits of a property's value. Whatever cannot be said exactly in a
type is not taken.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias, Union

import msgspec

from target_fullstory.mapping.plan.schema_shapes import Shape, shape_of
from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN, MAX_VALUE_BYTES

_SAFE_CHARACTERS = MAX_VALUE_BYTES // 4
"""A character has four bytes at the most as UTF-8."""

# An array within these has less than 8192 bytes as JSON, where a character may take six.
_SAFE_ITEMS, _SAFE_ITEM_CHARACTERS = 20, 60

_LONG = 2**31 - 1

_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})
ANY_VALUE = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if"})
_OF_ARRAYS = frozenset({"contains", "prefixItems", "unevaluatedItems", "uniqueItems"})
OF_OBJECTS = frozenset(
    {"dependentRequired", "dependentSchemas", "dependencies", "maxProperties", "minProperties"}
    | {"patternProperties", "propertyNames", "unevaluatedProperties"}
)

_ASSERTIONS = (
    frozenset({"minLength", "maxLength", "pattern", "multipleOf", "items", "properties"})
    | {"required", "additionalProperties", "minimum", "maximum", "exclusiveMinimum"}
    | {"exclusiveMaximum", "minItems", "maxItems", "type", "enum", "const"}
    | _OF_ARRAYS
    | OF_OBJECTS
)
"""Keywords that put conditions on a value; the sets above are those on any, arrays and objects."""

Alternatives: TypeAlias = dict[str, Any]
"""JSON type to msgspec type: what a value may be."""


def union_of(alternatives: Alternatives) -> Any:
    """The one type of all alternatives; there must be one at least."""
    types = tuple(alternatives.values())
    return types[0] if len(types) == 1 else Union[types]  # noqa: UP007 - made at run time


def type_names(schema: dict[str, Any]) -> frozenset[str]:
    """The types a schema names, all of them where it names none."""
    names = schema.get("type", [*_SCALARS, "array", "object"])
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return frozenset()
    return frozenset(names)


def valid_types(schema: Any, *, used: bool, long_texts: bool) -> Alternatives:
    """What the schema accepts but objects; of a column that is used, what a property may hold.

    With `long_texts` a text may be longer than that.
    """
    longest = _SAFE_CHARACTERS if used and not long_texts else _LONG
    return _valid(schema, longest, safe=used)


def declared_types(shape: Shape, *, long_texts: bool) -> Alternatives:
    """What a column may be by its types alone; objects are not among it. `long_texts` as above."""
    types = shape.types or _SCALARS | {"array"}
    found = _scalars({}, types, _LONG if long_texts else _SAFE_CHARACTERS)
    if "array" in types:
        elements = shape_of(shape.items).types or _SCALARS
        found["array"] = _list(_scalars({}, elements, _SAFE_ITEM_CHARACTERS))
    return {kind: made for kind, made in found.items() if made is not None} | {"null": None}


def may_be_long(types: Alternatives) -> bool:
    """Whether a text of these types may be longer than a property may hold."""
    limits = getattr(types.get("string"), "__metadata__", ())
    return any(limit.max_length > _SAFE_CHARACTERS for limit in limits)


def _valid(schema: Any, longest: int, *, safe: bool, element: bool = False) -> Alternatives:
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        return {}
    combined = schema.keys() & ANY_VALUE
    if combined:
        return _valid_branches(schema, longest, safe=safe, element=element) if len(combined) == 1 else {}
    types = type_names(schema)
    if "enum" in schema or "const" in schema:
        return _enumerated(schema, types, min(longest, _SAFE_CHARACTERS) if safe else longest)
    found = _scalars(schema, types, longest)
    if "array" in types and not element:
        longest = _SAFE_ITEM_CHARACTERS if safe else _LONG
        elements = _valid(schema.get("items", {}), longest, safe=safe, element=True)
        made = list_of(schema, elements, safe=safe)
        if made is not None:
            found["array"] = made
    if "null" in types:
        found["null"] = None
    return found


def _valid_branches(schema: dict[str, Any], longest: int, *, safe: bool, element: bool) -> Alternatives:
    """What an `anyOf` accepts, or a `oneOf` of null and something else."""
    key = "anyOf" if "anyOf" in schema else "oneOf"
    branches = schema.get(key)
    if not isinstance(branches, list) or _ASSERTIONS & schema.keys():
        return {}
    null = [branch for branch in branches if branch in ({"type": "null"}, {"type": ["null"]})]
    rest = [branch for branch in branches if branch not in null]
    if key == "oneOf":
        exact = len(rest) == 1 and len(null) <= 1 and isinstance(rest[0], dict)
        if not exact or "null" in type_names(rest[0]):
            return {}
    found: Alternatives = {}
    for branch in [*rest, *null]:
        for kind, made in _valid(branch, longest, safe=safe, element=element).items():
            found.setdefault(kind, made)
    if "number" in found:
        found.pop("integer", None)
    return found


def _enumerated(schema: dict[str, Any], types: frozenset[str], longest: int) -> Alternatives:
    """The texts of an `enum` or a `const`, and null where it is listed too."""
    listed = schema.get("enum", [schema.get("const")])
    if not isinstance(listed, list) or ("enum" in schema and "const" in schema):
        return {}
    found: Alternatives = {"null": None} if "null" in types and None in listed else {}
    shortest, longest = _lengths(schema, longest)
    texts = tuple(
        text
        for text in listed
        if isinstance(text, str) and shortest <= len(text) <= longest and text.isprintable()
    )
    if "string" in types and texts and "pattern" not in schema:
        found["string"] = Literal[texts]
    return found


def _scalars(schema: dict[str, Any], types: frozenset[str], longest: int) -> Alternatives:
    found: Alternatives = {}
    if "string" in types and "pattern" not in schema:
        shortest, longest = _lengths(schema, longest)
        if shortest <= longest:
            limits = msgspec.Meta(min_length=shortest or None, max_length=longest)
            found["string"] = Annotated[str, limits]
    if "boolean" in types:
        found["boolean"] = bool
    if "multipleOf" in schema:
        return found
    if "number" in types:
        whole, real = _integers(schema), _reals(schema)
        found["number"] = None if whole is None or real is None else whole | real
    elif "integer" in types:
        found["integer"] = _integers(schema)
    return {kind: made for kind, made in found.items() if made is not None}


def _lengths(schema: dict[str, Any], longest: int) -> tuple[int, int]:
    """The fewest and most characters of a text; (1, 0) where that is unclear."""
    least, most = schema.get("minLength", 0), schema.get("maxLength", longest)
    if type(least) is not int or type(most) is not int:
        return 1, 0
    return max(least, 0), min(most, longest)


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def _bounds(schema: dict[str, Any]) -> dict[str, int | float] | None:
    """The bounds of a number; None where a double cannot hold one exactly."""
    found = {keyword: schema[keyword] for keyword in _BOUNDS if keyword in schema}
    for bound in found.values():
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            return None
        if not math.isfinite(bound) or abs(bound) > 2**63:
            return None
    return found


def _integers(schema: dict[str, Any]) -> Any:
    bounds = _bounds(schema)
    if bounds is None:
        return None
    low, high = INT64_MIN, INT64_MAX
    if "minimum" in bounds:
        low = max(low, math.ceil(bounds["minimum"]))
    if "exclusiveMinimum" in bounds:
        low = max(low, math.floor(bounds["exclusiveMinimum"]) + 1)
    if "maximum" in bounds:
        high = min(high, math.floor(bounds["maximum"]))
    if "exclusiveMaximum" in bounds:
        high = min(high, math.ceil(bounds["exclusiveMaximum"]) - 1)
    return Annotated[int, msgspec.Meta(ge=low, le=high)] if low <= high else None


def _reals(schema: dict[str, Any]) -> Any:
    bounds = _bounds(schema)
    if bounds is None or any(abs(bound) > 2**53 for bound in bounds.values()):
        return None
    if len(bounds) > len({keyword.removeprefix("exclusive").lower() for keyword in bounds}):
        return None
    if not bounds:
        return float
    named: dict[str, Any] = {_META[keyword]: float(bound) for keyword, bound in bounds.items()}
    return Annotated[float, msgspec.Meta(**named)]


_META = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}


def _list(elements: Alternatives, shortest: int = 0, longest: int = _SAFE_ITEMS) -> Any:
    if not elements or shortest > longest:
        return None
    limits = msgspec.Meta(min_length=shortest or None, max_length=longest)
    return Annotated[list[union_of(elements)], limits]  # type: ignore[misc]


def list_of(schema: dict[str, Any], elements: Alternatives, *, safe: bool) -> Any:
    """The type of the arrays that a schema accepts of such elements; None where there are none.

    `safe` is for those that a property can hold.
    """
    if schema.keys() & (_OF_ARRAYS | ANY_VALUE | {"enum", "const"}):
        return None
    limit = _SAFE_ITEMS if safe else _LONG
    shortest, longest = schema.get("minItems", 0), schema.get("maxItems", limit)
    if type(shortest) is not int or type(longest) is not int:
        return None
    kept = {kind: made for kind, made in elements.items() if kind != "null"}
    return _list(kept, shortest, min(longest, limit))


def branch_of(schema: Any, kind: str) -> dict[str, Any] | None:
    """The schema of a column's objects or arrays, where it is these or null and nothing else."""
    if not isinstance(schema, dict) or shape_of(schema).only != kind:
        return None
    if "type" in schema or "properties" in schema:
        return schema
    if len(schema.keys() & ANY_VALUE) > 1 or _ASSERTIONS & schema.keys():
        return None
    branches = [
        branch for branch in schema.get("anyOf") or schema.get("oneOf") or [] if shape_of(branch).only == kind
    ]
    return branches[0] if len(branches) == 1 and isinstance(branches[0], dict) else None
