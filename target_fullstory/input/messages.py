"""One line of input to one Singer message."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from target_fullstory.errors import InputError

_decoder = msgspec.json.Decoder()


class Kinship(msgspec.Struct):
    """What a message is and which stream it belongs to, without reading the rest."""

    type: str
    stream: str | None = None


_kinship = msgspec.json.Decoder(Kinship)


def peek(line: bytes) -> Kinship | None:
    """A message's type and stream; None where the line needs a closer look."""
    try:
        return _kinship.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class _Record(msgspec.Struct):
    type: str
    stream: str
    record: dict[str, Any]


_record = msgspec.json.Decoder(_Record)


def record_in(line: bytes, stream: str) -> dict[str, Any] | None:
    """The record of a stream's RECORD message; None for any other, and where the line needs a closer look."""
    try:
        message = _record.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return message.record if message.type == "RECORD" and message.stream == stream else None


def parse(line: bytes, number: int) -> dict[str, Any]:
    """Read one message.

    Numbers beyond JSON's usual range, NaN and infinities, and half surrogate pairs, all of which taps in
    Python can write, are read as Python reads them.

    Args:
        line: The line.
        number: Its number in the input, for the error.

    Raises:
        InputError: The line is not a JSON object with a `type`.
    """
    try:
        message = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _parse_as_python(line, number)
    if not isinstance(message, dict):
        raise InputError(f"Line {number} of the input is JSON but not an object. {_CHECK_TAP}")
    if not isinstance(message.get("type"), str):
        raise InputError(f"Line {number} of the input has no `type`. {_CHECK_TAP}")
    return message


def member(message: dict[str, Any], name: str, kind: type, number: int) -> Any:
    """A message's member of the type it must have.

    Args:
        message: The message.
        name: The member.
        kind: Its Python type.
        number: The line's number, for the error.

    Raises:
        InputError: It is absent or of another type.
    """
    value = message.get(name)
    if not isinstance(value, kind):
        raise InputError(
            f"Line {number} of the input is a {message['type']} message whose `{name}` is missing or not "
            f"{_NAMES[kind]}. {_CHECK_TAP}"
        )
    return value


def state_value(line: bytes, message: dict[str, Any], number: int) -> bytes:
    """The value of a STATE message as the tap wrote it.

    Args:
        line: The line.
        message: The same, parsed.
        number: The line's number, for the error.

    Raises:
        InputError: The value is missing or not an object.
    """
    member(message, "value", dict, number)
    try:
        return bytes(_state.decode(line).value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InputError(
            f"Line {number} of the input is a STATE message whose value is not plain JSON. {_CHECK_TAP}"
        ) from None


class _State(msgspec.Struct):
    value: msgspec.Raw


_state = msgspec.json.Decoder(_State)
_NAMES: dict[type, str] = {dict: "an object", str: "a string", list: "an array"}
_CHECK_TAP = "Check the tap, or what prints to its standard output."


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
