"""JSON Schema as msgspec types, for the fast path.

A type made here accepts only values that the schema accepts (Draft 2020-12, `format` as annotation)
and that need no care when mapped. It may refuse others: what it refuses is mapped carefully. So
whatever cannot be said exactly in a type is simply not accepted.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal, Union

import msgspec

from target_fullstory.mapping.schemas import MAX_DEPTH, Shape, shape_of
from target_fullstory.mapping.values import INT64_MAX, INT64_MIN

SAFE_CHARACTERS: Final = 2048
"""Characters in a text that surely has no more than 8192 bytes as UTF-8."""

# An array within these has less than 8192 bytes as JSON, where a character may take six.
_SAFE_ITEMS, _SAFE_ITEM_CHARACTERS = 20, 60

_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})
_ANY_VALUE = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if"})
_OF_ARRAYS = frozenset({"contains", "prefixItems", "unevaluatedItems", "uniqueItems"})
_OF_OBJECTS = frozenset(
    {"dependentRequired", "dependentSchemas", "dependencies", "maxProperties", "minProperties"}
    | {"patternProperties", "propertyNames", "unevaluatedProperties"}
)

Alternatives = dict[str, Any]
"""JSON type to msgspec type: what a value may be."""


class Want(msgspec.Struct, frozen=True):
    """What a use of a column can take without care; null is always among it.

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


class Use(msgspec.Struct):
    """The uses of a column and, where it is an object, of its parts.

    Attributes:
        want: What its uses as a plain value can take; None without one.
        parts: The uses of the object's columns; None where the object is not used.
        order: The object's columns in the order its Struct should have them; None for the SCHEMA's.
        null: Whether null is taken, be it of a plain value or of an object.
    """

    want: Want | None = None
    parts: dict[str, Use] | None = None
    order: tuple[str, ...] | None = None
    null: bool = True

    def take(self, want: Want) -> None:
        """Adds a use of the plain value."""
        self.want = want if self.want is None else self.want.and_also(want)

    def part(self, column: str) -> Use:
        """The uses of one of the object's columns."""
        if self.parts is None:
            self.parts = {}
        return self.parts.setdefault(column, Use())


class Record(msgspec.Struct, frozen=True):
    """An object of the SCHEMA as a Struct.

    Attributes:
        type: The Struct, its fields named f0, f1, …; a column absent from the JSON is None.
        fields: Column to field.
        parts: Column to the Struct of its object.
    """

    type: type[msgspec.Struct]
    fields: dict[str, str]
    parts: dict[str, Record]


class Uncovered(Exception):  # noqa: N818 - it is an outcome, not an error
    """Nothing of this object can be mapped fast."""


def record_of(schema: Any, use: Use, *, validate: bool, required: frozenset[str]) -> Record:
    """The Struct that decodes a SCHEMA's records.

    Args:
        schema: The SCHEMA.
        use: How its columns are used.
        validate: Whether what it accepts must be valid; else only the types needed are asked for.
        required: Columns that must be there, null or not.

    Raises:
        Uncovered: No record of this SCHEMA can be told to be valid by its types.
    """
    return _Builder(validate=validate).record(schema, use, required, nested=False)


