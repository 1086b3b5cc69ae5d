"""The Server API for a command: a client for `api_url`, or for the embedded sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from target_fullstory.api.client import Client
from target_fullstory.api.embedded_sandbox import start_sandbox
from target_fullstory.settings.model import SANDBOX, Settings

_LEAST_PATIENCE_SECONDS = 30.0


@contextmanager
def api_client(settings: Settings, *, patience: float = 0) -> Iterator[Client]:
    """A client for the length of a command.

    Args:
        settings: The settings; where `api_url` is `sandbox` that is started, on the file of the loads.
        patience: Seconds to retry a call for; at least half a minute, at most as long as a load does.

    Yields:
        The client.

    Raises:
        ConfigurationError: The extra `sandbox` is not installed.
        OutputError: The sandbox cannot keep its database.
    """
    patience = max(patience, _LEAST_PATIENCE_SECONDS)
    settings = msgspec.structs.replace(
        settings,
        retry_max_seconds=min(settings.retry_max_seconds, patience),
        request_timeout_seconds=min(settings.request_timeout_seconds, patience),
    )
    sandbox = start_sandbox(settings) if settings.api_url == SANDBOX else None
    client = Client(settings, sandbox.url if sandbox else settings.api_url)
    try:
        yield client
    finally:
        client.close()
        if sandbox is not None:
            sandbox.__exit__(None, None, None)
