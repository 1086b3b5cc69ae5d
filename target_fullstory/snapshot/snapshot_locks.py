"""Locks on files beside a snapshot, so that runs on one machine do not get in each other's way.

The lock files stay: a file that was removed while another run opened it would be no lock at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from target_fullstory.accounting.file_locks import try_lock
from target_fullstory.accounting.output_files import open_to_append
from target_fullstory.errors import OutputError, TargetFullstoryError
from target_fullstory.logs import logger

_LONGEST_WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.05
_TELL_AFTER_SECONDS = 5.0


class StreamInUseError(TargetFullstoryError):
    """Another run on this machine loads the stream to the same destination."""


class StreamLocks:
    """The streams that a run loads: no other run may load them to the same destination meanwhile."""

    def __init__(self, directory: Path, name: str) -> None:
        """Take the snapshot's directory and name."""
        self._directory = directory
        self._name = name
        self._held: dict[str, BinaryIO] = {}

    def take(self, stream: str) -> None:
        """Keep a stream for this run, until it is closed.

        Raises:
            StreamInUseError: Another run has it.
        """
        if stream in self._held:
            return
        digest = hashlib.blake2b(stream.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
        file = _open(self._directory / f"{self._name}.{digest}.lock")
        if not try_lock(file):
            file.close()
            raise StreamInUseError(
                f"Stream {stream}: another run is loading it to the same destination. Nothing of it was "
                "sent. Run this one again when that has ended."
            )
        self._held[stream] = file

    def close(self) -> None:
        """Give all streams back."""
        while self._held:
            self._held.popitem()[1].close()


class StoreLock:
    """Whether other runs have the store's file open.

    A run is alone with it, and may check or replace the file, or shares it with others that only use it.
    """

    def __init__(self, store: Path) -> None:
        """Be alone with a file, or share it; waits while another run is alone with it.

        Raises:
            OutputError: Another run keeps it for too long, or the lock's file cannot be opened.
        """
        self._file = _open(store.with_suffix(".in-use"))
        self._store = store
        self.alone = try_lock(self._file)
        if not self.alone:
            self.share()

    def share(self) -> None:
        """Let other runs use the file, too."""
        self.alone = False
        _wait_for(self._file, self._store, shared=True)

    def try_alone(self) -> bool:
        """Be alone with the file, if no other run uses it; else this run must not use it any longer."""
        self.alone = try_lock(self._file)
        return self.alone

    def close(self) -> None:
        """Leave the file to others."""
        self._file.close()


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Wait until no other run is here, and keep others out; `path` is a file that stands for the place."""
    with _open(path) as file:
        _wait_for(file, path)
        yield


def _wait_for(file: BinaryIO, what: Path, *, shared: bool = False) -> None:
    begin = time.monotonic()
    told = False
    while not try_lock(file, shared=shared):
        waited = time.monotonic() - begin
        if waited > _LONGEST_WAIT_SECONDS:
            raise OutputError(
                f"Another run has kept the snapshot {what} for {waited:.0f} seconds. Run this one again when "
                "that has ended."
            )
        if waited > _TELL_AFTER_SECONDS and not told:
            logger.info("Waiting for another run that reads or writes all of the snapshot %s", what)
            told = True
        time.sleep(_POLL_SECONDS)


def _open(path: Path) -> BinaryIO:
    try:
        return open_to_append(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be opened: {error.strerror}. Set snapshot_path to a directory that is writable."
        ) from None
