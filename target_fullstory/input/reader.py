"""What a tap sends, as events: records of one stream that follow each other, a SCHEMA, a STATE.

Errors in a line come after the events of all lines before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from io import BytesIO
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import InputError
from target_fullstory.input.batch_files import record_lines
from target_fullstory.logs import logger
from target_fullstory.mapping import LineDecoder

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a line that it cannot decode."""


class Records(msgspec.Struct, frozen=True):
    """Records of one stream that follow each other in the input.

    They are as the stream's decoder makes them; plain dictionaries where there is none, or it refuses the
    line. `lines` makes the list of their lines.
    """

    stream: str
    records: list[Any]
    lines: Callable[[], list[bytes]]


class Schema(msgspec.Struct, frozen=True):
    """A SCHEMA message, checked for what every SCHEMA needs."""

    message: dict[str, Any]


class State(msgspec.Struct, frozen=True):
    """The value of a STATE message, as the tap wrote it."""

    value: bytes


class Idle(msgspec.Struct, frozen=True):
    """Time for timed work: after each chunk, and every half second while the tap is silent."""

    bytes_read: int


Event: TypeAlias = Records | Schema | State | Idle


class Reader:
    """Reads chunks of whole lines, None among them where the tap is silent, and the files of BATCH messages.

    `counts` holds the number of messages read so far, by type.
    """

    def __init__(self, chunks: Iterable[bytes | None], storage: StorageTarget | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._chunks = chunks
        self._storage = storage
        self._decoders: dict[str, LineDecoder | None] = {}
        # The stream whose records are expected next, and the number of the last line read.
        self._stream = ""
        self._line = 0

    def decode_with(self, stream: str, decoder: LineDecoder | None) -> None:
        """Decode a stream's records with this from now on; None for plain dictionaries."""
        self._decoders[stream] = decoder

    def __iter__(self) -> Iterator[Event]:
        for chunk in self._chunks:
            if chunk is not None:
                yield from self._events_in(chunk)
            yield Idle(len(chunk or b""))

    def _events_in(self, chunk: bytes) -> Iterator[Event]:
        """Decode a chunk at once where it holds only records of the current stream, else line by line."""
        decoder = self._decoders.get(self._stream)
        if decoder is None:
            return self._events_by_line(chunk)
        try:
            records = decoder.decode_lines(chunk)
        except UNREADABLE:
            return self._events_by_line(chunk)
        # Several times as fast as `count`.
        self._line += len(chunk) - len(chunk.replace(b"\n", b""))
        return self._go_on(records, lambda: [line for line in BytesIO(chunk) if not line.isspace()])

    def _events_by_line(self, chunk: bytes) -> Iterator[Event]:
        # Several times as fast as `split`.
        lines = BytesIO(chunk).readlines()
        at = 0
        while at < len(lines):
            records, kept, at = self._records_from(lines, at)
            yield from self._go_on(records, kept.copy)
            if at == len(lines):
                return
            line = lines[at]
            envelope = peek(line)
            stream = envelope.record_stream if envelope else None
            if stream is not None and stream != self._stream:
                self._stream = stream
                continue
            self._line += 1
            at += 1
            yield from self._events_of(line)

    def _records_from(self, lines: list[bytes], at: int) -> tuple[list[Any], list[bytes], int]:
        """The records of the current stream from a line on, their lines, and the place of the next line."""
        records: list[Any] = []
        kept: list[bytes] = []
        begin, decoder = at, self._decoders.get(self._stream)
        decoded = decoder.decode_each(islice(lines, at, None)) if decoder else iter(())
        while at < len(lines):
            known = len(records)
            try:  # noqa: SIM105 - `suppress` takes several times as long, and this is for each dirty record
                # What comes before a line that is refused stays in the list.
                records.extend(decoded)
            except UNREADABLE:
                pass
            end = at + len(records) - known
            kept += lines[at:end]
            at = end
            if at == len(lines):
                break
            if not lines[at].isspace():
                envelope = peek(lines[at])
                if envelope is None or envelope.record_stream != self._stream:
                    break
                records.append(envelope.record)
                kept.append(lines[at])
            at += 1
        self._line += at - begin
        return records, kept, at

    def _go_on(self, records: list[Any], lines: Callable[[], list[bytes]]) -> Iterator[Records]:
        if records:
            self.counts["RECORD"] += len(records)
            # Made once at most: each rejected record asks for them.
            yield Records(self._stream, records, cache(lines))

    def _events_of(self, line: bytes) -> Iterator[Event]:
        """Take a line that is not a record of the current stream, or needs the slower parser."""
        message = parse(line, self._line)
        kind = message["type"]
        if kind == "RECORD":
            self._stream = require(message, "stream", str, self._line)
            record = require(message, "record", dict, self._line)
            yield from self._go_on([record], lambda: [line])
            return
        if kind == "SCHEMA":
            require_schema(message, self._line)
            yield Schema(message)
        elif kind == "STATE":
            yield State(state_value(line, message, self._line))
        elif kind == "BATCH":
            yield from self._events_in_files(message)
        elif kind == "ACTIVATE_VERSION":
            # Fullstory keeps no table versions.
            logger.debug("ACTIVATE_VERSION of stream %s: nothing to do", message.get("stream"))
        else:
            raise InputError(f"Line {self._line} of the input has the unknown type {kind!r:.40}.")
        self.counts[kind] += 1

    def _events_in_files(self, message: dict[str, Any]) -> Iterator[Event]:
        for name, kind in (("stream", str), ("encoding", dict), ("manifest", list)):
            require(message, name, kind, self._line)
        self._stream, line = message["stream"], self._line
        for chunk in record_lines(message, self._storage):
            yield from self._events_in(chunk)
            # An error names the line of the BATCH message.
            self._line = line
            yield Idle(0)


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
    """Check that a SCHEMA message has what every SCHEMA needs; the schema itself is repaired elsewhere."""
    require(message, "stream", str, number)
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
