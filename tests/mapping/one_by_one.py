"""The mapper as tests use it: a record at a time, decoded from a line or plain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from target_fullstory.kinds import Kind
from target_fullstory.mapping import (
    Chunk,
    MadeRequest,
    Mapper,
    MappingOptions,
    MappingSpec,
    Rejected,
    compile_mapper,
)

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for lines that are to be mapped as dictionaries."""


@dataclass(frozen=True)
class Mapped:
    """A record that became a request."""

    body: bytes
    key: str | None = None
    timed: bool = False
    dropped: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    kind: Kind | None = None

    def chunk(self, kind: Kind) -> Chunk:
        """The request alone, of its own kind or its stream's."""
        request = msgspec.Raw(self.body)
        return MadeRequest(self.kind or kind, request, self.key, self.timed).chunk


class OneByOne:
    """A mapper that takes one record at a time."""

    def __init__(self, mapper: Mapper) -> None:
        self.mapper = mapper
        self.kind = mapper.kind
        self.notices = mapper.notices
        self.decoder = mapper.decoder

    def map_record(self, record: Any) -> Mapped | Rejected:
        """Maps a plain record, or one of the decoder."""
        rejected: list[tuple[int, Rejected]] = []
        dropped: list[tuple[str, ...]] = []
        undeclared: list[str] = []
        chunks = self.mapper.map(
            [record], lambda *one: rejected.append(one), dropped.append, undeclared.extend
        )
        if rejected:
            assert not chunks
            assert not dropped
            assert not undeclared
            ((index, reason),) = rejected
            assert index == 0
            return reason
        ((names),) = dropped or ((),)
        (chunk,) = chunks
        assert len(chunk.requests) == 1
        (key,) = chunk.keys or (None,)
        kind = None if chunk.kind == self.kind else chunk.kind
        body = msgspec.json.encode(chunk.requests[0])
        return Mapped(body, key, chunk.timed, names, tuple(undeclared), kind)

    def map_line(self, line: bytes) -> Mapped | Rejected:
        """Maps a line through the decoder; raises one of `REFUSED` where it does not take it."""
        assert self.decoder is not None
        (record,) = self.decoder.decode_each([line])
        return self.map_record(record)

    def map_lines(self, lines: bytes) -> tuple[Chunk, list[tuple[int, Rejected]]]:
        """Maps lines through the decoder, all in one chunk; raises as above."""
        assert self.decoder is not None
        rejected: list[tuple[int, Rejected]] = []
        records = self.decoder.decode_lines(lines)
        chunks = self.mapper.map(records, lambda *one: rejected.append(one), lambda _: None)
        (chunk,) = chunks or [Chunk(self.kind, [], [], timed=False)]
        return chunk, rejected


def compile_mapping(
    stream: str,
    spec: MappingSpec,
    schema: dict[str, Any],
    key_properties: Sequence[str],
    options: MappingOptions,
    *,
    validate: bool = False,
) -> OneByOne:
    """Compile a mapping; with `validate` its decoder takes only valid records."""
    violation = (lambda _: None) if validate else None
    return OneByOne(compile_mapper(stream, spec, schema, key_properties, options, violation=violation))
