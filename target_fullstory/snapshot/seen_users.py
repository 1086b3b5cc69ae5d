"""Which known users a run has read, and which have vanished, in memory that does not grow with them.

A user is seen by its key, where its record was mapped, or by the fingerprint of its record, where that was
enough. Both lie in temporary files without a name, in parts by their first byte, and are held against the
known users part by part.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import iter_unpack
from typing import IO, Final

from target_fullstory.accounting.output_files import make_directory
from target_fullstory.errors import OutputError

PARTS: Final = 256
_HELD_BYTES = 2 * 1024 * 1024
_KEY_BYTES = 8
_NO_RECORD = bytes(_KEY_BYTES)


class PartedFile:
    """Items of one size in a temporary file, to be read part by part; it goes with the process."""

    def __init__(self, directory: Path, width: int) -> None:
        self._directory = directory
        self._width = width
        self._file: IO[bytes] | None = None
        self._parts = [bytearray() for _ in range(PARTS)]
        self._held = 0
        # Of each time that it was written to: where its parts begin, and the end of the last.
        self._written: list[array[int]] = []
        self._count = 0

    def __len__(self) -> int:
        """How many items."""
        return self._count

    def add(self, items: list[bytes]) -> None:
        """Take items."""
        parts = self._parts
        for item in items:
            parts[item[0]] += item
        self._count += len(items)
        self._held += len(items) * self._width
        if self._held >= _HELD_BYTES:
            self._write()

    def part(self, number: int) -> bytes:
        """The items that begin with a byte, one after the other."""
        found = []
        if self._file is not None:
            for places in self._written:
                self._file.seek(places[number])
                found.append(self._file.read(places[number + 1] - places[number]))
        return b"".join([*found, self._parts[number]])

    def close(self) -> None:
        """Give up the file."""
        if self._file is not None:
            self._file.close()

    def _write(self) -> None:
        try:
            if self._file is None:
                make_directory(self._directory)
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115
            at = self._file.seek(0, 2)
            places = array("Q", [at])
            for part in self._parts:
                at += len(part)
                places.append(at)
            content = memoryview(b"".join(self._parts))
            while content:
                content = content[self._file.write(content) :]
        except OSError as error:
            raise OutputError(
                f"Which users were read cannot be noted in {self._directory} ({error.strerror}). Free "
                "disk space, or set output_dir to a directory that can be written."
            ) from None
        self._written.append(places)
        for part in self._parts:
            part.clear()
        self._held = 0


class SeenUsers:
    """The users of one stream that this run has read."""

    def __init__(self, directory: Path) -> None:
        """Begin; `directory` is made when the first file is needed."""
        self._directory = directory
        self._keys = PartedFile(directory, _KEY_BYTES)
        self._records = PartedFile(directory, _KEY_BYTES)

    def keys(self, keys: list[bytes]) -> None:
        """Take users by their keys."""
        self._keys.add(keys)

    def records(self, records: list[bytes]) -> None:
        """Take users by the fingerprints of their records."""
        self._records.add(records)

    def vanished(self, users: Iterable[tuple[bytes, bytes]]) -> VanishedUsers:
        """The users that were not seen.

        Those known are given by key and by the fingerprint of the record that they were made of, zeros for
        none; it takes least time where they come in the order of the keys' first bytes.
        """
        found = PartedFile(self._directory, _KEY_BYTES)
        # Unless their records were seen: these lie in the order of the records.
        others = PartedFile(self._directory, 2 * _KEY_BYTES)
        part, seen = -1, set[bytes]()
        without, pairs = list[bytes](), list[bytes]()
        for key, record in users:
            if key[0] != part:
                part, seen = key[0], _items(self._keys.part(key[0]))
                found.add(without)
                others.add(pairs)
                without, pairs = [], []
            if key in seen:
                continue
            if record == _NO_RECORD:
                without.append(key)
            else:
                pairs.append(record + key)
        found.add(without)
        others.add(pairs)
        for number in range(PARTS):
            seen = _items(self._records.part(number))
            unseen = iter_unpack("8s8s", others.part(number))
            found.add([key for record, key in unseen if record not in seen])
        others.close()
        return VanishedUsers(found)

    def close(self) -> None:
        """Give up the files."""
        self._keys.close()
        self._records.close()


class VanishedUsers:
    """The keys of users that have vanished, in the order of their first bytes; read as often as wanted."""

    def __init__(self, keys: PartedFile) -> None:
        self._keys = keys

    def __len__(self) -> int:
        """How many."""
        return len(self._keys)

    def __iter__(self) -> Iterator[bytes]:
        """One by one."""
        for number in range(PARTS):
            for (key,) in iter_unpack(f"{_KEY_BYTES}s", self._keys.part(number)):
                yield key

    def close(self) -> None:
        """Give up the file."""
        self._keys.close()


def _items(packed: bytes) -> set[bytes]:
    return {item for (item,) in iter_unpack(f"{_KEY_BYTES}s", packed)}
