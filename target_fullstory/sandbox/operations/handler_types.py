"""One request as the API's operations see it, and their answer: nothing of HTTP servers in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from target_fullstory.sandbox.rules.refusals import ApiError, invalid

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
        method: HTTP method.
        path: The path, with the current version even where an older one was asked for.
        params: Values of the placeholders in the path.
        query: The query's parameters.
        body: The body's bytes.
        idempotency_key: The header of that name, where there is one.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    idempotency_key: str | None

    def flag(self, name: str) -> bool | None:
        """Reads a boolean parameter of the query.

        Args:
            name: The parameter.

        Returns:
            Its value, None where it is absent.

        Raises:
            ApiError: It is neither `true` nor `false`.
        """
        value = self.query.get(name)
        if value is None:
            return None
        if value not in {"true", "false"}:
            raise invalid("invalid_parameter", f"{name} must be true or false")
        return value == "true"


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        status: HTTP status.
        body: JSON, encoded.
        headers: Headers beside the content type and length.
        replayed: Whether this is a kept answer, given again for its idempotency key.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    replayed: bool = False


Handler = Callable[[Call], Answer]
"""Carries out a call."""

Planner = Callable[[Call], Callable[[], Answer]]
"""Reads and checks a call; what it returns carries it out, within a database transaction."""


def ok(value: Any) -> Answer:
    """A 200.

    Args:
        value: What to answer, as JSON.

    Returns:
        The answer.
    """
    return Answer(200, _encode(value))


def still_processing() -> Answer:
    """A 202, for the results of a job that has none yet.

    Returns:
        The answer.
    """
    return Answer(202, b"{}")


def refusal(error: ApiError) -> Answer:
    """Puts an error in the API's shape.

    Args:
        error: What is wrong.

    Returns:
        The answer.
    """
    headers: tuple[tuple[str, str], ...] = ()
    if error.retry_after is not None:
        headers = (("Retry-After", str(error.retry_after)),)
    body = _encode({"message": error.message, "code": error.code})
    return Answer(error.status, body, headers)
