"""What unfinished jobs and batches were made of: each body as it was sent, in `batch-<run_id>-<n>.json`."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from target_fullstory.accounting.output_files import make_directory
from target_fullstory.sending.note_file import sync_directory, write_all

_MOST_OPEN = 200  # files with jobs' requests that are kept open; by default 90 jobs are in progress at most


class KeptBodies:
    """The files of this run, and those that earlier ones left; used by several threads."""

    def __init__(self, directory: Path, run_id: str) -> None:
        self._directory = directory
        self._run_id = run_id
        self._lock = threading.Lock()
        self._written = 0
        self._open: dict[str, IO[bytes]] = {}  # this run's, by name

    def write(self, parts: Iterable[bytes], *, sync: bool = False) -> str:
        """Write a file; returns its name. With `sync` it is on the disk when this returns."""
        with self._lock:
            self._written += 1
            path = self._directory / f"batch-{self._run_id}-{self._written}.json"
        make_directory(self._directory)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(handle, "w+b", buffering=0)
        try:
            for part in parts:
                write_all(file, part)
            if sync:
                os.fsync(handle)
                sync_directory(self._directory)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            keep_open = len(self._open) < _MOST_OPEN
            if keep_open:
                self._open[path.name] = file
        if not keep_open:
            file.close()
        return path.name

    def read(self, name: str) -> bytes:
        """What is in a file; one of this run's may have been deleted meanwhile."""
        with self._lock:
            file = self._open.get(name)
            if file is not None:
                file.seek(0)
                return file.read()
        return self._inside(name).read_bytes()

    def delete(self, name: str) -> None:
        """Delete a file that is not needed any more."""
        with self._lock:
            file = self._open.pop(name, None)
        with suppress(OSError):
            if file is not None:
                file.close()
            self._inside(name).unlink(missing_ok=True)

    def delete_others(self, note: Path, wanted: set[str | None]) -> None:
        """Delete those of an earlier run that its note does not name: a kill came before that."""
        run_id = note.stem.removeprefix("jobs-")
        for path in self._directory.glob(f"batch-{glob.escape(run_id)}-*.json"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for file in self._open.values():
                file.close()
            self._open = {}

    def _inside(self, name: str) -> Path:
        """The path of a file that a note names; a FileNotFoundError where that leads elsewhere."""
        if Path(name).name != name:
            raise FileNotFoundError(name)
        return self._directory / name
