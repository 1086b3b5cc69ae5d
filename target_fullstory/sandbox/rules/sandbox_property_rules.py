"""Custom properties of users and events: rules for their names, values and declared types.

Decisions where Fullstory's documentation leaves the outcome open:

- a request is refused for a name that breaks the rules, a value of a kind that is not supported (an array
  that holds objects, arrays or nulls), an unknown declared type, or a value that contradicts its declared
  type;
- a string or array over 8,192 bytes is dropped and the rest is taken; the size is that of one value,
  not of the nested object around it;
- a declared type for a property that the request does not carry is kept for later values;
- nested objects merge name by name, since a dotted name is a property of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import msgspec

from target_fullstory.sandbox.rules.refusals import invalid
from target_fullstory.sandbox.rules.sandbox_request_shapes import EventRequest, UserRequest

MAX_NAME_LENGTH = 512
MAX_VALUE_BYTES = 8192
MAX_USER_PROPERTIES = 500

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ]([01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
)
_SCALARS = frozenset({str, int, float, bool})
_MAX_REMEMBERED_NAMES = 20_000

# The same names come with every record of a batch; matching them again each time would be slow.
_valid_names: set[str] = set()


def is_date(value: object) -> bool:
    """Whether a JSON value is an ISO 8601 date, with or without a time."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


_TYPES: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int or (isinstance(value, float) and value.is_integer()),
    "real": lambda value: type(value) in {int, float},
    "bool": lambda value: isinstance(value, bool),
    "date": is_date,
}
TYPE_NAMES = frozenset({*_TYPES, *(f"{name}s" for name in _TYPES)})


def check_properties(request: UserRequest | EventRequest) -> int:
    """Apply the rules to a request's properties and remove the oversized ones; returns how many."""
    declared = request.schema.properties if request.schema is not None else None
    if request.properties is None and not declared:
        return 0
    properties = request.properties or {}
    request.properties, dropped = _check_object(properties, "")
    if declared:
        _check_declared(properties, declared)
    return dropped


def _check_object(properties: dict[str, Any], prefix: str) -> tuple[dict[str, Any], int]:
    too_large: list[str] = []
    nested: dict[str, dict[str, Any]] = {}
    dropped = 0
    for name, value in properties.items():
        if prefix or name not in _valid_names:
            _check_name(name, prefix)
        kind = type(value)
        if kind is str:
            may_be_large = 4 * len(value) > MAX_VALUE_BYTES  # spares most strings the encoding
            if may_be_large and len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
                too_large.append(name)
        elif kind is dict:
            nested[name], within = _check_object(value, f"{prefix}{name}.")
            dropped += within
        elif kind is list:
            if not _SCALARS.issuperset(map(type, value)):
                message = "an array may hold strings, numbers and booleans only"
                raise invalid("invalid_property_value", f"Property {prefix + name!r}: {message}")
            if len(msgspec.json.encode(value)) > MAX_VALUE_BYTES:
                too_large.append(name)
    if too_large or dropped:
        properties = {**properties, **nested}
        for name in too_large:
            del properties[name]
    return properties, dropped + len(too_large)


def _check_name(name: str, prefix: str) -> None:
    if len(prefix) + len(name) > MAX_NAME_LENGTH:
        raise invalid(
            "property_name_too_long",
            f"A property name is longer than {MAX_NAME_LENGTH} characters: {prefix[:40]}{name[:40]}…",
        )
    if not _NAME.fullmatch(name):
        raise invalid(
            "invalid_property_name",
            f"Property name {prefix + name!r}: letters, digits and _ only, beginning with a letter",
        )
    if not prefix and len(_valid_names) < _MAX_REMEMBERED_NAMES:
        _valid_names.add(name)


def _check_declared(properties: dict[str, Any], declared: dict[str, Any]) -> None:
    for name, type_name in declared.items():
        if not isinstance(type_name, str) or type_name not in TYPE_NAMES:
            raise invalid(
                "invalid_schema_type", f"Schema of {name!r}: {type_name!r} is no type of a property"
            )
        value = _value_at(properties, name)
        if value is not None and not _has_type(value, type_name):
            raise invalid(
                "type_mismatch", f"Property {name!r}: the value is not of its declared type {type_name}"
            )


def _value_at(properties: dict[str, Any], dotted: str) -> Any:
    value: Any = properties
    for name in dotted.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _has_type(value: Any, type_name: str) -> bool:
    fits = _TYPES[type_name.removesuffix("s")]
    if type_name in _TYPES:
        return fits(value)
    return isinstance(value, list) and all(map(fits, value))


def merge(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    """Merge properties into new ones: the newer value of a name wins, other names stay."""
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
    """Map the dotted name of each property to its type: the one declared, else the one inferred."""
    return {name: declared.get(name, kind) for name, kind in _inferred_types(properties, "")}


def _inferred_types(properties: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in properties.items():
        if isinstance(value, dict):
            yield from _inferred_types(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if value:
                yield prefix + name, f"{_inferred_type(value[0])}s"
        elif value is not None:
            yield prefix + name, _inferred_type(value)


def _inferred_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "str" if isinstance(value, str) else "real"
