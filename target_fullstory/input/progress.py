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
    """Show how much of a file is read; yields what takes the number of bytes read since the last call.

    Standard input, where `source` is None, has no end to show.
    """
    with bytes_bar("Reading", _size(source)) as advance:
        yield advance


@contextmanager
def bytes_bar(label: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """Show on stderr, where that is a terminal, how much of `size` bytes is done; nothing for None."""
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
