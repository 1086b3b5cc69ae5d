"""Rows of one size, packed one after the other: what a bucket of the store holds.

A bucket is named by the first bits of its rows' keys. A row begins with its key, but for the first byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

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


def bucket_names(keyed: Sequence[bytes], bits: int) -> list[bytes]:
    """The buckets of items of one size that begin with their keys, by 8 to 16 bits of these."""
    if not keyed:
        return []
    size, packed = len(keyed[0]), b"".join(keyed)
    if bits == 8:
        return [packed[at : at + 1] for at in range(0, len(packed), size)]
    names = bytearray(2 * len(keyed))
    names[0::2] = packed[0::size]
    names[1::2] = packed[1::size].translate(_high_bits(bits - 8))
    # Slices of bytes take less time than those of a bytearray.
    joined = bytes(names)
    return [joined[at : at + 2] for at in range(0, len(joined), 2)]


@cache
def _high_bits(bits: int) -> bytes:
    """For each byte, its highest bits alone."""
    return bytes(byte >> (8 - bits) << (8 - bits) for byte in range(256))
