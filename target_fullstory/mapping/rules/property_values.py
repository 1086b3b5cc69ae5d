"""Values: what Fullstory can take of a record's, and in which form."""

from __future__ import annotations

import math
from datetime import date, time
from decimal import Decimal
from typing import Any, Final

import msgspec

MAX_VALUE_BYTES = 8192
"""Bytes in one property's value, written as UTF-8."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class LeftOut:
    """The type of `LEFT_OUT`."""


LEFT_OUT: Final = LeftOut()
"""Stands for a value that Fullstory cannot take."""

# `decimal_format` so that a Decimal within an array of objects stays a number.
_ENCODE = msgspec.json.Encoder(decimal_format="number").encode


def text_of(value: Any) -> str | None:
    """An identifier or a name as text, whatever the column's type.

    Integers and integral floats are written plainly, booleans as `true` and `false`, dates as ISO 8601.

    Returns:
        The text; None for null, the empty string, objects, arrays, NaN, infinities and text that
        UTF-8 cannot hold.
    """
    if isinstance(value, str):
        return value if value and (value.isascii() or encodable(value)) else None
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    number = number_of(value)
    if isinstance(number, float):
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(number, int):
        return str(number)
    return value.isoformat() if isinstance(value, (date, time)) else None


def number_of(value: Any) -> int | float | None:
    """A number that JSON and a double can hold; None for anything else, booleans included."""
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    if isinstance(value, Decimal) and value.is_finite():
        value = int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            float(value)
        except OverflowError:
            return None
        return value
    return None


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold the text: a lone surrogate cannot be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def leaf_of(value: Any) -> Any:
    """A property's value, other than null or an object, in the form Fullstory takes.

    Strings, numbers and booleans stay; dates and times become ISO 8601 text; an array loses its
    nulls, and becomes one JSON string where it holds objects or arrays.

    Returns:
        The value, or `LEFT_OUT` for NaN, infinities and numbers beyond a double, for text that
        UTF-8 cannot hold, for arrays with such an element and for values over `MAX_VALUE_BYTES`.
    """
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is bool or (kind is int and INT64_MIN <= value <= INT64_MAX):
        return value
    if kind is float:
        return value if math.isfinite(value) else LEFT_OUT
    if isinstance(value, (list, tuple)):
        return _array(value)
    leaf = scalar_of(value)
    return _text(leaf) if isinstance(leaf, str) else leaf


TEXT_TEST: Final = f"len({{v}}) <= {MAX_VALUE_BYTES}"
"""The test of ASCII text that `leaf_of` gives back as it is."""


def _text(text: str) -> Any:
    if len(text) > MAX_VALUE_BYTES:
        return LEFT_OUT
    if text.isascii():
        return text
    try:
        return text if len(text.encode()) <= MAX_VALUE_BYTES else LEFT_OUT
    except UnicodeEncodeError:
        return LEFT_OUT


def scalar_of(value: Any) -> Any:
    """Text, a number, a boolean or a moment as JSON can hold it, `LEFT_OUT` for anything else."""
    if isinstance(value, str):
        return value if value.isascii() or encodable(value) else LEFT_OUT
    if isinstance(value, bool):
        return value
    if isinstance(value, (date, time)):
        return value.isoformat()
    number = number_of(value)
    return LEFT_OUT if number is None else number


_PLAIN = frozenset({str, bool})


def _array(value: list[Any] | tuple[Any, ...]) -> Any:
    present = [item for item in value if item is not None]
    kinds = set(map(type, present))
    if kinds <= _PLAIN:
        # Text that UTF-8 cannot hold cannot be written as JSON either.
        return LEFT_OUT if _json(present) is None else present
    if any(issubclass(kind, (dict, list, tuple)) for kind in kinds):
        encoded = _json(present)
        return LEFT_OUT if encoded is None else encoded.decode()
    items = [scalar_of(item) for item in present]
    if any(item is LEFT_OUT for item in items):
        return LEFT_OUT
    return LEFT_OUT if _json(items) is None else items


def _json(items: list[Any]) -> bytes | None:
    """The array as JSON; None where it cannot be written or is too large."""
    encoded = _encoded(items)
    return encoded if encoded is not None and len(encoded) <= MAX_VALUE_BYTES else None


def json_text(value: Any) -> str | None:
    """An object or an array as JSON text; None where it cannot be written."""
    encoded = _encoded(value)
    return None if encoded is None else encoded.decode()


def _encoded(value: Any) -> bytes | None:
    try:
        return _ENCODE(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
