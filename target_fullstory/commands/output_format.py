"""The results of a command on stdout: the option `--format`, a table or JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

_Command = TypeVar("_Command", bound=Callable[..., Any])
_WIDTH_ELSEWHERE = 250


def format_option(results: str) -> Callable[[_Command], _Command]:
    """Give a command the option `--format`, `table` or `json`."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=f"How to print the {results}.",
    )


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal; as wide as it needs to be where there is none."""
    Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE).print(table)
