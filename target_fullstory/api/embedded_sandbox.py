"""The sandbox inside the process, where `api_url` asks for it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from target_fullstory.accounting.output_files import make_directory
from target_fullstory.errors import ConfigurationError, OutputError
from target_fullstory.sandbox import Sandbox, SandboxNotInstalledError, SandboxOptions
from target_fullstory.settings.model import Settings


def start_sandbox(settings: Settings) -> Sandbox:
    """Start the embedded sandbox on `<output_dir>/sandbox.db`; whoever starts it ends it with `__exit__`."""
    directory = Path(settings.output_dir)
    try:
        make_directory(directory)
        return Sandbox(SandboxOptions(db=directory / "sandbox.db")).__enter__()
    except SandboxNotInstalledError as error:
        raise ConfigurationError(f"api_url is sandbox: {error}") from None
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"The embedded sandbox cannot keep its database in {directory}: {error}. Set output_dir to a "
            "writable directory."
        ) from None
