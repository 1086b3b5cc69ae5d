"""Declared property types: what Fullstory should not have to infer."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, Final

from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN
from target_fullstory.mapping.rules.timestamps import moment_of

TYPES: Final = ("str", "int", "real", "bool", "date", "strs", "ints", "reals", "bools", "dates")
"""The types that can be declared."""

INFERRED_WELL: Final = frozenset({"str", "real", "bool", "strs", "reals", "bools"})
"""Those that Fullstory infers of their values."""

ALWAYS_FIT: Final = {
    "int": {"integer"},
    "real": {"integer", "number"},
    "bool": {"boolean"},
    "str": {"string"},
}
"""By declared type, the JSON types of which every value fits unchanged."""


def fitting(declared: str | None, value: Any, zone: tzinfo | None = None) -> tuple[Any, str | None]:
    """Fit a value to its column's declared type.

    Returns:
        The value to send and the type to declare with it. The value is the record's own, but for an
        integral float of an int column, which becomes an int, and for dates, which become RFC 3339; the
        type is None where the value does not fit: an integer beyond 64 bits, text that is no date, a value
        of another type.
    """
    if declared is None or value is None:
        return value, None
    if isinstance(value, list):
        if declared not in TYPES[5:]:
            return value, None
        fitted = [_fitting_scalar(declared[:-1], item, zone) for item in value]
        return (value, None) if None in fitted else (fitted, declared)
    item = _fitting_scalar(declared, value, zone)
    return (value, None) if item is None else (item, declared)


def _fitting_scalar(declared: str, value: Any, zone: tzinfo | None) -> Any:
    """The value as one of the declared type, None where it is not."""
    if isinstance(value, bool):
        return value if declared == "bool" else None
    if declared == "int":
        return _whole(value)
    if declared == "real":
        return value if isinstance(value, (int, float)) else None
    if declared == "str":
        return value if isinstance(value, str) else None
    return moment_of(value, zone) if declared == "date" and isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and INT64_MIN <= value <= INT64_MAX else None
