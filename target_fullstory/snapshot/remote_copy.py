"""A snapshot that is kept in an object store: a working copy here, generations of it there.

Objects are never changed: each time the snapshot is put back it becomes the next generation,
`<name>-<generation>.mdb`, created only where nobody else has created it. So of two runs at once the second to
put back fails, and overwrites nothing. At an object's end stands the checksum of what is before it.

Beside the working copy, `<name>.generation` says which generation it began as, or has become. While that is
the newest one, the working copy is at least as new, and not fetched again: a run that was killed may have
noted in it what it could not put back.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from target_fullstory.accounting.output_files import make_directory, replace
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger
from target_fullstory.snapshot.object_store import ObjectStore, StoreError
from target_fullstory.snapshot.snapshot_files import (
    CHECKSUM_BYTES,
    StoreUnusableError,
    check_snapshot,
    checksum,
    forget_checksum,
    set_aside,
    was_closed,
)
from target_fullstory.snapshot.snapshot_locks import alone_with

_MAGIC = b"fssnap1\n"
_TRAILER_BYTES = CHECKSUM_BYTES + len(_MAGIC)


class OvertakenError(OutputError):
    """Another run has written the snapshot since this one read it."""


class Generation(msgspec.Struct, frozen=True):
    """One of the snapshot's generations; the number 0 stands for none."""

    number: int = 0
    trailer: str = ""  # tells it from another run's of the same number


