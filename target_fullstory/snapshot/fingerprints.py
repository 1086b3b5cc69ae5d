"""Fingerprints of users, events and records: keyed hashes, so that a snapshot holds no record's content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import xxhash

Digest: TypeAlias = Callable[[Any], bytes]
"""The fingerprint of a text or of bytes."""


def digest_with(seed: int, *scope: str) -> Digest:
    """Makes fingerprints that match those of the same seed and scope alone."""
    for part in scope:
        seed = xxhash.xxh3_64_intdigest(part.encode("utf-8", "backslashreplace"), seed)
    digest = xxhash.xxh3_64_digest

    def fingerprint(text: Any) -> bytes:
        return digest(text, seed)

    return fingerprint
