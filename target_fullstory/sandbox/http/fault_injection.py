"""Injected faults: what networks, proxies and busy servers do to a client, repeatable by seed."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import time
from email.utils import formatdate
from enum import Enum
from typing import TYPE_CHECKING

from starlette.responses import Response

from target_fullstory.sandbox.http.sandbox_rate_limit import too_many_requests
from target_fullstory.sandbox.operations.handler_types import Answer, refusal
from target_fullstory.sandbox.rules.refusals import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

SLOW_SECONDS = 0.5
RETRY_AFTER_SECONDS = 1


class Fault(str, Enum):
    """A kind of fault.

    With the first six the request is not carried out; with `SLOW`, `RESET_AFTER` and `TRUNCATED` it is.
    `ERROR_500_KEPT` is kept under the request's idempotency key and given again for it.
    """

    RESET_BEFORE = "reset_before"
    ERROR_429 = "error_429"
    ERROR_500 = "error_500"
    ERROR_500_KEPT = "error_500_kept"
    ERROR_502_HTML = "error_502_html"
    ERROR_503_SECONDS = "error_503_seconds"
    ERROR_503_DATE = "error_503_date"
    RESET_AFTER = "reset_after"
    TRUNCATED = "truncated"
    SLOW = "slow"


class FaultPlan:
    """Which call meets which fault."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 (repeatable, not secret)

    def draw(self, *, keyed: bool) -> Fault | None:
        """Decides about the next call.

        Args:
            keyed: Whether the call has an idempotency key that an answer can be kept under.

        Returns:
            The fault it meets, if any.
        """
        if self._rate <= 0 or self._random.random() >= self._rate:
            return None
        fault = self._random.choice(list(Fault))
        return Fault.ERROR_500 if fault is Fault.ERROR_500_KEPT and not keyed else fault


def server_error() -> ApiError:
    """A plain 500.

    Returns:
        The error to raise.
    """
    return ApiError(500, "server_error", "An injected fault: the request was not carried out")


def answer_instead(fault: Fault) -> Answer | None:
    """Makes the answer of a fault that stops a request before it is carried out.

    Args:
        fault: The fault.

    Returns:
        The answer; None for the faults that are no answer.
    """
    if fault is Fault.ERROR_429:
        return refusal(too_many_requests("An injected fault: too many requests", 1))
    if fault is Fault.ERROR_500:
        return refusal(server_error())
    if fault is Fault.ERROR_502_HTML:
        html = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        return Answer(502, html, (("Content-Type", "text/html"),))
    if fault is Fault.ERROR_503_SECONDS:
        return refusal(
            ApiError(503, "unavailable", "An injected fault", retry_after=RETRY_AFTER_SECONDS)
        )
    if fault is Fault.ERROR_503_DATE:
        at = formatdate(math.ceil(time.time()) + RETRY_AFTER_SECONDS, usegmt=True)
        unavailable = refusal(ApiError(503, "unavailable", "An injected fault"))
        return Answer(503, unavailable.body, (("Retry-After", at),))
    return None


async def slowly() -> None:
    """Lets a slow answer wait."""
    await asyncio.sleep(SLOW_SECONDS)


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _until_disconnected(receive: Receive) -> None:
    # An ASGI application that returns without an answer while connected makes the server answer 500.
    while (await receive())["type"] != "http.disconnect":
        pass


class ConnectionReset(Response):
    """No response: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Resets the connection."""
        transport = _transport(scope)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            linger_for_nothing = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_nothing)
        transport.abort()
        await _until_disconnected(receive)


class TruncatedResponse(Response):
    """Half of the body that was announced, then the connection ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends half and closes."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        _transport(scope).close()
        await _until_disconnected(receive)
