"""The logger of the way to Fullstory: stderr, never a record's contents, never a key."""

from __future__ import annotations

import logging

logger = logging.getLogger("target-fullstory")
