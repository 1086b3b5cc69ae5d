"""Listings in pages: opaque tokens, and the shape of a page."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from target_fullstory.sandbox.rules.refusals import invalid


def token_for(listing: str, after: int) -> str:
    """Makes the token of the page that follows.

    Args:
        listing: What is listed, with its filters: the token serves no other listing.
        after: Sort key of the last result given.

    Returns:
        The token.
    """
    raw = msgspec.json.encode([listing, after])
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def position_of(token: str | None, listing: str) -> int:
    """Reads a page token.

    Args:
        token: The token, if one was given.
        listing: What is listed, with its filters.

    Returns:
        Sort key of the last result already given; -1 for the first page.

    Raises:
        ApiError: The token is not one of this listing.
    """
    if not token:
        return -1
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        of, after = msgspec.json.decode(raw, type=tuple[str, int])
    except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError):
        of, after = "", -1
    if of != listing:
        raise invalid("invalid_page_token", "page_token is not one of this listing")
    return after


def page(results: list[Any], total: int, next_token: str | None) -> dict[str, Any]:
    """Puts a page of results in the API's shape.

    Args:
        results: The results on it.
        total: How many there are on all pages.
        next_token: Token of the page that follows, if one does.

    Returns:
        The page.
    """
    shaped: dict[str, Any] = {"results": results, "total_records": str(total)}
    if next_token is not None:
        shaped["next_page_token"] = next_token
    return shaped
