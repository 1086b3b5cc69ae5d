"""What a tap sends, as events: records of one stream that follow each other, a SCHEMA, a STATE.

Errors in a line come after the events of all lines before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import islice
from typing import Any, Protocol, TypeAlias

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import InputError
from target_fullstory.input.batch_files import record_lines
from target_fullstory.input.messages import UNREADABLE, parse, peek, require, require_schema, state_value
from target_fullstory.logs import logger


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
    """A moment for timed work: after each chunk, and now and then while the tap is silent."""

    bytes_read: int


Event: TypeAlias = Records | Schema | State | Idle


class RecordDecoder(Protocol):
    """Decodes RECORD lines of one stream; raises what `UNREADABLE` lists for any other line."""

    def decode_lines(self, chunk: bytes) -> list[Any]:
        """The records of whole lines."""

    def decode_each(self, lines: Iterable[bytes]) -> Iterator[Any]:
        """The record of each line; goes on behind a line for which it has raised."""


class Reader:
    """Reads chunks of whole lines, None among them where the tap is silent, and the files of BATCH messages.

    Attributes:
        counts: The messages read so far, by type.
    """

    def __init__(self, chunks: Iterable[bytes | None], storage: StorageTarget | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._chunks = chunks
        self._storage = storage
        self._decoders: dict[str, RecordDecoder | None] = {}
        # The stream whose records are expected next, and the number of the last line read.
        self._stream = ""
        self._line = 0

    def decode_with(self, stream: str, decoder: RecordDecoder | None) -> None:
        """Decode a stream's records so from now on; None for plain dictionaries."""
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
            yield Records(self._stream, records, lines)

    def _events_of(self, line: bytes) -> Iterator[Event]:
        """Take a line that is no record of the current stream, or needs a closer look."""
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
