"""A response webhook with secrets of all kinds, which answers badly and repeats what it is sent."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from contextlib import suppress
from typing import Any

from tests.reliability.fault_proxy import Request, read_request
from tests.reliability.faults import FAULTS, Wire

USER, SECRET, TOKEN = "hook-user", "hook-secret-51a9/+6c", "hook-token-77d0e2"
SECRETS = (SECRET, TOKEN)
_FAULTS = ("reset", "no answer", "head cut", "head malformed", "502 HTML", "chunks bad", "gzip bad", "408")


class WebhookTrap:
    """Listens on loopback until it is left; the address has a path and a query that are secret."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0

    @property
    def settings(self) -> dict[str, Any]:
        """The setting `response_webhook`, with any kind of authentication."""
        auth = self._rng.choice(
            [
                {"type": "basic", "username": USER, "password": SECRET},
                {"type": "bearer", "token": SECRET},
                {"type": "api_key", "name": "X-Key", "value": SECRET, "in": "header"},
                {"type": "api_key", "name": "key", "value": SECRET, "in": "query"},
                {"type": "hmac", "header": "X-Signature", "secret": SECRET},
                {
                    "type": "oauth2",
                    "token_url": f"{self._url}/token/{SECRET}",
                    "client_id": "client",
                    "client_secret": SECRET,
                },
            ]
        )
        return {"url": f"{self._url}/hook/{TOKEN}?sig={TOKEN}", "auth": auth, "headers": {"X-More": TOKEN}}

    def __enter__(self) -> WebhookTrap:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, http.client.HTTPException), client, client.makefile("rb") as source:
            while (request := read_request(source)) is not None:
                if not self._answer(client, request):
                    return

    def _answer(self, client: socket.socket, request: Request) -> bool:
        self.received += 1
        body = b"{}"
        if request.path.startswith("/token"):
            body = json.dumps({"access_token": TOKEN, "expires_in": 60}).encode()
        echo = f"{request.target} {dict(request.headers)}"
        wire = Wire(client, self._rng, body, 1.0, echo, "http://127.0.0.1:9/")
        if self._rng.random() < 0.3:
            FAULTS[self._rng.choice(_FAULTS)].answer(wire)
            return False
        wire.send(wire.head() + body)
        return True
