"""The fast path as tests use it: decoding and mapping in one step."""

from __future__ import annotations

from target_fullstory.mapping import Chunk, FastPath


def map_lines(fast: FastPath, lines: bytes) -> Chunk:
    """Maps whole lines; raises what both steps do."""
    return fast.requests(fast.decode_lines(lines))


def map_line(fast: FastPath, line: bytes) -> Chunk:
    """Maps a single line; raises what both steps do."""
    return fast.requests(list(fast.decode_each([line])))
