"""Records of one stream that follow each other in the input, on their way to the run together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from target_fullstory.mapping import Chunk, Mapped, chunk_of


@dataclass
class Stretch:
    """Records in their order.

    Attributes:
        records: Those that the fast path has decoded.
        lines: Their lines.
        careful: Those to be mapped with care: how many of `records` came before it, and the record.
    """

    records: list[Any] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    careful: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def halves(self) -> Iterator[Stretch]:
        """The stretch in two parts."""
        middle = len(self.records) // 2
        yield Stretch(
            self.records[:middle],
            self.lines[:middle],
            [(at, record) for at, record in self.careful if at < middle],
        )
        yield Stretch(
            self.records[middle:],
            self.lines[middle:],
            [(at - middle, record) for at, record in self.careful if at >= middle],
        )

    def carefully(self, record: dict[str, Any]) -> Stretch:
        """The stretch with its only fast record, as parsed, among those to be mapped with care."""
        before = [(0, other) for at, other in self.careful if not at]
        behind = [(0, other) for at, other in self.careful if at]
        return Stretch(careful=[*before, (0, record), *behind])


def in_order(chunk: Chunk, careful: list[tuple[int, Mapped]]) -> Iterator[Chunk]:
    """The requests of a stretch in its order.

    Args:
        chunk: Those of its fast records.
        careful: Those mapped with care: how many fast ones came before it, and the request.

    Yields:
        Chunks, and alone what is of another kind than the stream.
    """
    requests: list[Any] = []
    keys: list[str] = []
    timed = (chunk.timed or not chunk.requests) and all(mapped.timed for _, mapped in careful)
    done = 0
    for at, mapped in careful:
        requests += chunk.requests[done:at]
        keys += chunk.keys[done:at]
        done = at
        if mapped.kind is not None:
            if requests:
                yield Chunk(chunk.kind, requests, keys, timed)
            requests, keys = [], []
            yield chunk_of(mapped.kind, mapped)
            continue
        requests.append(msgspec.Raw(mapped.body))
        if mapped.key is not None:
            keys.append(mapped.key)
    requests += chunk.requests[done:]
    if requests:
        yield Chunk(chunk.kind, requests, keys + chunk.keys[done:], timed)
