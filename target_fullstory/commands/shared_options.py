"""The options that the commands share: `--config`, read as the load reads it, and `--format`."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from singer_sdk.plugin_base import _ConfigInput

from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.model import Settings
from target_fullstory.target import TargetFullstory

_WIDTH_ELSEWHERE = 250


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
    """The configuration that a load with the same options would have, singer-sdk's own settings included.

    Raises:
        ConfigurationError: A file is not a JSON object, or a variable has a value that is none of its
            setting.
    """
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


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal; as wide as it needs to be where there is none."""
    Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(table)
