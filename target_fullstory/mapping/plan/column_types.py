"""Declared property types: what Fullstory should not have to infer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from target_fullstory.mapping.plan.schema_shapes import Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column, Const, ListOf, ObjectOf, Template
from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN, is_iso_8601

if TYPE_CHECKING:
    from target_fullstory.mapping.plan.sources import Source
    from target_fullstory.mapping.spec import MappingOptions

TYPES: Final = ("str", "int", "real", "bool", "date", "strs", "ints", "reals", "bools", "dates")
"""The types that can be declared."""

_INFERRED_WELL = frozenset({"str", "real", "bool", "strs", "reals", "bools"})
_SCALARS = {"integer": "int", "number": "real", "boolean": "bool", "string": "str"}


def declared_type(shape: Shape, options: MappingOptions) -> str | None:
    """The type to declare for a column, None where nothing is to be declared.

    A column of several types besides null is left to Fullstory's inference, for the SCHEMA does not
    tell which one a record's value has.
    """
    declared = None if options.declare_types == "none" else _told_type(shape)
    return None if options.declare_types == "auto" and declared in _INFERRED_WELL else declared


def _told_type(shape: Shape) -> str | None:
    """The type that the SCHEMA tells of a column."""
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
    """Whether a value of this shape could be of the type, as far as the shape tells."""
    if not shape.types:
        return True
    if declared in _JSON_TYPES:
        return bool(shape.types & _JSON_TYPES[declared])
    return "array" in shape.types and may_fit(declared[:-1], shape_of(shape.items))


def schema_of(source: Source, shape: Shape) -> Any:
    """What is known of a source's values, as a JSON Schema.

    Args:
        source: The source.
        shape: The SCHEMA that tells of its columns.
    """
    if isinstance(source, Column):
        return schema_at(shape, source.steps)
    if isinstance(source, Const):
        return _schema_of_value(source.value)
    if isinstance(source, ListOf):
        return _array_of([schema_of(item, shape) for item in source.items])
    if isinstance(source, ObjectOf):
        columns = {name: schema_of(member, shape) for name, member in source.members}
        return {"type": "object", "properties": columns}
    return {"type": "string" if isinstance(source, Template) else "integer"}


def _schema_of_value(value: Any) -> Any:
    if isinstance(value, dict):
        columns = {name: _schema_of_value(inner) for name, inner in value.items()}
        return {"type": "object", "properties": columns}
    if isinstance(value, list):
        return _array_of([_schema_of_value(item) for item in value])
    return {"type": _TYPE_NAMES.get(type(value), "null")}


_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _array_of(items: list[Any]) -> Any:
    """The schema of an array, told its items' schemas: what they have in common, all or nothing."""
    shapes = [shape_of(item) for item in items]
    alike = bool(items) and all(shape == shapes[0] for shape in shapes)
    return {"type": "array", "items": items[0] if alike else None}


def fitting(declared: str | None, value: Any) -> tuple[Any, str | None]:
    """Holds a value against its column's declared type.

    Returns:
        The value to send and the type to declare with it. The value is the record's own, but for an
        integral float of an int column, which becomes an int; the type is None where the value does
        not fit: an integer beyond 64 bits, text that is no date, a value of another type.
    """
    if declared is None or value is None:
        return value, None
    kind = type(value)
    if kind is int:
        fits = declared == "real" or (declared == "int" and INT64_MIN <= value <= INT64_MAX)
        return value, declared if fits else None
    if kind is str:
        fits = declared == "str" or (declared == "date" and is_iso_8601(value))
        return value, declared if fits else None
    if isinstance(value, list):
        if declared not in ("strs", "ints", "reals", "bools", "dates"):
            return value, None
        fitted = [_fitting_scalar(declared[:-1], item) for item in value]
        return (value, None) if None in fitted else (fitted, declared)
    item = _fitting_scalar(declared, value)
    return (value, None) if item is None else (item, declared)


def _fitting_scalar(declared: str, value: Any) -> Any:
    """The value as one of the declared type, None where it is not."""
    if isinstance(value, bool):
        return value if declared == "bool" else None
    if declared == "int":
        return _whole(value)
    if declared == "real":
        return value if isinstance(value, (int, float)) else None
    if declared == "str":
        return value if isinstance(value, str) else None
    return value if declared == "date" and is_iso_8601(value) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and INT64_MIN <= value <= INT64_MAX else None