class RemoteCopy:
    """One destination's snapshot in an object store, and its working copy."""

    def __init__(self, url: str, name: str, directory: Path) -> None:
        """Take the value of `snapshot_path`, the snapshot's name, and where working copies are kept.

        Raises:
            ConfigurationError: What is needed for the store is not installed, or it is no store's address.
        """
        self._store = ObjectStore(url)
        self._name = name
        self._object = re.compile(rf"{re.escape(name)}-(\d{{10}})\.mdb")
        # Copies from two stores must not be taken for each other.
        place = hashlib.blake2b(
            url.rstrip("/").encode("utf-8", "backslashreplace"), digest_size=4
        ).hexdigest()
        self.path = directory / f"remote-{place}" / f"{name}.mdb"
        self._note = self.path.with_suffix(".generation")

    def is_begun(self) -> bool:
        """Whether there is a generation of it."""
        return bool(self._sizes())

    def is_current(self) -> bool:
        """Whether the working copy began as the newest generation, so that it need not be fetched."""
        return self.path.is_file() and self._base() == self._newest()

    def fetch(self) -> bool:
        """Make the working copy whole and the newest; to be called while nobody else has it open.

        There is none afterwards where there is no generation of it. Returns whether all in it has been put
        back.

        Raises:
            StoreError: The store cannot be read.
            OutputError: The working copy cannot be written.
        """
        base, newest = self._base(), self._newest()
        if os.path.lexists(self.path) and base == newest:
            try:
                check_snapshot(self.path)
            except StoreUnusableError as problem:
                if not newest.number:
                    set_aside(self.path, problem)
                    return True
                logger.warning(
                    "The working copy %s cannot be used: %s. It is fetched anew", self.path, problem
                )
            else:
                return was_closed(self.path)
        try:
            make_directory(self.path.parent)
            self._note.unlink(missing_ok=True)
            forget_checksum(self.path)
            if newest.number:
                self._fetch_last_good(newest.number)
            elif os.path.lexists(self.path):
                gone = f"there is none at {self._store.url} any more"
                set_aside(self.path, StoreUnusableError(gone))
            self._save(newest)
        except OSError as error:
            raise self._unwritable(error) from None
        return True

    def _fetch_last_good(self, newest: int) -> None:
        """Fetch the newest generation that is whole; what is left where none is, is no working copy."""
        new = self.path.with_suffix(".fetched")
        for number in sorted(self._sizes(), reverse=True):
            self._store.get(self._object_name(number), new)
            if _take_trailer(new):
                new.replace(self.path)
                self.path.with_name(f"{self.path.name}-lock").unlink(missing_ok=True)
                if number != newest:
                    logger.warning("Generation %d is used: what was sent since is sent again", number)
                return
            logger.warning(
                "The snapshot %s/%s is damaged: its checksum does not match",
                self._store.url,
                self._object_name(number),
            )
        new.unlink(missing_ok=True)
        if os.path.lexists(self.path):
            set_aside(self.path, StoreUnusableError(f"it is older than what is damaged at {self._store.url}"))
        else:
            logger.warning(
                "No generation of the snapshot at %s can be used. A new one is begun, so all records of the "
                "streams with sync changed or mirror are sent again, events too",
                self._store.url,
            )

    def put(self, copy: Callable[[Path], None]) -> None:
        """Make a copy of the working copy the next generation; `copy` writes one to a file.

        Runs that share the working copy do so one after the other.

        Raises:
            OvertakenError: A run with another working copy has made that generation.
            StoreError: The store cannot be read or written.
            OutputError: The copy cannot be made, or what is noted here cannot be written.
        """
        compact = self.path.with_suffix(".compact")
        with alone_with(self.path.with_suffix(".put")):
            try:
                copy(compact)
                self._put(compact)
            except OSError as error:
                raise self._unwritable(error) from None
            finally:
                with suppress(OSError):
                    compact.unlink(missing_ok=True)

    def _put(self, compact: Path) -> None:
        base = self._base() or Generation()
        trailer = checksum(compact) + _MAGIC
        with compact.open("ab") as file:
            file.write(trailer)
        new = Generation(base.number + 1, trailer.hex())
        newest = self._newest()
        # Where there are none any more, nobody's is overwritten.
        if newest != base and newest.number >= base.number:
            raise self._overtaken(newest, base)
        self._create(new, compact, base)
        self._save(new)
        try:
            for number in self._sizes():
                if number < base.number:
                    self._store.remove(self._object_name(number))
        except StoreError as error:  # what was put is there all the same
            logger.warning("Generations of the snapshot that are too old cannot be removed. %s", error)

    def _create(self, new: Generation, file: Path, base: Generation) -> None:
        try:
            self._store.create(self._object_name(new.number), file)
        except (FileExistsError, StoreError) as error:
            # It may be there all the same: the answer was lost, and it was put twice.
            newest = self._newest()
            if newest == new:
                return
            if newest.number >= new.number:
                raise self._overtaken(newest, base) from None
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"The snapshot at {self._store.url} cannot be written: generation {new.number} was there, "
                "and is gone. Run this again."
            ) from None

    def _overtaken(self, newest: Generation, base: Generation) -> OvertakenError:
        return OvertakenError(
            f"Another run has written the snapshot at {self._store.url} meanwhile: it is of generation "
            f"{newest.number}, this run began with {base.number}. Nothing was overwritten. What this run has "
            "sent since is not kept there, so it will be sent again, events too. Let one run at a time use "
            "this snapshot_path for a destination, and run this one again."
        )

    # The generations

    def _sizes(self) -> dict[int, int]:
        found = {self._object.fullmatch(name): size for name, size in self._store.sizes().items()}
        return {int(match[1]): size for match, size in found.items() if match}

    def _newest(self) -> Generation:
        sizes = self._sizes()
        number = max(sizes, default=0)
        if not sizes.get(number):
            return Generation(number)
        return Generation(number, self._store.tail(self._object_name(number), _TRAILER_BYTES).hex())

    def _object_name(self, number: int) -> str:
        return f"{self._name}-{number:010}.mdb"

    # What is noted here

    def _base(self) -> Generation | None:
        """Which generation the working copy is of; None where that is not known."""
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Generation)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _save(self, generation: Generation) -> None:
        replace(self._note, msgspec.json.encode(generation))

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"The working copy {self.path} of the snapshot cannot be written: {error.strerror}. Make room "
            "for it, or set output_dir to another directory."
        )


def _take_trailer(file: Path) -> bool:
    """Take an object's checksum from the end of a file; returns whether it matches the rest."""
    end = file.stat().st_size - _TRAILER_BYTES
    if end < 0:
        return False
    with file.open("r+b") as opened:
        opened.seek(end)
        if opened.read() != checksum(file, end) + _MAGIC:
            return False
        opened.truncate(end)
        os.fsync(opened.fileno())
    return True
