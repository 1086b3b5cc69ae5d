"""The body of a batch's creation, and the key that is made of a body."""

from __future__ import annotations

from collections.abc import Iterator

from target_fullstory.batching.encoded_requests import split_requests

_HEAD, _TAIL = b'{"requests":[', b"]}"
ENVELOPE_BYTES = len(_HEAD) + len(_TAIL)
"""Bytes of a batch request beside its items."""

# Larger ones are sent no faster, and stay with the allocator after their use.
_PART_BYTES = 1024 * 1024


class BatchBody:
    """A body that is sent in parts: whole, a batch would be in memory twice."""

    def __init__(self, items: list[bytes]) -> None:
        """Take the requests: pieces of JSON, each one request or several joined by commas."""
        self._items = items
        self._size = ENVELOPE_BYTES + sum(map(len, items)) + max(0, len(items) - 1)

    def __len__(self) -> int:
        """Bytes in all, for the `Content-Length`."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """The parts, as often as asked for."""
        part, size = [_HEAD], 0
        for number, item in enumerate(self._items):
            part += (b",", item) if number else (item,)
            size += len(item)
            if size >= _PART_BYTES:
                yield b"".join(part)
                part, size = [], 0
        yield b"".join([*part, _TAIL])

    def requests(self) -> list[bytes]:
        """The single requests."""
        return split_requests(self._items)
