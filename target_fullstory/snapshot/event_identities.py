"""What an event is known by, beside its request: columns of its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

ALONE = b"="
"""Begins what an event is known by without its request."""

Identity: TypeAlias = Callable[[dict[str, Any]], bytes]
"""What a record adds to its request; with `ALONE` before it, what takes its place."""

_encode_plain = msgspec.json.Encoder(order="deterministic", enc_hook=str).encode


def identity_of(columns: Sequence[str] | None, key_properties: Sequence[str]) -> Identity | None:
    """How events are told apart: by `identity` columns, else by request and key; None: by request alone.

    An event without a value in one of the columns is known by its request and key: a null is no identity.
    """
    names, keys = tuple(columns or ()), tuple(key_properties)
    if not names and not keys:
        return None

    def identity(record: dict[str, Any]) -> bytes:
        values = [_value(record, name) for name in names]
        if values and None not in values:
            return ALONE + _encode(values)
        return _encode([record.get(key) for key in keys])

    return identity


def _encode(values: list[Any]) -> bytes:
    try:
        return _encode_plain(values)
    except UnicodeEncodeError:
        # Half a surrogate pair, which JSON can carry as an escape only.
        return json.dumps(values, sort_keys=True, default=str).encode()


def _value(record: dict[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    value: Any = record
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value
