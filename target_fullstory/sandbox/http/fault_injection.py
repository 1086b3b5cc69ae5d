"""Injected faults: what networks, proxies and busy servers do to a client, repeatable by seed."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import time
from dataclasses import replace
from email.utils import formatdate
from enum import Enum

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, refusal
from target_fullstory.sandbox.rules.refusals import ApiError, too_many_requests

SLOW_SECONDS = 0.5
RETRY_AFTER_SECONDS = 1


class Fault(str, Enum):
    """A kind of fault.

    Only with `SLOW`, `RESET_AFTER` and `TRUNCATED` is the request carried out. `ERROR_500_KEPT` is kept under
    the request's idempotency key and given again for it.
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
    """Decides which call meets which fault."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311 (repeatable, not secret)

    def draw(self, *, keyed: bool) -> Fault | None:
        """Draw the fault that the next call meets, if any; `keyed` if a response to it can be kept."""
        if self._rate <= 0 or self._random.random() >= self._rate:
            return None
        fault = self._random.choice(list(Fault))
        return Fault.ERROR_500 if fault is Fault.ERROR_500_KEPT and not keyed else fault


def server_error() -> ApiResponse:
    """A plain 500."""
    return refusal(ApiError(500, "server_error", "An injected fault: the request was not carried out"))


async def response_instead(fault: Fault) -> ApiResponse | None:
    """The response of a fault that prevents a request; None for the others, after a pause for `SLOW`."""
    if fault is Fault.SLOW:
        await asyncio.sleep(SLOW_SECONDS)
    html = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    unavailable = refusal(ApiError(503, "unavailable", "An injected fault"))
    date = formatdate(math.ceil(time.time()) + RETRY_AFTER_SECONDS, usegmt=True)
    return {
        Fault.RESET_BEFORE: ApiResponse(0, b""),  # Never sent.
        Fault.ERROR_429: refusal(too_many_requests("An injected fault: too many requests", 1)),
        Fault.ERROR_500: server_error(),
        Fault.ERROR_502_HTML: ApiResponse(502, html, (("Content-Type", "text/html"),)),
        Fault.ERROR_503_SECONDS: replace(unavailable, headers=(("Retry-After", str(RETRY_AFTER_SECONDS)),)),
        Fault.ERROR_503_DATE: replace(unavailable, headers=(("Retry-After", date),)),
    }.get(fault)


async def _until_disconnected(receive: Receive) -> None:
    # A server answers 500 for an ASGI application that returns without a response while connected.
    while (await receive())["type"] != "http.disconnect":
        pass


class ConnectionReset(Response):
    """No response: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Reset the connection."""
        transport: asyncio.Transport = scope["state"]["transport"]
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await _until_disconnected(receive)


class TruncatedResponse(Response):
    """Half of the body that was announced, then the connection ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body and close the connection."""
        status, headers = self.status_code, self.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"]["transport"].close()
        await _until_disconnected(receive)
