"""How much of the input may be in memory: open batches, and those in flight, together."""

from __future__ import annotations

MAX_OPEN_BYTES = 64 * 1024 * 1024
"""Of all streams' batches together, open or in flight."""

MAX_IN_FLIGHT_BYTES = MAX_OPEN_BYTES // 4
"""Of batches that are sent and have no response yet; a larger one is sent alone."""


def max_open_bytes(max_batch_bytes: int) -> int:
    """Of the open batches of events, and of all other open batches: one full batch fits in any case."""
    return max(MAX_OPEN_BYTES * 3 // 8, max_batch_bytes * 3 // 2)
