"""The connections of HTTP exchanges: each bounded as a whole, and no answer without a whole head.

The timeout of a socket bounds a single read or write: a server that sends a byte now and then, or one `100
Continue` after another, would keep an exchange going for ever. So a watchdog shuts the connection down when
the exchange's time is over (connecting, TLS, sending, and reading to the end of the response), and whatever
waits for the connection ends at once.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import threading
import time
from contextvars import ContextVar
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import HTTPResponse

_current: ContextVar[TimeLimit | None] = ContextVar("time_limit", default=None)


class TimeLimit:
    """The time of one exchange, which takes place inside the `with` and over a `BoundedAdapter`."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.is_over = False
        self.sent = False  # the whole request: what goes wrong from then on is the answer's fault
        self.connection: socket.socket | None = None  # a duplicate: whatever is closed, this is the right one

    def __enter__(self) -> TimeLimit:
        self._token = _current.set(self)
        _watchdog.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)
        _watchdog.remove(self)


class _Watchdog:
    """Shuts down the connections of exchanges whose time is over, in a thread that starts with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: set[TimeLimit] = set()
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def add(self, limit: TimeLimit) -> None:
        with self._changed:
            self._limits.add(limit)
            if self._thread is None or not self._thread.is_alive():  # it does not survive a fork
                self._thread = threading.Thread(target=self._watch, name="time-limits", daemon=True)
                self._thread.start()
            elif limit.deadline < self._wakes_at:
                self._changed.notify()

    def guard(self, limit: TimeLimit, connection: socket.socket) -> None:
        """Have a connection shut down at the end of the limit; a TimeoutError where that has passed."""
        # The family is for addresses alone, which nobody asks this duplicate for.
        twin = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        with self._changed:
            if limit.connection is not None:
                limit.connection.close()
            limit.connection = twin
            if limit.is_over:
                raise TimeoutError

    def remove(self, limit: TimeLimit) -> None:
        with self._changed:
            self._limits.discard(limit)
            if limit.connection is not None:
                limit.connection.close()

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for limit in [limit for limit in self._limits if limit.deadline <= now]:
                    self._limits.discard(limit)
                    limit.is_over = True
                    if limit.connection is not None:
                        with contextlib.suppress(OSError):
                            limit.connection.shutdown(socket.SHUT_RDWR)
                self._wakes_at = min((limit.deadline for limit in self._limits), default=float("inf"))
                self._changed.wait(min(self._wakes_at - now, threading.TIMEOUT_MAX))


_watchdog = _Watchdog()


class _HeadLines:
    """Reads the lines of a response's head; the end of the connection is no end of a line."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(size)
        if not line.endswith(b"\n") and len(line) < size:
            raise http.client.RemoteDisconnected("within the head")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _WholeResponse(http.client.HTTPResponse):
    """A response with a whole head: `http.client` itself takes one that was cut off after any line."""

    def begin(self) -> None:
        """Read the head."""
        file: Any = self.fp
        self.fp = _HeadLines(file)  # type: ignore[assignment]
        super().begin()
        self.fp = file


class _BoundedConnection(HTTPConnection):
    """A connection that the watchdog knows, before TLS and before a proxy is asked for its tunnel."""

    response_class = _WholeResponse

    def _new_conn(self) -> socket.socket:
        limit = _current.get()
        if limit is None:
            return super()._new_conn()
        # The addresses of a host are tried one after the other, each for this time.
        self.timeout = max(0.001, limit.deadline - time.monotonic()) / self._count_addresses()
        connection = super()._new_conn()
        try:
            _watchdog.guard(limit, connection)
        except TimeoutError:
            connection.close()
            raise
        return connection

    def _count_addresses(self) -> int:
        if hasattr(self, "_socks_options"):
            return 1  # the proxy looks them up
        try:
            return len(socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)) or 1
        except (OSError, UnicodeError):
            return 1  # connecting meets the same error, and tells it

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, over a connection that may have been open already."""
        limit = _current.get()
        if limit is not None and self.sock is not None:
            _watchdog.guard(limit, self.sock)
        super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Read the head of the response to a request that was sent."""
        limit = _current.get()
        if limit is not None:
            limit.sent = True
        return super().getresponse()


@functools.cache
def _bounded(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """A kind of pool, with connections that the watchdog knows."""
    if issubclass(pool.ConnectionCls, _BoundedConnection):
        return pool
    connection = type("BoundedConnection", (_BoundedConnection, pool.ConnectionCls), {})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


class BoundedAdapter(HTTPAdapter):
    """Sends requests over connections that heed the `TimeLimit` they are made in."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """For requests."""
        super().init_poolmanager(*args, **options)
        _bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """For requests."""
        manager = super().proxy_manager_for(*args, **options)
        _bound(manager)
        return manager


def _bound(manager: Any) -> None:
    kinds = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded(kind) for scheme, kind in kinds.items()}
