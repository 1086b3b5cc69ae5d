"""One column's JSON Schema as msgspec types, for the fast path.

What comes out accepts only values that the schema accepts (Draft 2020-12, `format` as annotation) and
that suit the column's use. It may refuse others: whatever cannot be said exactly in a type is simply
not accepted.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, Union

import msgspec

from target_fullstory.mapping.plan.schema_shapes import Shape, shape_of
from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN

SAFE_CHARACTERS: Final = 2048
"""Characters in a text that surely has no more than 8192 bytes as UTF-8."""

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

ASSERTIONS = (
    frozenset({"minLength", "maxLength", "pattern", "multipleOf", "items", "properties"})
    | {"required", "additionalProperties", "minimum", "maximum", "exclusiveMinimum"}
    | {"exclusiveMaximum", "minItems", "maxItems", "type", "enum", "const"}
    | _OF_ARRAYS
    | OF_OBJECTS
)
"""Keywords that put conditions on a value; the sets above are those on any, arrays and objects."""

Alternatives = dict[str, Any]
"""JSON type to msgspec type: what a value may be."""


class Want(msgspec.Struct, frozen=True):
    """What a use of a column can take without care.

    Attributes:
        types: JSON types, of scalars and of an array's elements alike.
        lists: Whether an array is taken.
        shortest: The fewest characters of a text.
        longest: The most characters of a text.
        low: The smallest integer.
        high: The largest integer.
        null: Whether null is taken.
    """

    types: frozenset[str] = _SCALARS
    lists: bool = False
    shortest: int = 0
    longest: int = SAFE_CHARACTERS
    low: int = INT64_MIN
    high: int = INT64_MAX
    null: bool = True

    def and_also(self, other: Want) -> Want:
        """What suits both uses."""
        return Want(
            types=self.types & other.types,
            lists=self.lists and other.lists,
            shortest=max(self.shortest, other.shortest),
            longest=min(self.longest, other.longest),
            low=max(self.low, other.low),
            high=min(self.high, other.high),
            null=self.null and other.null,
        )


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


def suiting(shape: Shape, want: Want) -> Alternatives:
    """What suits the use, by the column's types alone."""
    types = shape.types or _SCALARS | {"array"}
    wanted = _scalars({}, _wanted(types, want), want)
    if "array" in types and want.lists:
        elements = shape_of(shape.items).types or _SCALARS
        wanted["array"] = _list(_scalars({}, _wanted(elements, want), elements_of(want)))
    return {kind: made for kind, made in wanted.items() if made is not None} | {"null": None}


def valid(schema: Any, want: Want | None) -> Alternatives:
    """What the schema accepts and, where there is one, what suits the use."""
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        return {}
    combined = schema.keys() & ANY_VALUE
    if combined:
        return _valid_branches(schema, want) if len(combined) == 1 else {}
    types = type_names(schema)
    if want is not None:
        types = _wanted(types, want) | types & {"null", "array"}
    found = _scalars(schema, types - {"array"}, want or Want(longest=_LONG))
    found = {kind: made for kind, made in found.items() if made is not None}
    if "enum" in schema or "const" in schema:
        return _enumerated(schema, types, want)
    if "array" in types and (want is None or want.lists):
        made = _valid_list(schema, want)
        if made is not None:
            found["array"] = made
    if "null" in types:
        found["null"] = None
    return found


def _valid_branches(schema: dict[str, Any], want: Want | None) -> Alternatives:
    """What an `anyOf` accepts, or a `oneOf` of null and something else."""
    key = "anyOf" if "anyOf" in schema else "oneOf"
    branches = schema.get(key)
    if not isinstance(branches, list) or ASSERTIONS & schema.keys():
        return {}
    null = [branch for branch in branches if branch in ({"type": "null"}, {"type": ["null"]})]
    rest = [branch for branch in branches if branch not in null]
    if key == "oneOf":
        exact = len(rest) == 1 and len(null) <= 1 and isinstance(rest[0], dict)
        if not exact or "null" in type_names(rest[0]):
            return {}
    found: Alternatives = {}
    for branch in [*rest, *null]:
        for kind, made in valid(branch, want).items():
            found.setdefault(kind, made)
    if "number" in found:
        found.pop("integer", None)
    return found


