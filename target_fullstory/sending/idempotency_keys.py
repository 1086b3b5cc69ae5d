"""Idempotency keys that are made of what is sent; the client gives all other requests keys of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def content_key(body: Iterable[bytes], occurrence: int = 0, salt: str = "") -> str:
    """An idempotency key derived from a body's parts, the same whenever the same body is sent again.

    Equal events of one batch are different events, distinguished by how many came before (`occurrence`); each
    keeps its key when the batch is repeated. A run with a `salt` has keys, and so responses, of its own.
    """
    digest = hashlib.sha256()
    for part in body:
        digest.update(part)
    if salt:
        digest.update(f"@{salt}".encode())
    if occurrence:
        digest.update(f"#{occurrence}".encode())
    return digest.hexdigest()
