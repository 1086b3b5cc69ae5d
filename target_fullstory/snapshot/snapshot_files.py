"""The file of a snapshot: its name, whether it is whole, and where it goes when it is not.

LMDB maps the file into memory, where one that was cut off ends the process with a signal. So it is looked at
before it is opened. A run that closes it leaves its checksum beside it; the next one takes that away. Where
there is none, a run was killed: then a process of its own reads the file with LMDB first.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import xxhash

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.output_files import replace
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger

CHECKSUM_BYTES = 16

_BLOCK_BYTES = 1 << 20
_LONGEST_LOOK_SECONDS = 600
_DAMAGED = 3
# Where LMDB crashes on it, the process ends with a signal. Any other end says nothing about the file.
_READ_ALL = f"""
import lmdb, os, sys
try:
    environment = lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False)
    environment.copyfd(os.open(os.devnull, os.O_WRONLY), compact=True)
except lmdb.Error as error:
    print(error)
    os._exit({_DAMAGED})
os._exit(0)
"""


class StoreUnusableError(Exception):
    """The file holds no snapshot that this run could use; another is to be begun in its place."""

    def __init__(self, reason: str, version: int | None = None) -> None:
        """Take what is wrong, such as `it is damaged`, and the file's version where it is another's."""
        super().__init__(reason)
        self.version = version


def snapshot_name(destination: Destination) -> str:
    """The name of a destination's snapshot, without an ending.

    It shows the organization, and differs for what only case or signs tell apart.
    """
    organization = destination.organization or ""
    place = f"{destination.address}\n{organization}".encode("utf-8", "backslashreplace")
    digest = hashlib.blake2b(place, digest_size=4).hexdigest()
    shown = "".join(char if char.isascii() and char.isalnum() else "-" for char in organization)
    return f"{shown[:80]}-{digest}" if shown else digest


def check_snapshot(path: Path) -> None:
    """Look at a file before LMDB does; to be called while nobody else has it open.

    Raises:
        StoreUnusableError: It is no snapshot, or damaged.
        OutputError: It cannot be read.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise StoreUnusableError("it is no file")
    try:
        expected = _checksum_file(path).read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        expected = None
    except OSError as error:
        raise _unreadable(_checksum_file(path), error) from None
    if expected is None:
        _check_with_lmdb(path)
        return
    try:
        found = checksum(path).hex()
    except OSError as error:
        raise _unreadable(path, error) from None
    if found != expected:
        raise StoreUnusableError("it is damaged: its checksum does not match")


def was_closed(path: Path) -> bool:
    """Whether the last run that had a file open has closed it in order."""
    return _checksum_file(path).exists()


def note_checksum(path: Path) -> None:
    """Leave a file's checksum beside it, once it is closed and nobody else has it open."""
    try:
        replace(_checksum_file(path), checksum(path).hex().encode() + b"\n")
    except OSError as error:  # the next run looks at the file with LMDB instead
        logger.debug("The checksum of %s cannot be written: %s", path, error.strerror)


def forget_checksum(path: Path) -> None:
    """Take away the checksum of a file that is about to be changed.

    Raises:
        OutputError: It cannot be removed, and would be wrong.
    """
    try:
        _checksum_file(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{_checksum_file(path)} cannot be removed: {error.strerror}. Make its directory writable, or "
            "set snapshot_path to another one."
        ) from None


def set_aside(path: Path, problem: StoreUnusableError) -> Path:
    """Rename a file that cannot be used, with a warning; returns its new name.

    To be called while nobody else has it open.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    ending = f"damaged-{stamp}" if problem.version is None else f"version-{problem.version}"
    new = next(name for name in _names(path.with_name(f"{path.name}.{ending}")) if not os.path.lexists(name))
    try:
        path.rename(new)
        for beside in (_checksum_file(path), path.with_name(f"{path.name}-lock")):
            with suppress(FileNotFoundError):
                beside.unlink()
    except OSError as error:
        raise OutputError(
            f"The snapshot {path} cannot be used, {problem}, and it cannot be renamed: {error.strerror}. "
            "Move it away, or set snapshot_path to another directory."
        ) from None
    logger.warning(
        "The snapshot %s cannot be used: %s. It is now %s. A new one is begun, so all records of the streams "
        "with sync changed or mirror are sent again, events too",
        path,
        problem,
        new.name,
    )
    return new


def checksum(path: Path, end: int | None = None) -> bytes:
    """The checksum of a file, or of what it holds before a place."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        for block in _blocks(file, end):
            digest.update(block)
    return digest.digest()


def _blocks(file: BinaryIO, end: int | None) -> Iterator[bytes]:
    left = sys.maxsize if end is None else end
    while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
        left -= len(block)
        yield block


def _check_with_lmdb(path: Path) -> None:
    if not sys.executable:
        return
    try:
        # LMDB would take an empty file, or none, for a new one.
        if path.stat().st_size == 0:
            raise StoreUnusableError("it is empty")
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _READ_ALL, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LONGEST_LOOK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.debug("%s cannot be looked at with LMDB: %s", path, error)
        return
    if done.returncode < 0 or done.returncode == _DAMAGED:
        raise StoreUnusableError("it is damaged, or no snapshot at all")


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.xxh3")


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.name}-{number}")


def _unreadable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The snapshot {path} cannot be read: {error.strerror}. Make it readable, or set snapshot_path to "
        "another directory."
    )