class _Builder:
    def __init__(self, *, validate: bool) -> None:
        self._validate = validate
        self._depth = 0

    def record(self, schema: Any, use: Use, required: frozenset[str], *, nested: bool) -> Record:
        shape = shape_of(schema)
        columns = shape.columns or {}
        if self._validate:
            required |= self._check_object(schema)
        if not columns or required - columns.keys() or self._depth >= MAX_DEPTH:
            raise Uncovered
        order = [name for name in use.order or () if name in columns]
        order += [name for name in columns if name not in order]
        made: list[tuple[str, Any, Any]] = []
        fields: dict[str, str] = {}
        parts: dict[str, Record] = {}
        for column in order:
            inner = (use.parts or {}).get(column, Use())
            self._depth += 1
            alternatives = self._alternatives(columns[column], inner, column, parts)
            self._depth -= 1
            if nested and column in required:
                # A nested Struct may be sent as it is, and would send a null that has no default.
                alternatives.pop("null", None)
            if not alternatives or not _can_be_renamed(column):
                if column in required:
                    raise Uncovered
                continue
            name = f"f{len(fields)}"
            fields[column] = name
            default = msgspec.NODEFAULT if column in required else None
            made.append((name, _union(alternatives), default))
        struct = msgspec.defstruct(
            "Record",
            made,
            rename={name: column for column, name in fields.items()},
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        return Record(struct, fields, parts)

    def _check_object(self, schema: Any) -> frozenset[str]:
        """The columns an object must have, where the rest of its schema can be covered."""
        if not isinstance(schema, dict) or schema.keys() & (_ANY_VALUE | _OF_OBJECTS):
            raise Uncovered
        if {"enum", "const"} & schema.keys() or "object" not in _type_names(schema):
            raise Uncovered
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise Uncovered
        return frozenset(required)

    def _alternatives(
        self, schema: Any, use: Use, column: str, parts: dict[str, Record]
    ) -> Alternatives:
        unused = use.want is None and use.parts is None
        if unused and (not self._validate or schema is True or schema == {}):
            return {"any": Any}
        want = Want(types=frozenset()) if use.want is None and use.parts is not None else use.want
        shape = shape_of(schema)
        found = _valid(schema, want) if self._validate else _of_shape(shape, want or Want())
        if not use.null or (use.want is not None and not use.want.null):
            found.pop("null", None)
        inner = _object_schema(schema)
        if inner is not None and use.want is None:
            record = self._nested(inner, use)
            if record is not None:
                found["object"] = record.type
                parts[column] = record
        return found

    def _nested(self, schema: dict[str, Any], use: Use) -> Record | None:
        try:
            return self.record(schema, use, frozenset(), nested=True)
        except Uncovered:
            return None


def _can_be_renamed(column: str) -> bool:
    """Whether msgspec takes the column as a field's name in JSON."""
    return column.isprintable() and not {'"', "\\"} & set(column)


def _union(alternatives: Alternatives) -> Any:
    types = tuple(alternatives.values())
    return types[0] if len(types) == 1 else Union[types]  # noqa: UP007 - made at run time


def _object_schema(schema: Any) -> dict[str, Any] | None:
    """The schema of a column's object, where the column is an object or null and nothing else."""
    if not isinstance(schema, dict) or shape_of(schema).only != "object":
        return None
    if "type" in schema or "properties" in schema:
        return schema
    if len(schema.keys() & _ANY_VALUE) > 1 or _ASSERTIONS & schema.keys():
        return None
    branches = [
        branch
        for branch in schema.get("anyOf") or schema.get("oneOf") or []
        if shape_of(branch).only == "object"
    ]
    return branches[0] if len(branches) == 1 and isinstance(branches[0], dict) else None


def _type_names(schema: dict[str, Any]) -> frozenset[str]:
    """The types a schema names, all of them where it names none."""
    names = schema.get("type", [*_SCALARS, "array", "object"])
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return frozenset()
    return frozenset(names)


def _of_shape(shape: Shape, want: Want) -> Alternatives:
    """What suits the use, by the column's types alone."""
    types = shape.types or _SCALARS | {"array"}
    wanted = _scalars({}, _wanted(types, want), want)
    if "array" in types and want.lists:
        elements = shape_of(shape.items).types or _SCALARS
        wanted["array"] = _list(_scalars({}, _wanted(elements, want), _element(want)))
    return {kind: made for kind, made in wanted.items() if made is not None} | {"null": None}


def _valid(schema: Any, want: Want | None) -> Alternatives:
    """What the schema accepts and, where there is one, what suits the use."""
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        return {}
    combined = schema.keys() & _ANY_VALUE
    if combined:
        return _valid_branches(schema, want) if len(combined) == 1 else {}
    types = _type_names(schema)
    if want is not None:
        types = _wanted(types, want) | types & {"null", "array"}
    found = _scalars(schema, types - {"array"}, want or Want(longest=2**31))
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
    if not isinstance(branches, list) or _ASSERTIONS & schema.keys():
        return {}
    null = [branch for branch in branches if branch in ({"type": "null"}, {"type": ["null"]})]
    rest = [branch for branch in branches if branch not in null]
    if key == "oneOf":
        exact = len(rest) == 1 and len(null) <= 1 and isinstance(rest[0], dict)
        if not exact or "type" not in rest[0] or "null" in _type_names(rest[0]):
            return {}
    found: Alternatives = {}
    for branch in [*rest, *null]:
        for kind, made in _valid(branch, want).items():
            found.setdefault(kind, made)
    if "number" in found:
        found.pop("integer", None)
    return found


_ASSERTIONS = (
    frozenset({"minLength", "maxLength", "pattern", "multipleOf", "items", "properties"})
    | {"required", "additionalProperties", "minimum", "maximum", "exclusiveMinimum"}
    | {"exclusiveMaximum", "minItems", "maxItems", "type", "enum", "const"}
    | _OF_ARRAYS
    | _OF_OBJECTS
)


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


def _element(want: Want) -> Want:
    return want.and_also(Want(longest=_SAFE_ITEM_CHARACTERS))


def _list(elements: Alternatives, shortest: int = 0, longest: int = _SAFE_ITEMS) -> Any:
    if not elements or shortest > longest:
        return None
    limits = msgspec.Meta(min_length=shortest or None, max_length=longest)
    return Annotated[list[_union(elements)], limits]  # type: ignore[misc]


def _valid_list(schema: dict[str, Any], want: Want | None) -> Any:
    if schema.keys() & _OF_ARRAYS:
        return None
    shortest = schema.get("minItems", 0)
    longest = schema.get("maxItems", _SAFE_ITEMS)
    if type(shortest) is not int or type(longest) is not int:
        return None
    limits = want or Want()
    elements = _valid(schema.get("items", {}), _element(limits))
    elements = {kind: made for kind, made in elements.items() if kind in limits.types}
    elements.pop("null", None)
    elements.pop("array", None)
    return _list(elements, shortest, min(longest, _SAFE_ITEMS))
