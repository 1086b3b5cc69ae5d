"""The HTTP server, set up for the sandbox."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Protocol(H11Protocol):
    """Lets the application reach its connection, which an injected fault may have to break."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Calls back once it listens, and ends cleanly on a signal instead of raising it again."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit
        self.should_exit = True


def make_server(app: Starlette, on_started: Callable[[], object]) -> uvicorn.Server:
    """Make a server, to be run with a bound socket; `on_started` is called once it listens."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        # Its lines go where the program's own go.
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        timeout_keep_alive=60,
    )
    return _Server(config, on_started)
