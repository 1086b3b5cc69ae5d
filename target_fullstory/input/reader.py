"""What a tap sends, as events: records of one stream that follow each other, a SCHEMA, a STATE.

Errors in a line come after the events of all lines before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from io import BytesIO
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import InputError
from target_fullstory.input.batch_files import BatchFile
from target_fullstory.input.message_lines import (
    UNREADABLE,
    UnreadableError,
    decode_record,
    of_objects,
    parse,
    peek,
    require,
    require_schema,
    state_value,
)
from target_fullstory.input.unreadable_records import unreadable_object, unreadable_record
from target_fullstory.mapping import LineDecoder


class Records(msgspec.Struct, frozen=True):
    """Records of one stream that follow each other in the input.

    They are as the stream's decoder makes them; plain dictionaries where there is none, or it refuses the
    line. `lines` makes the list of their lines.
    """

    stream: str
    records: list[Any]
    lines: Callable[[], list[bytes]]


class Unreadable(msgspec.Struct, frozen=True):
    """A record that is there, but cannot be decoded: as text, and why."""

    stream: str
    record: str
    reason: str


class Schema(msgspec.Struct, frozen=True):
    """A SCHEMA message, checked for what every SCHEMA needs."""

    message: dict[str, Any]


class State(msgspec.Struct, frozen=True):
    """The value of a STATE message, as the tap wrote it."""

    value: bytes


class Activated(msgspec.Struct, frozen=True):
    """An ACTIVATE_VERSION message: the tap has sent all of a stream, or is about to."""

    stream: str
    version: Any


class Idle(msgspec.Struct, frozen=True):
    """Time for timed work: after each chunk, and every half second while the tap is silent."""

    bytes_read: int


Event: TypeAlias = Records | Unreadable | Schema | State | Idle


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

    def __iter__(self) -> Iterator[Event | Activated]:
        for chunk in self._chunks:
            if chunk is not None:
                yield from self._events_in(chunk)
            yield Idle(len(chunk or b""))

    def _events_in(self, chunk: bytes) -> Iterator[Event | Activated]:
        """Decode a chunk at once where it holds only records of the current stream, else line by line."""
        decoder = self._decoders.get(self._stream)
        if decoder is None:
            return self._events_by_line(chunk)
        try:
            records = decoder.decode_lines(chunk)
        except UNREADABLE:
            return self._events_by_line(chunk)
        if len(records) != (lines := _count_lines(chunk)):
            return self._events_by_line(chunk)
        self._line += lines
        return self._go_on(records, BytesIO(chunk).readlines)

    def _events_by_line(self, chunk: bytes) -> Iterator[Event | Activated]:
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

    def _events_of(self, line: bytes) -> Iterator[Event | Activated]:
        """Take a line that is not a record of the current stream, or needs the slower parser."""
        try:
            message = parse(line, self._line)
        except UnreadableError as error:
            found = unreadable_record(line)
            if found is None:
                raise
            self.counts["RECORD"] += 1
            yield Unreadable(found.stream, found.text, str(error))
            return
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
            # Fullstory keeps no table versions; but a tap says so that it has sent all of a stream.
            yield Activated(str(message.get("stream")), message.get("version"))
        else:
            raise InputError(f"Line {self._line} of the input has the unknown type {kind!r:.40}.")
        self.counts[kind] += 1

    def _events_in_files(self, message: dict[str, Any]) -> Iterator[Event | Activated]:
        for name, kind in (("stream", str), ("encoding", dict), ("manifest", list)):
            require(message, name, kind, self._line)
        if not all(isinstance(url, str) for url in message["manifest"]):
            raise InputError(
                f"Line {self._line} of the input is a BATCH message whose `manifest` is not an array of "
                "addresses. Check the tap."
            )
        self._stream = message["stream"]
        for url in message["manifest"]:
            file = BatchFile(message, url, self._storage)
            line = 0
            for chunk in file.chunks():
                yield from self._records_of(chunk, file.name, line)
                line += _count_lines(chunk)
                yield Idle(0)

    def _records_of(self, chunk: bytes, file: str, line: int) -> Iterator[Event | Activated]:
        """The records of a BATCH file, one a line; `line` is the number of those before them."""
        decoder = self._decoders.get(self._stream)
        of_records = decoder.of_records if decoder else of_objects
        try:
            records = of_records.decode_lines(chunk)
        except UNREADABLE:
            records = []
        lines = BytesIO(chunk).readlines
        if len(records) == _count_lines(chunk):
            yield from self._go_on_in_file(records, lines)
            return
        records, kept = [], []
        for number, text in enumerate(lines(), start=line + 1):
            if text.isspace():
                continue
            try:
                records.append(decode_record(text, of_records, f"Line {number} of the BATCH file {file}"))
                kept.append(text)
            except InputError as error:
                yield from self._go_on_in_file(records, kept.copy)
                records, kept = [], []
                unreadable = unreadable_object(text) if isinstance(error, UnreadableError) else None
                if unreadable is None:
                    raise
                self.counts["RECORD"] += 1
                yield Unreadable(self._stream, unreadable, str(error))
        yield from self._go_on_in_file(records, kept.copy)

    def _go_on_in_file(self, records: list[Any], lines: Callable[[], list[bytes]]) -> Iterator[Records]:
        """Pass on the records of a BATCH file, and their lines as the messages that they stand for."""
        return self._go_on(records, lambda: list(map(self._message_of, lines())))

    def _message_of(self, record: bytes) -> bytes:
        """The RECORD message of a line that is one object and nothing else."""
        stream = msgspec.json.encode(self._stream)
        return b'{"type":"RECORD","stream":%s,"record":%s}' % (stream, record.strip())


def _count_lines(chunk: bytes) -> int:
    # Several times as fast as `count`.
    return len(chunk) - len(chunk.replace(b"\n", b"")) + (not chunk.endswith(b"\n"))
