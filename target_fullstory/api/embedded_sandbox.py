"""The sandbox inside the process, where `api_url` asks for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from target_fullstory.errors import ConfigurationError, OutputError
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.sandbox import Sandbox


def start_sandbox(settings: Settings) -> Sandbox:
    """Start the embedded sandbox on `<output_dir>/sandbox.db`; whoever starts it ends it with `__exit__`.

    Raises:
        ConfigurationError: The extra `sandbox` is not installed.
        OutputError: It cannot keep its database.
    """
    # Imported here: most runs need no sandbox, and its packages are an extra.
    from target_fullstory.sandbox import Sandbox, SandboxNotInstalledError, SandboxOptions  # noqa: PLC0415

    directory = Path(settings.output_dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return Sandbox(SandboxOptions(db=directory / "sandbox.db")).__enter__()
    except SandboxNotInstalledError as error:
        raise ConfigurationError(f"api_url is sandbox: {error}") from None
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"The embedded sandbox cannot keep its database in {directory}: {error}. Set output_dir to a "
            "writable directory."
        ) from None
