"""What the sandbox's handlers take and return: a call and its response, without HTTP around them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from target_fullstory.sandbox.rules.refusals import ApiError, invalid

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Call:
    """A request; `params` are the values of the placeholders in the path.

    `path` names the current version of the API even where an older one was asked for.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    idempotency_key: str | None

    def flag(self, name: str) -> bool | None:
        """A boolean parameter of the query; None where it is absent."""
        value = self.query.get(name)
        if value is None:
            return None
        if value not in {"true", "false"}:
            raise invalid("invalid_parameter", f"{name} must be true or false")
        return value == "true"

    def filters(self, *names: str) -> dict[str, str]:
        """The parameters of the query with these names, without absent and empty ones."""
        return {name: self.query[name] for name in names if self.query.get(name)}

    def read_page(
        self,
        listing: str,
        size: int,
        fetch: Callable[[int, int], tuple[list[T], int]],
        key: Callable[[T], int],
    ) -> tuple[list[T], int, dict[str, str]]:
        """Read a page of a listing: the one of the call's page token, else the first.

        `listing` names what is listed, with its filters: a token is valid for its own listing only. `fetch`
        finds the first so many results after a sort key, and how many are on all pages; `key` is a result's
        sort key. Returns the results, how many are on all pages, and `next_page_token` if a page follows.
        """
        token = self.query.get("page_token")
        after = _position(token, listing) if token else -1
        # One more than fits, to know whether another page follows.
        found, total = fetch(after, size + 1)
        results = found[:size]
        if len(found) == len(results):
            return results, total, {}
        last = _encode([listing, key(results[-1])])
        return results, total, {"next_page_token": base64.urlsafe_b64encode(last).rstrip(b"=").decode()}


def _position(token: str, listing: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        of, after = msgspec.json.decode(raw, type=tuple[str, int])
    except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError):
        of, after = "", -1
    if of != listing:
        raise invalid("invalid_page_token", "page_token is not one of this listing")
    return after


@dataclass(frozen=True)
class ApiResponse:
    """A response, `replayed` if it was kept; `headers` are those beside the content's type and length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    replayed: bool = False


Handler = Callable[[Call], ApiResponse]
"""Carries out a call."""

Planner = Callable[[Call], Callable[[], ApiResponse]]
"""Reads and checks a call; returns what carries it out within a database transaction."""


def ok(value: Any) -> ApiResponse:
    """A 200 with this JSON."""
    return ApiResponse(200, _encode(value))


def refusal(error: ApiError) -> ApiResponse:
    """The response for an error."""
    headers = () if error.retry_after is None else (("Retry-After", str(error.retry_after)),)
    body = _encode({"message": error.message, "code": error.code})
    return ApiResponse(error.status, body, headers)
