"""Declared property types: what Fullstory should not have to infer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_fullstory.mapping.schemas import Shape, shape_of
from target_fullstory.mapping.values import INT64_MAX, INT64_MIN, is_iso_8601

if TYPE_CHECKING:
    from target_fullstory.mapping.spec import MappingOptions

_INFERRED_WELL = frozenset({"str", "real", "bool"})
_SCALARS = {"integer": "int", "number": "real", "boolean": "bool", "string": "str"}


def declared_type(shape: Shape, options: MappingOptions) -> str | None:
    """The type to declare for a column, None where nothing is to be declared.

    A column of several types besides null is left to Fullstory's inference, for the SCHEMA does not
    tell which one a record's value has.
    """
    if options.declare_types == "none":
        return None
    if shape.only == "array":
        element = _scalar_type(shape_of(shape.items))
        declared = element and f"{element}s"
    else:
        element = declared = _scalar_type(shape)
    return None if options.declare_types == "auto" and element in _INFERRED_WELL else declared


def _scalar_type(shape: Shape) -> str | None:
    if shape.only == "string" and shape.format in ("date", "date-time"):
        return "date"
    return _SCALARS.get(shape.only or "")


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
