"""A progress bar for a load from a file, where somebody is watching."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO


@contextmanager
def bytes_bar(label: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Show on stderr, where that is a terminal, how much of `size` bytes is done; nothing for None.

    Yields:
        Takes the number of bytes done since its last call.
    """
    if size is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    # Imported where it is shown: most runs are watched by nobody.
    from rich import console, progress  # noqa: PLC0415

    bar = progress.Progress(
        "{task.description}",
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=size)
        yield lambda read: bar.advance(task, read)


def size_of(source: IO[str] | None) -> int | None:
    """The bytes of a file; None for standard input, and whatever else has no end to show."""
    try:
        return os.fstat(source.fileno()).st_size or None if source else None
    except (AttributeError, OSError, ValueError):
        return None
