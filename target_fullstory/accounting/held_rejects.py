"""Rejects files that a command replays or discards: locked meanwhile, as by a load that writes one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from target_fullstory.accounting.file_locks import try_lock
from target_fullstory.accounting.unresolved_rejects import open_file, set_aside
from target_fullstory.errors import InputError


class HeldRejects:
    """One file, read as far as it reached when it was locked.

    Where there are no locks, a load may write on; then the file keeps its name.
    """

    def __init__(self, path: Path) -> None:
        """Lock a file; an InputError where another process holds it, or has just dealt with it."""
        self.path = path
        try:
            self._file = _open(path)
            if not try_lock(self._file):
                self._file.close()
                raise InputError(
                    f"{path} is in use: the load that writes it has not ended, or it is being replayed. "
                    "Nothing was sent, and it keeps its name; try again when that has ended."
                )
            self._status = os.fstat(self._file.fileno())
            is_there = os.path.samestat(path.stat(), self._status)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}. Nothing was sent.") from None
        if not is_there:
            raise InputError(f"{path} was replaced just now. Nothing was sent; try again.")

    @property
    def size(self) -> int:
        """How many bytes are read of it."""
        return self._status.st_size

    def lines(self) -> Iterator[bytes]:
        """Its lines, from the first."""
        self._file.seek(0)
        left = self.size
        for line in self._file:
            left -= len(line)
            if left < 0:
                return
            yield line

    def set_aside(self, what_was_done: Literal["replayed", "discarded"]) -> Path | None:
        """Rename the file; None, and it keeps its name, where it is not the one that was locked any more."""
        try:
            now = self.path.stat()
        except OSError:
            return None
        if not os.path.samestat(now, self._status) or now.st_size != self.size:
            return None
        if os.name == "nt":
            self.close()  # a file that is open has no other name there
        return set_aside(self.path, what_was_done)

    def close(self) -> None:
        """Give up the lock."""
        self._file.close()


def different_files(paths: Iterable[str]) -> list[Path]:
    """The paths of a command line, without those of a file that was named before."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        found.setdefault(path.resolve(), path)
    return list(found.values())


def _open(path: Path) -> BinaryIO:
    """Open a file to be read; a lock takes more on some file systems."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0)), "rb")
    except OSError:
        return open_file(path)
