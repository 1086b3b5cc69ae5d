"""Declared property types: what Fullstory should not have to infer."""

from __future__ import annotations

import re
from typing import Any, Final

from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN

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

_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_ZEROES = str.maketrans("123456789", "000000000")


def is_iso_8601(value: Any) -> bool:
    """Whether a value is text of the shape Fullstory reads as a date."""
    return isinstance(value, str) and _ISO_8601.fullmatch(value) is not None


def are_iso_8601(texts: list[str | None]) -> bool:
    """Whether all of these texts, or nulls, are of that shape; a False may be wrong."""
    present = [text for text in texts if text is not None] if None in texts else texts
    return not present or is_iso_8601(common_shape(present))


def common_shape(texts: list[Any]) -> str | None:
    """The texts' common shape, each of their digits 0; None where they have several, or none is there."""
    if not texts:
        return None
    shape: str = texts[0].translate(_ZEROES)
    # Most columns write all their moments alike: then one comparison is enough for all.
    if "".join(texts).translate(_ZEROES) != shape * len(texts):
        return None
    return shape if set(map(len, texts)) == {len(shape)} else None


def fitting(declared: str | None, value: Any) -> tuple[Any, str | None]:
    """Fit a value to its column's declared type.

    Returns:
        The value to send and the type to declare with it. The value is the record's own, but for an
        integral float of an int column, which becomes an int; the type is None where the value does
        not fit: an integer beyond 64 bits, text that is no date, a value of another type.
    """
    if declared is None or value is None:
        return value, None
    if isinstance(value, list):
        if declared not in TYPES[5:]:
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
