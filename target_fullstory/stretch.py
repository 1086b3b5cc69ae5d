"""Records of one stream that follow each other in the input, on their way to the pipeline together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from target_fullstory.mapping import Chunk, Mapped


@dataclass
class Stretch:
    """Records in their order.

    Attributes:
        records: Those that the fast path has decoded.
        lines: Their lines.
        careful: Those mapped with care: how many of `records` came before it, and its request.
    """

    records: list[Any] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    careful: list[tuple[int, Mapped]] = field(default_factory=list)

    def halves(self) -> Iterator[Stretch]:
        """The stretch in two parts."""
        middle = len(self.records) // 2
        yield Stretch(
            self.records[:middle],
            self.lines[:middle],
            [(at, mapped) for at, mapped in self.careful if at < middle],
        )
        yield Stretch(
            self.records[middle:],
            self.lines[middle:],
            [(at - middle, mapped) for at, mapped in self.careful if at >= middle],
        )

    def with_careful(self, chunk: Chunk) -> Chunk:
        """The requests of the whole stretch, in its order.

        Args:
            chunk: The requests of `records`.
        """
        requests: list[Any] = []
        keys: list[str] = []
        timed = chunk.timed or not chunk.requests
        done = 0
        for at, mapped in self.careful:
            requests += chunk.requests[done:at]
            keys += chunk.keys[done:at]
            requests.append(msgspec.Raw(mapped.body))
            if mapped.key is not None:
                keys.append(mapped.key)
            timed = timed and mapped.timed
            done = at
        return Chunk(requests + chunk.requests[done:], keys + chunk.keys[done:], timed)
