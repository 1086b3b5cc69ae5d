"""One line of the input: a Singer message, or what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from target_fullstory.errors import InputError

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a line that it cannot decode."""


class UnreadableError(InputError):
    """A line that is nested too deeply, or holds too long a number, to be decoded."""


class Envelope(msgspec.Struct):
    """The type of a message, its stream, and the record of a RECORD message."""

    type: str
    stream: str | None = None
    record: dict[str, Any] | None = None

    @property
    def record_stream(self) -> str | None:
        """The stream of its record; None for any other message."""
        return self.stream if self.type == "RECORD" and self.record is not None else None


class _State(msgspec.Struct):
    value: msgspec.Raw


_decode = msgspec.json.Decoder().decode
of_objects: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict[str, Any])
"""Decodes an object to a dictionary."""

_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_state = msgspec.json.Decoder(_State).decode
_NAMES: dict[type, str] = {dict: "an object", str: "a string", list: "an array"}
_CHECK_TAP = "Check the tap, or what prints to its standard output."


def peek(line: bytes) -> Envelope | None:
    """What is common to messages, and the record; None where the line needs `parse`."""
    try:
        return _decode_envelope(line)
    except UNREADABLE:
        return None


def parse(line: bytes, number: int) -> dict[str, Any]:
    """Read one message; `number` is the line's, for the error.

    Numbers beyond JSON's usual range, NaN and infinities, and half surrogate pairs, all of which taps in
    Python can write, are read as Python reads them.

    Raises:
        InputError: It is none.
        UnreadableError: It might be one, but cannot be decoded.
    """
    place = f"Line {number} of the input"
    try:
        message = _decode(line)
    except UNREADABLE:
        message = _parse_as_python(line, place)
    if not isinstance(message, dict):
        raise InputError(f"{place} is JSON but not an object. {_CHECK_TAP}")
    if not isinstance(message.get("type"), str):
        raise InputError(f"{place} has no `type`. {_CHECK_TAP}")
    return message


def decode_record(line: bytes, decoder: msgspec.json.Decoder[Any], place: str) -> Any:
    """Read a record that is a line of its own; a dictionary where the decoder refuses it.

    Errors as of `parse`; they begin with the `place`.
    """
    for attempt in (decoder.decode, of_objects.decode):
        try:
            return attempt(line)
        except UNREADABLE:
            pass
    record = _parse_as_python(line, place)
    if not isinstance(record, dict):
        raise InputError(f"{place} is JSON but not an object. Check the tap.")
    return record


def _parse_as_python(line: bytes, place: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise UnreadableError(
            f"{place} is nested too deeply to be read. Flatten or drop the column in the tap."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(f"{place} is not JSON. {_CHECK_TAP}") from None
    except ValueError:
        raise UnreadableError(
            f"{place} holds an integer of thousands of digits. Drop the column in the tap, or make it text."
        ) from None


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
    """Check that a SCHEMA message has what every SCHEMA needs; the schema itself is repaired elsewhere."""
    stream = require(message, "stream", str, number)
    try:
        stream.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"Line {number} of the input is a SCHEMA message whose `stream` is {stream!a}, which is not "
            "Unicode text. Rename the stream in the tap."
        ) from None
    schema = require(message, "schema", dict, number)
    if "$ref" not in schema:
        require({**schema, "type": message["type"]}, "properties", dict, number)
    keys = message.get("key_properties") or []
    if isinstance(keys, str):
        return
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
