"""What the sandbox's handlers take and return: a call and its response, without HTTP around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from target_fullstory.sandbox.rules.refusals import ApiError, invalid

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
