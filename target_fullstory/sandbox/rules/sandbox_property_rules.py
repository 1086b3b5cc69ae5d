"""Custom properties of users and events: their names, values and declared types.

Decisions where Fullstory's documentation leaves the outcome open:

- a name that breaks the rules, a value of a kind that is not supported (an array of objects, of arrays
  or with a null in it), an unknown declared type, and a value that contradicts its declared type refuse
  the request;
- a string or array over 8,192 bytes is left out and the rest is taken; the size is that of one value,
  not of the nested object around it;
- a declared type for a property that the request does not carry is kept for later values;
- nested objects merge name by name, since a dotted name is a property of its own.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec

from target_fullstory.sandbox.rules.refusals import invalid

MAX_NAME_LENGTH = 512
MAX_VALUE_BYTES = 8192
MAX_USER_PROPERTIES = 500

_BYTES_PER_CHARACTER = 4
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ]([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_SCALARS = frozenset({str, int, float, bool})
_MAX_REMEMBERED_NAMES = 20_000

# Valid names repeat in every record of a batch; matching each of them again is what costs.
_valid_names: set[str] = set()


def is_date(value: object) -> bool:
    """Tells whether a value is an ISO 8601 date, with or without a time.

    Args:
        value: Any JSON value.

    Returns:
        Whether it is one.
    """
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def _is_int(value: object) -> bool:
    return (type(value) is int) or (isinstance(value, float) and value.is_integer())


def _is_real(value: object) -> bool:
    return type(value) in {int, float}


_TYPES = {
    "str": lambda value: isinstance(value, str),
    "int": _is_int,
    "real": _is_real,
    "bool": lambda value: isinstance(value, bool),
    "date": is_date,
}
TYPE_NAMES = frozenset({*_TYPES, *(f"{name}s" for name in _TYPES)})


def check_properties(
    properties: dict[str, Any], declared: dict[str, Any] | None
) -> tuple[dict[str, Any], int]:
    """Applies the rules of custom properties.

    Args:
        properties: The request's properties.
        declared: The request's `schema.properties`.

    Returns:
        The properties to store, and how many were left out for their size.

    Raises:
        ApiError: The request is to be refused.
    """
    kept, dropped = _check_object(properties, "")
    if declared:
        _check_declared(properties, declared)
    return kept, dropped


def _check_object(properties: dict[str, Any], prefix: str) -> tuple[dict[str, Any], int]:
    too_large: list[str] = []
    nested: dict[str, dict[str, Any]] = {}
    dropped = 0
    for name, value in properties.items():
        if prefix or name not in _valid_names:
            _check_name(name, prefix)
        kind = type(value)
        if kind is str:
            if (
                len(value) * _BYTES_PER_CHARACTER > MAX_VALUE_BYTES
                and _size(value) > MAX_VALUE_BYTES
            ):
                too_large.append(name)
        elif kind is dict:
            nested[name], within = _check_object(value, f"{prefix}{name}.")
            dropped += within
        elif kind is list:
            _check_array(value, f"{prefix}{name}")
            if len(msgspec.json.encode(value)) > MAX_VALUE_BYTES:
                too_large.append(name)
    if too_large or dropped:
        properties = {**properties, **nested}
        for name in too_large:
            del properties[name]
    return properties, dropped + len(too_large)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _check_name(name: str, prefix: str) -> None:
    if len(prefix) + len(name) > MAX_NAME_LENGTH:
        raise invalid(
            "property_name_too_long",
            f"A property name is longer than {MAX_NAME_LENGTH} characters: "
            f"{prefix[:40]}{name[:40]}…",
        )
    if not _NAME.fullmatch(name):
        raise invalid(
            "invalid_property_name",
            f"Property name {prefix + name!r}: letters, digits and _ only, beginning with a letter",
        )
    if not prefix and len(_valid_names) < _MAX_REMEMBERED_NAMES:
        _valid_names.add(name)


def _check_array(values: list[Any], name: str) -> None:
    for value in values:
        if type(value) not in _SCALARS:
            raise invalid(
                "invalid_property_value",
                f"Property {name!r}: an array may hold strings, numbers and booleans only",
            )


def _check_declared(properties: dict[str, Any], declared: dict[str, Any]) -> None:
    for name, type_name in declared.items():
        if not isinstance(type_name, str) or type_name not in TYPE_NAMES:
            raise invalid(
                "invalid_schema_type", f"Schema of {name!r}: {type_name!r} is no type of a property"
            )
        value = _value_at(properties, name)
        if value is not None and not _has_type(value, type_name):
            raise invalid(
                "type_mismatch",
                f"Property {name!r}: the value is not of its declared type {type_name}",
            )


def _value_at(properties: dict[str, Any], dotted: str) -> Any:
    if "." not in dotted:
        return properties.get(dotted)
    value: Any = properties
    for name in dotted.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _has_type(value: Any, type_name: str) -> bool:
    scalar = _TYPES.get(type_name)
    if scalar is not None:
        return bool(scalar(value))
    each = _TYPES[type_name[:-1]]
    return isinstance(value, list) and all(each(item) for item in value)


def merge(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Merges properties: the newer value of a name wins, other names stay.

    Args:
        older: The properties stored.
        newer: The properties of a request.

    Returns:
        The merged properties; the arguments are left as they were.
    """
    if not older:
        return newer
    merged = {**older, **newer}
    for name, value in newer.items():
        if type(value) is dict:
            before = older.get(name)
            if type(before) is dict:
                merged[name] = merge(before, value)
    return merged


def schema_of(properties: dict[str, Any], declared: dict[str, str]) -> dict[str, str]:
    """Tells the type of each property.

    Args:
        properties: The properties stored.
        declared: The types declared for them so far.

    Returns:
        Dotted name to type: the one declared, else the one inferred.
    """
    schema: dict[str, str] = {}
    _infer(properties, "", schema)
    return {**schema, **{name: kind for name, kind in declared.items() if name in schema}}


def _infer(properties: dict[str, Any], prefix: str, schema: dict[str, str]) -> None:
    for name, value in properties.items():
        if isinstance(value, dict):
            _infer(value, f"{prefix}{name}.", schema)
        elif isinstance(value, list):
            if value:
                schema[prefix + name] = f"{_inferred(value[0])}s"
        elif value is not None:
            schema[prefix + name] = _inferred(value)


def _inferred(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "str" if isinstance(value, str) else "real"
