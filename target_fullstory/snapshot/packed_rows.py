"""Rows of one size, packed one after the other: what a bucket of the store holds.

A row begins with what its bucket does not say of its key: all bytes but the first.
"""

from __future__ import annotations

from collections.abc import Iterator

REST_BYTES = 7
"""Bytes of a key in its row."""


def find(rows: bytes | bytearray, rest: bytes, width: int) -> int:
    """Where the row of a key begins; -1 where there is none."""
    at = rows.find(rest)
    while at > 0 and at % width:
        # The bytes of two rows, or of another part of one.
        at = rows.find(rest, at + 1)
    return at


def split(rows: bytes, width: int) -> Iterator[bytes]:
    """The rows, one by one."""
    return (rows[at : at + width] for at in range(0, len(rows), width))
