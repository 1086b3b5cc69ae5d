"""Rejects files in `output_dir` that were neither replayed nor discarded: records that are missing still.

A file that was dealt with is renamed to `….replayed` or `….discarded`. What a run beside this one has on the
disk so far counts, too. A file whose destination is not known counts for every destination.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import InputError
from target_fullstory.logs import counted, logger

_PREFIX, _SUFFIX = "rejects-", ".jsonl"
_READ_BYTES = 1024 * 1024
_LISTED_FILES = 100


class _Report(msgspec.Struct):
    destination: Destination | None = None


_decode_report = msgspec.json.Decoder(_Report).decode


def unresolved_files(output_dir: str, destination: Destination) -> list[Path]:
    """The files with unresolved rejects for a destination, by the time of their runs."""
    try:
        found = sorted(Path(output_dir).glob(f"{_PREFIX}*{_SUFFIX}"))
    except OSError:
        return []
    return [path for path in found if _is_file(path) and _may_be_for(path, destination)]


def schemas_beside(rejects: Path) -> Path:
    """The file with the SCHEMAs that a load has kept for its rejects, whatever was done with these."""
    return rejects.with_name("schemas-" + run_of(rejects) + _SUFFIX)


def run_of(rejects: Path) -> str:
    """The id of the run that has written a file of rejects."""
    return rejects.name.removeprefix(_PREFIX).partition(_SUFFIX)[0]


def is_unresolved(path: Path) -> bool:
    """Whether a file has the name that a run gives to its rejects."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def set_aside(path: Path, what_was_done: Literal["replayed", "discarded"]) -> Path:
    """Rename a file that was dealt with; returns its new path."""
    new, number = path.with_name(f"{path.name}.{what_was_done}"), 1
    while new.exists():
        number += 1
        new = path.with_name(f"{path.name}.{number}.{what_was_done}")
    try:
        path.rename(new)
    except OSError as error:
        raise InputError(
            f"{path} cannot be renamed to {new.name}: {error.strerror}. Its rejects stay unresolved."
        ) from None
    return new


class EarlierRejects:
    """The unresolved rejects of earlier runs, as a run finds them when it begins."""

    def __init__(self, output_dir: str, destination: Destination) -> None:
        """Count them; a warning tells of them."""
        self._counts: dict[Path, int] = {}
        for path in unresolved_files(output_dir, destination):
            if count := count_rejects(path):
                self._counts[path] = count
        if self._counts:
            logger.warning(
                "Earlier runs left %s unresolved, in %s in %s: `target-fullstory rejects` lists them",
                counted(self.count, "rejected record"),
                counted(len(self._counts), "file"),
                output_dir,
            )

    def look_again(self, destination: Destination | None = None) -> None:
        """Leave out what was replayed or discarded in the meantime, and what is for another destination."""
        self._counts = {
            path: count
            for path, count in self._counts.items()
            if path.exists() and (destination is None or _may_be_for(path, destination))
        }

    @property
    def count(self) -> int:
        """How many records there are."""
        return sum(self._counts.values())

    @property
    def files(self) -> list[str]:
        """The files that they are in, by the time of their runs."""
        return [str(path) for path in self._counts]


def unresolved_entry(count: int, files: list[str]) -> dict[str, Any]:
    """Unresolved rejects as the state block shows them: the number of all, the paths of the newest."""
    return {"count": count, "files": files[-_LISTED_FILES:]}


def count_rejects(path: Path) -> int:
    """The rejects in a file; one that cannot be read counts as one."""
    count, before = 0, b"\n"
    try:
        with open_file(path) as file:
            while block := file.read(_READ_BYTES):
                # Each line is an object; one that was cut off by a kill ends without its brace.
                count += (before + block).count(b"\n{")
                before = block[-1:]
    except OSError as error:
        logger.warning("The rejects file %s cannot be read: %s", path, error.strerror)
        return 1
    return count - (count > 0 and before not in {b"\n", b"}"})


def was_cut_off(line: bytes) -> bool:
    """Whether a kill has cut a file's last line off: no STATE covers its record, the tap sends it again."""
    return line.startswith(b'{"stream":') and not line.endswith((b"\n", b"}"))


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it, without waiting for a writer where it is a pipe."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _may_be_for(rejects: Path, destination: Destination) -> bool:
    report = rejects.with_name(f"run-{run_of(rejects)}.json")
    known = None
    # Without a report that can be read, the destination is not known.
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        if _is_file(report):
            with open_file(report) as file:
                known = _decode_report(file.read()).destination
    return known is None or not known.is_surely_not(destination)
