"""The kinds of what records become."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["users", "events", "user_deletions", "webhook_endpoints", "request"]
"""What the records of a stream become."""
