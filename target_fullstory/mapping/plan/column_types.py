"""The type to declare for a column, by its SCHEMA."""

from __future__ import annotations

from typing import Any

from target_fullstory.mapping.plan.schema_shapes import Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import (
    Coalesce,
    Column,
    Const,
    Converted,
    ListOf,
    ObjectOf,
    Source,
    Template,
)
from target_fullstory.mapping.rules.declared_types import INFERRED_WELL
from target_fullstory.mapping.spec import MappingOptions

_SCALARS = {"integer": "int", "number": "real", "boolean": "bool", "string": "str"}


def declared_type(shape: Shape, options: MappingOptions) -> tuple[str | None, bool]:
    """The type that a column's values are held against, None for any; and whether it is to be declared.

    A column of several types besides null is left to Fullstory's inference: a record's value may be of any.
    Dates are sent alike, declared or not.
    """
    found = _schema_type(shape)
    if options.declare_types == "none":
        return found if found in _DATES else None, False
    inferred = options.declare_types == "auto" and found in INFERRED_WELL
    return None if inferred else found, True


_DATES = ("date", "dates")


def _schema_type(shape: Shape) -> str | None:
    """A column's type in the SCHEMA."""
    if shape.only != "array":
        return _scalar_type(shape)
    element = _scalar_type(shape_of(shape.items))
    return element and f"{element}s"


def _scalar_type(shape: Shape) -> str | None:
    if shape.only == "string" and shape.format in ("date", "date-time"):
        return "date"
    return _SCALARS.get(shape.only or "")


_JSON_TYPES = {
    "str": {"string"},
    "date": {"string"},
    "int": {"integer", "number"},
    "real": {"integer", "number"},
    "bool": {"boolean"},
}


def may_fit(declared: str, shape: Shape) -> bool:
    """Whether a value of this shape could be of the type, as far as the shape says."""
    if not shape.types:
        return True
    if declared in _JSON_TYPES:
        return bool(shape.types & _JSON_TYPES[declared])
    return "array" in shape.types and may_fit(declared[:-1], shape_of(shape.items))


def schema_of(source: Source, shape: Shape) -> Any:
    """What is known of a source's values, as a JSON Schema."""
    if isinstance(source, Column):
        return schema_at(shape, source.steps)
    if isinstance(source, Const):
        return _schema_of_value(source.value)
    if isinstance(source, ListOf):
        return _array_of([schema_of(item, shape) for item in source.items])
    if isinstance(source, ObjectOf):
        columns = {name: schema_of(member, shape) for name, member in source.members}
        return {"type": "object", "properties": columns}
    if isinstance(source, Converted):
        return _schema_of_converted(source, shape)
    return {"type": "string" if isinstance(source, Template) else "integer"}


_CASTS: dict[str, Any] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "real": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date-time"},
}


def _schema_of_converted(source: Converted, shape: Shape) -> Any:
    cast, entries, default = source.by.cast, source.by.entries, source.by.default
    if cast is not None:
        return {"type": "array", "items": _CASTS[cast.type]} if cast.each else _CASTS[cast.type]
    if entries is None:
        origins = source.source.columns if isinstance(source.source, Coalesce) else [source.source]
        made = [schema_of(origin, shape) for origin in origins]
    else:
        made = [_schema_of_value(value) for value in entries.values()]
    return _common([*made, *([] if default is None else [_schema_of_value(default)])])


def _common(schemas: list[Any]) -> Any:
    """The schema of values that are of one of these; None where they differ."""
    shapes = [shape_of(schema) for schema in schemas]
    return schemas[0] if all(shape == shapes[0] for shape in shapes) else None


def _schema_of_value(value: Any) -> Any:
    if isinstance(value, dict):
        columns = {name: _schema_of_value(inner) for name, inner in value.items()}
        return {"type": "object", "properties": columns}
    if isinstance(value, list):
        return _array_of([_schema_of_value(item) for item in value])
    return {"type": _TYPE_NAMES.get(type(value), "null")}


_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _array_of(items: list[Any]) -> Any:
    """The schema of an array of such items: that of the items where all have the same, else any."""
    return {"type": "array", "items": _common(items) if items else None}
