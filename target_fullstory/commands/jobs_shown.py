"""How jobs are shown: a table or JSON on stdout, the wait for them on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from target_fullstory.logs import logger

_NUMBERS = {"records", "imports", "errors"}
_COLUMNS = (
    *("id", "kind", "stream", "status"),
    *("records", "imports", "errors", "created", "finished"),
)
_STYLES = {"COMPLETED": "green", "FAILED": "red", "UNKNOWN": "red", "PROCESSING": "yellow"}
_WIDTH_ELSEWHERE = 250


def print_json(run_id: str, jobs: list[dict[str, Any]]) -> None:
    """Print one JSON object: the run's id and its jobs."""
    shown = msgspec.json.encode({"run_id": run_id, "jobs": jobs})
    click.echo(msgspec.json.format(shown, indent=2).decode())


def print_table(jobs: list[dict[str, Any]]) -> None:
    """Print a table, as wide as the terminal; as wide as it needs to be where there is none."""
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(
            name,
            justify="right" if name in _NUMBERS else "left",
            overflow="fold",
            no_wrap=name in _NUMBERS,
        )
    for job in jobs:
        # As text: a stream's name may look like markup.
        cells = [Text("" if job[name] is None else str(job[name])) for name in _COLUMNS]
        cells[_COLUMNS.index("status")].stylize(_STYLES.get(job["status"], ""))
        table.add_row(*cells)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)
    console.print(table)


@contextmanager
def waiting(total: int) -> Iterator[Callable[[list[str]], None]]:
    """Show how many jobs have ended: a bar on a terminal, log lines elsewhere.

    Args:
        total: How many jobs there are.

    Yields:
        Takes a line for each job that has ended.
    """
    if not sys.stderr.isatty():
        ended = 0

        def log(lines: list[str]) -> None:
            nonlocal ended
            for line in lines:
                ended += 1
                logger.info("%s; %d of %d jobs have ended", line, ended, total)

        yield log
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    with bar:
        task = bar.add_task("Waiting for jobs", total=total)
        yield lambda lines: bar.advance(task, len(lines))
