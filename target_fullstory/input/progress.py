"""A progress bar for a load from a file, where somebody is watching."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import UnsupportedOperation
from typing import IO


@contextmanager
def progress(source: IO[str] | None) -> Iterator[Callable[[int], None]]:
    """Show how much of a file is read, on stderr where that is a terminal.

    Args:
        source: What is read; None for standard input, which has no end to show.

    Yields:
        Takes the number of bytes read.
    """
    with bytes_bar("Reading", _size(source)) as advance:
        yield advance


@contextmanager
def bytes_bar(label: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Show how much of so many bytes is done, on stderr where that is a terminal.

    Args:
        label: What is being done.
        size: The bytes in all; None where that is not known, and nothing is shown.

    Yields:
        Takes the number of bytes done.
    """
    if size is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    # Imported where it is shown: most runs are watched by nobody.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=size)
        yield lambda read: bar.advance(task, read)


def _size(source: IO[str] | None) -> int | None:
    if source is None:
        return None
    try:
        return os.fstat(source.fileno()).st_size or None
    except (AttributeError, UnsupportedOperation, OSError, ValueError):
        return None
