"""A SCHEMA as a msgspec Struct: decoding a record into it is its validation.

What the Struct takes is valid (JSON Schema Draft 2020-12, `format` as annotation), and every text, number and
array in it is one that `leaf_of` gives back as it is, but for a column's text that is `long`. What it refuses
may be valid all the same.
"""

from __future__ import annotations

import keyword
from typing import Any

import msgspec

from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH, is_index, shape_of
from target_fullstory.mapping.program.decoded_column_types import (
    ANY_VALUE,
    OF_OBJECTS,
    Alternatives,
    branch_of,
    declared_types,
    list_of,
    may_be_long,
    type_names,
    union_of,
    valid_types,
)


class Use(msgspec.Struct):
    """How a plan uses a column and, where it is an object or an array, what lies in it."""

    plain: bool = False  # as a value: what is an object has another use, or none
    void: bool = False  # not at all: there is no place for it in a request, and only null goes unnoticed
    parts: dict[str, Use] | None = None  # the uses of the object's columns; None where the object is not used
    items: Use | None = None  # the uses of the array's single items, of all alike; None where none is used

    def part(self, column: str) -> Use:
        """The use of one of the object's columns."""
        if self.parts is None:
            self.parts = {}
        return self.parts.setdefault(column, Use())

    @property
    def inside(self) -> bool:
        """Whether something in it is used."""
        return self.parts is not None or self.items is not None


class TypedColumn(msgspec.Struct, frozen=True):
    """A column, or an array's items, as decoded."""

    attribute: str  # the Struct's attribute that has it; empty for items
    # The JSON types that it may have, `number` for integers too; `any` for a column without a use.
    kinds: frozenset[str]
    elements: frozenset[str] = frozenset()  # the JSON types of an array's elements
    long: bool = False  # whether a text may be longer than a property's value
    part: RecordType | None = None  # the Struct of its objects
    items: TypedColumn | None = None  # the items of its arrays, where single ones are used


class RecordType(msgspec.Struct, frozen=True):
    """An object of the SCHEMA as a Struct: a column absent from the JSON is None, a further one refused."""

    struct: type[msgspec.Struct]  # the Struct
    columns: dict[str, TypedColumn]  # its columns by name, in the order of its fields
    required: frozenset[str]  # the columns that are never absent


class UntypedError(Exception):
    """Types cannot express which records of this SCHEMA are valid."""


def record_type_of(
    schema: Any, use: Use, *, validate: bool, nulls: bool, required: frozenset[str]
) -> RecordType:
    """The Struct that decodes a SCHEMA's records.

    With `validate`, what it takes is valid; else only the types of the columns in use are checked. With
    `nulls` it takes nulls. The `required` columns must be there, null or not.

    Raises:
        UntypedError: There is none.
    """
    return _Builder(validate=validate, nulls=nulls).record(schema, use, required, depth=0)


class _Builder:
    def __init__(self, *, validate: bool, nulls: bool) -> None:
        self._validate = validate
        self._nulls = nulls

    def record(self, schema: Any, use: Use, required: frozenset[str], depth: int) -> RecordType:
        shape = shape_of(schema)
        columns = shape.columns or {}
        if self._validate:
            required |= _required_of(schema)
        if not columns or required - columns.keys() or depth >= MAX_DEPTH:
            raise UntypedError
        made: dict[str, TypedColumn] = {}
        fields: list[tuple[str, Any, Any]] = []
        for name, inner in columns.items():
            attribute = _attribute_of(name, len(made))
            found = self._column(inner, (use.parts or {}).get(name, Use()), attribute, depth + 1)
            column, types = found
            if depth and name in required:
                # A nested Struct may be sent as it is, and would send a null that has no default.
                types.pop("null", None)
            if not types or not _can_be_renamed(name):
                if name in required:
                    raise UntypedError
                continue
            made[name] = msgspec.structs.replace(column, kinds=frozenset(types))
            default = msgspec.NODEFAULT if name in required else None
            fields.append((attribute, union_of(types), default))
        struct = msgspec.defstruct(
            "Record",
            fields,
            rename={column.attribute: name for name, column in made.items()},
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        return RecordType(struct, made, required)

    def _column(self, schema: Any, use: Use, attribute: str, depth: int) -> tuple[TypedColumn, Alternatives]:
        """A column, and the msgspec type of each JSON type that it may have; none where it is refused."""
        column = TypedColumn(attribute, frozenset())
        unused = not (use.plain or use.void or use.inside)
        if unused and (not self._validate or schema is True or schema == {}):
            return column, {"any": Any}
        # Nested texts may be sent as they are decoded, without a look at them.
        long_texts = depth == 1
        if self._validate:
            types = valid_types(schema, used=not unused, long_texts=long_texts)
        else:
            types = declared_types(shape_of(schema), long_texts=long_texts)
        if use.void or (use.inside and not use.plain):
            types = {kind: made for kind, made in types.items() if kind == "null"}
        if not self._nulls:
            types.pop("null", None)
        elements = shape_of(shape_of(schema).items).types if "array" in types else frozenset()
        column = msgspec.structs.replace(column, elements=elements, long=may_be_long(types))
        if use.void or (use.plain and not use.items):
            return column, types
        inner = branch_of(schema, "object")
        if inner is not None and not use.plain:
            try:
                part = self.record(inner, use, frozenset(), depth)
            except UntypedError:
                return column, types
            types["object"] = part.struct
            return msgspec.structs.replace(column, part=part), types
        array = branch_of(schema, "array")
        if array is not None and use.parts is None:
            types.pop("array", None)
            items, made = self._array(array, use, depth)
            if made is not None:
                types["array"] = made
                return msgspec.structs.replace(column, items=items), types
        return column, types

    def _array(self, schema: dict[str, Any], use: Use, depth: int) -> tuple[TypedColumn, Any]:
        """An array that is not used, or of which single items are."""
        item = use.items or Use()
        if item.items is not None or depth >= MAX_DEPTH:
            return TypedColumn("", frozenset()), None
        if use.plain:
            item.plain = True
        items, types = self._column(schema.get("items", {}), item, "", depth + 1)
        checked = schema if self._validate else {}
        types.pop("null", None)
        made = list_of(checked, types, safe=use.plain)
        return msgspec.structs.replace(items, kinds=frozenset(types)), made


def _required_of(schema: Any) -> frozenset[str]:
    """The columns an object must have, where types can express the rest of its schema."""
    if not isinstance(schema, dict) or schema.keys() & (ANY_VALUE | OF_OBJECTS):
        raise UntypedError
    if {"enum", "const"} & schema.keys() or "object" not in type_names(schema):
        raise UntypedError
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise UntypedError
    return frozenset(required)


def _attribute_of(column: str, number: int) -> str:
    """The column's own name, where code can be written with it."""
    plain = column.isascii() and column.isidentifier() and not column.startswith("_")
    return column if plain and not keyword.iskeyword(column) else f"column_{number}_"


def _can_be_renamed(column: str) -> bool:
    """Whether msgspec takes the column as a field's name in JSON."""
    return column.isprintable() and not {'"', "\\"} & set(column)


def use_at(root: Use, schema: Any, steps: tuple[str, ...]) -> Use:
    """The use of the value that the keys lead to."""
    use, shape = root, shape_of(schema)
    for step in steps:
        if shape.only == "array" and is_index(step):
            use.items = use.items or Use()
            use, shape = use.items, shape_of(shape.items)
        else:
            use, shape = use.part(step), shape_of((shape.columns or {}).get(step))
    return use
