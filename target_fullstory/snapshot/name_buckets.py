"""Where in the store the names of a mirror's users lie."""

from __future__ import annotations

from typing import Any

from target_fullstory.snapshot.store_facts import StreamFacts

_NAMES = b"n"


class NameBuckets:
    """The buckets with the names of one stream's users."""

    def __init__(self, transaction: Any, prefix: bytes) -> None:
        self._transaction = transaction
        self._prefix = prefix

    def get(self, bucket: bytes) -> bytes | None:
        """A bucket's content; None where it is empty."""
        content: bytes | None = self._transaction.get(self._prefix + bucket)
        return content

    def put(self, bucket: bytes, content: bytes) -> None:
        """Replace a bucket's content; nothing is left of it where that is empty."""
        if content:
            self._transaction.put(self._prefix + bucket, content)
        else:
            self._transaction.delete(self._prefix + bucket)


def prefix_of_names(facts: StreamFacts) -> bytes:
    """What the names of a stream's buckets begin with."""
    return _NAMES + facts.number.to_bytes(2, "big")
