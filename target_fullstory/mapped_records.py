"""What mapping made of consecutive records, before any of it is counted."""

from __future__ import annotations

from typing import Any

from target_fullstory.mapping import Chunk, Mapper, Rejected
from target_fullstory.run import Run


class MappedRecords:
    """What mapping made of records, with all that it had to say of them."""

    def __init__(self, mapper: Mapper, records: list[Any]) -> None:
        self.rejected: list[tuple[int, Rejected]] = []
        self._dropped: list[tuple[str, ...]] = []
        self._undeclared: list[str] = []
        self.chunks: list[Chunk] = mapper.map(
            records,
            lambda index, rejected: self.rejected.append((index, rejected)),
            self._dropped.append,
            self._undeclared.extend,
        )

    def count_omissions(self, run: Run, stream: str) -> None:
        """Count the values that were left out, or sent undeclared."""
        for names in self._dropped:
            run.count_dropped(stream, names)
        if self._undeclared:
            run.count_undeclared(stream, self._undeclared)
