"""Listings in pages, with opaque page tokens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

import msgspec

from target_fullstory.sandbox.operations.handler_types import Call
from target_fullstory.sandbox.rules.refusals import invalid

T = TypeVar("T")


def read_page(
    call: Call,
    listing: str,
    size: int,
    fetch: Callable[[int, int], tuple[list[T], int]],
    key: Callable[[T], int],
) -> tuple[list[T], int, dict[str, str]]:
    """Read the page of a listing that a call asks for: the first, or the one of its page token.

    `listing` names what is listed, with its filters: a token is valid for its own listing only. `fetch` finds
    the first so many results after a sort key, and how many are on all pages; `key` is a result's sort key.

    Returns:
        The results, how many are on all pages, and the field `next_page_token` if a page follows.
    """
    after = _position(call.query.get("page_token"), listing)
    # One more than fits, to know whether another page follows.
    found, total = fetch(after, size + 1)
    results = found[:size]
    if len(found) == len(results):
        return results, total, {}
    token = base64.urlsafe_b64encode(msgspec.json.encode([listing, key(results[-1])]))
    return results, total, {"next_page_token": token.rstrip(b"=").decode()}


def _position(token: str | None, listing: str) -> int:
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
