"""What the commands share: `--config`, read as the load reads it, `--format`, and a client of the API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from singer_sdk.plugin_base import _ConfigInput

from target_fullstory.api.client import Client, with_retry_limit
from target_fullstory.api.embedded_sandbox import start_sandbox
from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.model import SANDBOX, Settings
from target_fullstory.target import TargetFullstory

_WIDTH_ELSEWHERE = 250
_LEAST_RETRY_SECONDS = 30.0

config_option = click.option(
    "--config",
    "config_paths",
    multiple=True,
    metavar="FILE",
    help="Configuration file, or 'ENV' for the environment. Several are merged, the later wins.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the results.",
)


def read_config(paths: tuple[str, ...]) -> dict[str, Any]:
    """The configuration that a load with the same options would have, singer-sdk's own settings included."""
    try:
        given = _ConfigInput.from_cli_args(*paths)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{' '.join(str(error).split())} Check --config.") from None
    except (TypeError, ValueError) as error:
        where = f"see its line {line}" if (line := getattr(error, "lineno", None)) else "{…}"
        raise ConfigurationError(f"A configuration file is not a JSON object, {where}.") from None
    config = dict(given.config)
    if given.parse_env:
        config |= TargetFullstory.config_from_environment()
    return config


def read_settings(paths: tuple[str, ...]) -> Settings:
    """The settings alone, for a command that loads nothing."""
    return load_settings(read_config(paths))


@contextmanager
def api_client(settings: Settings, *, retry_seconds: float = 0) -> Iterator[Client]:
    """A client for the length of a command, which starts the sandbox of the loads where they use one.

    It retries a call for so many seconds, at least half a minute, at most as long as a load does.
    """
    settings = with_retry_limit(settings, max(retry_seconds, _LEAST_RETRY_SECONDS))
    sandbox = start_sandbox(settings) if settings.api_url == SANDBOX else None
    url = sandbox.url if sandbox else settings.api_url
    client = Client(settings, url, advice="Try again when Fullstory answers.")
    try:
        yield client
    finally:
        client.close()
        if sandbox is not None:
            sandbox.__exit__(None, None, None)


def print_as(form: str, document: Any, table: Table) -> None:
    """Print a JSON document, or its table if that has rows, cut to the width of a terminal only."""
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    elif table.row_count:
        Console(width=None if sys.stdout and sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(table)
