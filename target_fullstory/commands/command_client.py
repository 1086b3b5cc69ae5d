"""The Server API for a command: a client for `api_url`, or for the embedded sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from target_fullstory.api.client import Client, with_retry_limit
from target_fullstory.api.embedded_sandbox import start_sandbox
from target_fullstory.settings.model import SANDBOX, Settings

_LEAST_RETRY_SECONDS = 30.0


@contextmanager
def api_client(settings: Settings, *, retry_seconds: float = 0) -> Iterator[Client]:
    """A client for the length of a command, which starts the sandbox of the loads where they use one.

    It retries a call for so many seconds, at least half a minute, at most as long as a load does.
    """
    settings = with_retry_limit(settings, max(retry_seconds, _LEAST_RETRY_SECONDS))
    sandbox = start_sandbox(settings) if settings.api_url == SANDBOX else None
    client = Client(settings, sandbox.url if sandbox else settings.api_url)
    try:
        yield client
    finally:
        client.close()
        if sandbox is not None:
            sandbox.__exit__(None, None, None)
