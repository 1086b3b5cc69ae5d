"""The logger of the way to Fullstory: stderr, never a record's contents, never a key."""

from __future__ import annotations

import logging

logger = logging.getLogger("target-fullstory")


def keep_addresses_out() -> None:
    """Silence what urllib3 logs for debugging: addresses, which may hold the id of a user or a key."""
    logging.getLogger("urllib3").setLevel(logging.WARNING)