def _enumerated(schema: dict[str, Any], types: frozenset[str], want: Want | None) -> Alternatives:
    """The texts of an `enum` or a `const`, and null where it is listed too."""
    listed = schema.get("enum", [schema.get("const")])
    if not isinstance(listed, list) or ("enum" in schema and "const" in schema):
        return {}
    found: Alternatives = {"null": None} if "null" in types and None in listed else {}
    limits = want or Want()
    shortest, longest = _lengths(schema, limits)
    texts = tuple(
        text
        for text in listed
        if isinstance(text, str) and shortest <= len(text) <= longest and text.isprintable()
    )
    if "string" in types and texts and "pattern" not in schema:
        found["string"] = Literal[texts]
    return found


def _wanted(types: frozenset[str], want: Want) -> frozenset[str]:
    """The types that suit both; a column of numbers may give the integers a use asks for."""
    if "number" in types:
        types |= {"integer"}
    return types & want.types - {"null"}


def _scalars(schema: dict[str, Any], types: frozenset[str], want: Want) -> Alternatives:
    found: Alternatives = {}
    if "string" in types and "pattern" not in schema:
        shortest, longest = _lengths(schema, want)
        if shortest <= longest:
            limits = msgspec.Meta(min_length=shortest or None, max_length=longest)
            found["string"] = Annotated[str, limits]
    if "boolean" in types:
        found["boolean"] = bool
    if "multipleOf" in schema:
        return found
    if "number" in types:
        whole, real = _integers(schema, want), _reals(schema)
        found["number"] = None if whole is None or real is None else whole | real
    elif "integer" in types:
        found["integer"] = _integers(schema, want)
    return {kind: made for kind, made in found.items() if made is not None}


def _lengths(schema: dict[str, Any], want: Want) -> tuple[int, int]:
    """The fewest and most characters that suit schema and use; (1, 0) where that is unclear."""
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", want.longest)
    if type(shortest) is not int or type(longest) is not int:
        return 1, 0
    return max(shortest, want.shortest), min(longest, want.longest)


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


def _integers(schema: dict[str, Any], want: Want) -> Any:
    bounds = _bounds(schema)
    if bounds is None:
        return None
    low, high = want.low, want.high
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


def elements_of(want: Want) -> Want:
    """What suits the elements of an array that is used as a plain value."""
    return want.and_also(Want(longest=_SAFE_ITEM_CHARACTERS))


def _list(elements: Alternatives, shortest: int = 0, longest: int = _SAFE_ITEMS) -> Any:
    if not elements or shortest > longest:
        return None
    limits = msgspec.Meta(min_length=shortest or None, max_length=longest)
    return Annotated[list[union_of(elements)], limits]  # type: ignore[misc]


def _valid_list(schema: dict[str, Any], want: Want | None) -> Any:
    limits = Want(longest=_LONG) if want is None else elements_of(want)
    elements = valid(schema.get("items", {}), limits)
    elements = {kind: made for kind, made in elements.items() if kind in limits.types}
    return list_of(schema, elements, safe=want is not None)


def list_of(schema: dict[str, Any], elements: Alternatives, *, safe: bool) -> Any:
    """The arrays a schema accepts of such elements; null is none of them.

    Args:
        schema: The schema of the array.
        elements: What its elements may be.
        safe: Whether the array must be small enough to be sent.

    Returns:
        The type, None where there is no such array.
    """
    if schema.keys() & (_OF_ARRAYS | ANY_VALUE | {"enum", "const"}):
        return None
    limit = _SAFE_ITEMS if safe else _LONG
    shortest, longest = schema.get("minItems", 0), schema.get("maxItems", limit)
    if type(shortest) is not int or type(longest) is not int:
        return None
    kept = {kind: made for kind, made in elements.items() if kind != "null"}
    return _list(kept, shortest, min(longest, limit))
