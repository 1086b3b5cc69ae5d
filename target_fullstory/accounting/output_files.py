"""The files that a run leaves in `output_dir`: only their owner can read them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def make_directory(directory: Path) -> None:
    """Make `output_dir` where it is not there yet; one that is there keeps its mode."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_to_append(path: Path, buffer_bytes: int = -1) -> BinaryIO:
    """Open a file in `output_dir` at its end, made where it is not there; its handle can also be read."""
    make_directory(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(handle, "ab", buffer_bytes)


def replace(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new one, and never a part."""
    make_directory(path.parent)
    new = path.with_name(f"{path.name}.tmp")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
