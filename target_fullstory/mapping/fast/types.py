"""A SCHEMA as a msgspec Struct, for the fast path.

Decoding a record into it is its validation. What the Struct refuses may still be valid: it is mapped
carefully.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from target_fullstory.mapping.fast.values import (
    ANY_VALUE,
    ASSERTIONS,
    OF_OBJECTS,
    Alternatives,
    Want,
    elements_of,
    list_of,
    suiting,
    type_names,
    union_of,
    valid,
)
from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH, Shape, is_index, shape_of


class Use(msgspec.Struct):
    """The uses of a column and, where it is an object, of its parts.

    Attributes:
        want: What its uses as a plain value can take; None without one.
        parts: The uses of the object's columns; None where the object is not used.
        items: The uses of an array's single items, of all alike; None where none is used.
        order: The object's columns in the order its Struct should have them; None for the SCHEMA's.
        null: Whether null is taken, be it of a plain value or of an object.
    """

    want: Want | None = None
    parts: dict[str, Use] | None = None
    items: Use | None = None
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

    def at(self, steps: tuple[str, ...], shape: Shape) -> Use:
        """The uses of the value the keys lead to from an object of that shape."""
        use = self
        for step in steps:
            if shape.only == "array" and is_index(step):
                use.items = use.items or Use()
                use, shape = use.items, shape_of(shape.items)
            else:
                use, shape = use.part(step), shape_of((shape.columns or {}).get(step))
        return use


Path: TypeAlias = "tuple[str | int, ...]"
"""The fields of Structs that lead to a value, and the numbers of items on the way."""


class Record(msgspec.Struct, frozen=True):
    """An object of the SCHEMA as a Struct.

    Attributes:
        type: The Struct, its fields named f0, f1, …; a column absent from the JSON is None.
        fields: Column to field.
        parts: Column to the Struct of its object.
        items: Column of an array whose items are used to the Struct of these, None for scalars.
    """

    type: type[msgspec.Struct]
    fields: dict[str, str]
    parts: dict[str, Record]
    items: dict[str, Record | None]

    def find(self, steps: tuple[str, ...]) -> tuple[Path, Record | None] | None:
        """What leads to a value, and its Struct where it is an object.

        Returns:
            None where no record of the fast path has the value.
        """
        path: list[str | int] = []
        record: Record | None = self
        in_array = False
        for step in steps:
            if in_array:
                path.append(int(step))
                in_array = False
                continue
            if record is None or step not in record.fields:
                return None
            path.append(record.fields[step])
            in_array = step in record.items
            record = record.items[step] if in_array else record.parts.get(step)
        return tuple(path), None if in_array else record


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
        items: dict[str, Record | None] = {}
        for column in order:
            inner = (use.parts or {}).get(column, Use())
            self._depth += 1
            alternatives = self._alternatives(columns[column], inner, column, parts, items)
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
            made.append((name, union_of(alternatives), default))
        struct = msgspec.defstruct(
            "Record",
            made,
            rename={name: column for column, name in fields.items()},
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        return Record(struct, fields, parts, items)

    def _check_object(self, schema: Any) -> frozenset[str]:
        """The columns an object must have, where the rest of its schema can be covered."""
        if not isinstance(schema, dict) or schema.keys() & (ANY_VALUE | OF_OBJECTS):
            raise Uncovered
        if {"enum", "const"} & schema.keys() or "object" not in type_names(schema):
            raise Uncovered
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise Uncovered
        return frozenset(required)

    def _alternatives(
        self,
        schema: Any,
        use: Use,
        column: str,
        parts: dict[str, Record],
        items: dict[str, Record | None],
    ) -> Alternatives:
        """What a column may be; the Structs of its objects go to `parts` and `items`."""
        inside = use.parts is not None or use.items is not None
        unused = use.want is None and not inside
        if unused and (not self._validate or schema is True or schema == {}):
            return {"any": Any}
        want = Want(types=frozenset()) if use.want is None and inside else use.want
        shape = shape_of(schema)
        found = valid(schema, want) if self._validate else suiting(shape, want or Want())
        if not use.null or (use.want is not None and not use.want.null):
            found.pop("null", None)
        inner = _branch_of(schema, "object")
        if inner is not None and use.want is None:
            record = self._nested(inner, use)
            if record is not None:
                found["object"] = record.type
                parts[column] = record
        array = _branch_of(schema, "array")
        if array is not None and use.parts is None and (unused or use.items is not None):
            found.pop("array", None)
            made, items[column] = self._array(array, use)
            if made is not None:
                found["array"] = made
        return found

    def _array(self, schema: dict[str, Any], use: Use) -> tuple[Any, Record | None]:
        """An array that is not used, or of which single items are; and the Struct of the items."""
        item = use.items or Use()
        if item.items is not None or self._depth >= MAX_DEPTH:
            return None, None
        if use.want is not None:
            item.take(elements_of(use.want) if use.want.lists else Want(types=frozenset()))
        parts: dict[str, Record] = {}
        self._depth += 1
        elements = self._alternatives(schema.get("items", {}), item, "", parts, {})
        self._depth -= 1
        checked = schema if self._validate else {}
        return list_of(checked, elements, safe=use.want is not None), parts.get("")

    def _nested(self, schema: dict[str, Any], use: Use) -> Record | None:
        try:
            return self.record(schema, use, frozenset(), nested=True)
        except Uncovered:
            return None


def _can_be_renamed(column: str) -> bool:
    """Whether msgspec takes the column as a field's name in JSON."""
    return column.isprintable() and not {'"', "\\"} & set(column)


def _branch_of(schema: Any, kind: str) -> dict[str, Any] | None:
    """The schema of a column's objects or arrays, where it is these or null and nothing else."""
    if not isinstance(schema, dict) or shape_of(schema).only != kind:
        return None
    if "type" in schema or "properties" in schema:
        return schema
    if len(schema.keys() & ANY_VALUE) > 1 or ASSERTIONS & schema.keys():
        return None
    branches = [
        branch
        for branch in schema.get("anyOf") or schema.get("oneOf") or []
        if shape_of(branch).only == kind
    ]
    return branches[0] if len(branches) == 1 and isinstance(branches[0], dict) else None
