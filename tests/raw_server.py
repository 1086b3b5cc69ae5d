"""A TCP server on loopback that does with each connection what a test says: for answers that are no HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable


class RawServer:
    """Calls `serve` for each connection, in a thread of its own, with the number of connections before it."""

    def __init__(self, serve: Callable[[socket.socket, int], None]) -> None:
        self.connections = 0
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        # Only this wakes the thread that accepts.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                number, self.connections = self.connections, self.connections + 1
                threading.Thread(target=self._run, args=(connection, number), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection, number)


def read_request(connection: socket.socket) -> bytes:
    """A request's head and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (part := connection.recv(65536)):
            return received
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def drip(
    connection: socket.socket, parts: Iterable[bytes], seconds: float = 120.0, pause: float = 0.05
) -> None:
    """Send parts one by one, for so many seconds at most."""
    end = time.monotonic() + seconds
    for part in parts:
        if time.monotonic() > end:
            return
        connection.sendall(part)
        time.sleep(pause)
