"""Running a sandbox: as a server of its own, or inside a process.

Starlette and uvicorn, which come with the extra `sandbox`, are imported only when a sandbox is made: this
module can be imported without them, and what makes a sandbox raises `SandboxNotInstalledError`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from target_fullstory.sandbox.sandbox_options import SandboxOptions

if TYPE_CHECKING:
    from starlette.applications import Starlette

_PACKAGES = ("starlette", "uvicorn")
_OUTSIDE = "the sandbox runs only within its context"
_START_OR_STOP_SECONDS = 30.0


class SandboxNotInstalledError(ImportError):
    """The packages of the extra `sandbox` are missing."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"the sandbox needs the package {package!r}: pip install 'target-fullstory[sandbox]'",
            name=package,
        )


def _load(module: str) -> Any:
    try:
        return import_module(f"target_fullstory.sandbox.http.{module}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in _PACKAGES:
            raise SandboxNotInstalledError(error.name) from error
        raise


def create_app(options: SandboxOptions | None = None) -> Starlette:
    """Create the ASGI application, to be run by any server."""
    app: Starlette = _load("asgi_app").build_app(options or SandboxOptions())
    return app


def _listen(host: str, port: int) -> tuple[socket.socket, str]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only for sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def serve(
    options: SandboxOptions | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Run a sandbox until SIGINT or SIGTERM.

    It listens on a free port for port 0, and calls `ready` with its base URL once requests are answered.
    """
    app = create_app(options)
    listener, url = _listen(host, port)
    with listener:
        _load("uvicorn_server").make_server(app, lambda: ready and ready(url)).run([listener])


class Sandbox:
    """A sandbox inside this process, on a free loopback port, as a context manager.

    Example:
        >>> with Sandbox() as sandbox:  # doctest: +SKIP
        ...     requests.get(f"{sandbox.url}/me", headers={"Authorization": "Basic any"})
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self._options = options
        self._url: str | None = None
        self._counts: Callable[[], dict[str, int]] | None = None
        self._server: Any
        self._thread: threading.Thread

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        if self._url is None:
            raise RuntimeError(_OUTSIDE)
        return self._url

    def counts(self) -> dict[str, int]:
        """Count the `users`, `events` and `jobs` that the sandbox holds or, after its end, held."""
        if self._counts is None:
            raise RuntimeError(_OUTSIDE)
        return self._counts()

    def __enter__(self) -> Sandbox:
        """Start the sandbox, and return it once it answers requests."""
        app = create_app(self._options)
        self._counts = app.state.inspection.counts
        started = threading.Event()
        self._server = _load("uvicorn_server").make_server(app, started.set)
        listener, self._url = _listen("127.0.0.1", 0)

        def run() -> None:
            with listener:
                self._server.run([listener])

        self._thread = threading.Thread(target=run, name="sandbox", daemon=True)
        self._thread.start()
        if not started.wait(_START_OR_STOP_SECONDS):
            raise RuntimeError("the sandbox did not start")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the sandbox; unfinished jobs go on when its file is opened again."""
        final = self.counts()
        self._counts = lambda: final
        self._server.should_exit = True
        self._thread.join(_START_OR_STOP_SECONDS)
