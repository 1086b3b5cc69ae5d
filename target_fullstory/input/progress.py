"""A progress bar on stderr, where that is a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, TypeAlias

from target_fullstory.logs import stderr_is_terminal

Advance: TypeAlias = Callable[[int], None]


def progress_bar(
    label: str, total: int | None, *, in_bytes: bool = True
) -> AbstractContextManager[Advance | None]:
    """Show how much of a total of bytes, or else of things, is done.

    The context is what takes each advance; None where nothing is shown: without a terminal or a total.
    """
    return _shown(label, total, in_bytes) if total and stderr_is_terminal() else nullcontext()


@contextmanager
def _shown(label: str, total: int, in_bytes: bool) -> Iterator[Advance]:
    # Imported where it is shown: most runs have no terminal.
    from rich import console, progress  # noqa: PLC0415

    columns: list[progress.ProgressColumn] = [progress.MofNCompleteColumn(), progress.TimeElapsedColumn()]
    if in_bytes:
        columns = [progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TimeRemainingColumn()]
    bar = progress.Progress(
        "{task.description}",
        progress.BarColumn(),
        *columns,
        console=console.Console(stderr=True),
        redirect_stdout=False,
        transient=True,
    )
    with bar, _log_above():
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


@contextmanager
def _log_above() -> Iterator[None]:
    """Write the log above the bar: its handlers still have the stderr from before there was one."""
    known = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    handlers = {handler for each in known for handler in each.handlers}
    moved = [
        handler
        for handler in handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
    ]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(sys.__stderr__)


def size_of(source: IO[str] | None) -> int | None:
    """The bytes of a file; None for standard input, and whatever else has no size."""
    try:
        return os.fstat(source.fileno()).st_size or None if source else None
    except (AttributeError, OSError, ValueError):
        return None
