"""How much of the input may be in memory: `max_open_bytes` for open batches and those in flight, together.

It is divided: what may be open must not depend on how fast Fullstory answers, or a repeated input would not
form the same batches of events.
"""

from __future__ import annotations

from target_fullstory.settings.model import Settings


def open_bytes(settings: Settings) -> int:
    """Of the open batches of events, and of all other open batches."""
    return settings.max_open_bytes * 3 // 8


def in_flight_bytes(settings: Settings) -> int:
    """Of batches that are sent and have no response yet; a larger one is sent alone."""
    return settings.max_open_bytes // 4


def batch_bytes(settings: Settings) -> int:
    """Of a batch, but for one with a single record."""
    return min(settings.max_batch_bytes, in_flight_bytes(settings))
