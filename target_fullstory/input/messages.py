"""One line of input as one Singer message."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from target_fullstory.errors import InputError

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a line that it cannot decode."""


class Envelope(msgspec.Struct):
    """What a message is, which stream it belongs to, and the record of a RECORD message."""

    type: str
    stream: str | None = None
    record: dict[str, Any] | None = None

    @property
    def record_stream(self) -> str | None:
        """The stream of its record; None where it is no RECORD message that has one."""
        return self.stream if self.type == "RECORD" and self.record is not None else None


class _State(msgspec.Struct):
    value: msgspec.Raw


_decode = msgspec.json.Decoder().decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_state = msgspec.json.Decoder(_State).decode
_NAMES: dict[type, str] = {dict: "an object", str: "a string", list: "an array"}
_CHECK_TAP = "Check the tap, or what prints to its standard output."


def peek(line: bytes) -> Envelope | None:
    """What is common to messages, and the record; None where the line needs a closer look."""
    try:
        return _decode_envelope(line)
    except UNREADABLE:
        return None


def parse(line: bytes, number: int) -> dict[str, Any]:
    """Read one message; `number` is the line's, for the error.

    Numbers beyond JSON's usual range, NaN and infinities, and half surrogate pairs, all of which taps in
    Python can write, are read as Python reads them.
    """
    try:
        message = _decode(line)
    except UNREADABLE:
        message = _parse_as_python(line, number)
    if not isinstance(message, dict):
        raise InputError(f"Line {number} of the input is JSON but not an object. {_CHECK_TAP}")
    if not isinstance(message.get("type"), str):
        raise InputError(f"Line {number} of the input has no `type`. {_CHECK_TAP}")
    return message


def _parse_as_python(line: bytes, number: int) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise InputError(
            f"Line {number} of the input is nested too deeply to be read. Flatten or drop the column in "
            "the tap."
        ) from None
    except ValueError:
        raise InputError(f"Line {number} of the input is not JSON. {_CHECK_TAP}") from None


def require(message: dict[str, Any], name: str, kind: type, number: int) -> Any:
    """A message's member of the type it must have, an InputError where it has none."""
    value = message.get(name)
    if not isinstance(value, kind):
        raise InputError(
            f"Line {number} of the input is a {message['type']} message whose `{name}` is missing or not "
            f"{_NAMES[kind]}. {_CHECK_TAP}"
        )
    return value


def require_schema(message: dict[str, Any], number: int) -> None:
    """Check that a SCHEMA message has what every SCHEMA needs."""
    require(message, "stream", str, number)
    schema = require(message, "schema", dict, number)
    require({**schema, "type": message["type"]}, "properties", dict, number)
    keys = message.get("key_properties") or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InputError(
            f"Line {number} of the input is a SCHEMA message whose `key_properties` is not an array of "
            "column names. Check the tap."
        )


def state_value(line: bytes, message: dict[str, Any], number: int) -> bytes:
    """The value of a STATE message as the tap wrote it; `message` is the same line, parsed."""
    require(message, "value", dict, number)
    try:
        return bytes(_decode_state(line).value)
    except UNREADABLE:
        raise InputError(
            f"Line {number} of the input is a STATE message whose value is not plain JSON. {_CHECK_TAP}"
        ) from None
