"""An LMDB file: opened, read, changed and copied, with errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb

from target_fullstory.accounting.output_files import make_directory
from target_fullstory.errors import OutputError
from target_fullstory.snapshot.snapshot_files import StoreUnusableError

_LARGEST_FILE = 1 << 36  # address space, not disk
_DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.BadTxnError)

ITEMS_A_COMMIT = 8_192
"""What one transaction changes is in memory until it ends."""


class LmdbFile:
    """A file of keys and values."""

    def __init__(self, path: Path) -> None:
        """Open the file, or create it.

        Raises:
            StoreUnusableError: It is damaged.
            OutputError: It cannot be opened or created.
        """
        self.path = path
        self._environment = _open(path)

    def reading(self) -> Transaction:
        """A transaction that sees the file as it is now."""
        return Transaction(self._environment, self.path, write=False)

    def writing(self) -> Transaction:
        """A transaction that changes the file at once, or not at all."""
        return Transaction(self._environment, self.path, write=True)

    @property
    def changes(self) -> int:
        """How often the file was changed, by this run and others, since it was written anew."""
        return int(self._environment.info()["last_txnid"])

    def copy(self, path: Path) -> None:
        """Write a copy to a file, as small as it can be.

        Raises:
            OutputError: It cannot be written.
        """
        path.unlink(missing_ok=True)
        copy = LmdbFile(path)
        try:
            with self.reading() as transaction:
                found = iter(items(transaction, b""))
                while part := list(islice(found, ITEMS_A_COMMIT)):
                    with copy.writing() as writing:
                        writing.cursor().putmulti(part, append=True)
        finally:
            copy.close()
            path.with_name(f"{path.name}-lock").unlink(missing_ok=True)

    def close(self) -> None:
        """Close it."""
        self._environment.close()


class Transaction:
    """A transaction whose errors a user can act on; changes the file at once, or not at all."""

    def __init__(self, environment: Any, path: Path, *, write: bool) -> None:
        self._environment = environment
        self._path = path
        self._write = write

    def __enter__(self) -> Any:
        try:
            self._transaction = self._environment.begin(write=self._write)
        except lmdb.Error as error:
            raise self._told(error) from None
        return self._transaction

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._transaction.commit()
            else:
                self._transaction.abort()
        except lmdb.Error as failure:
            raise self._told(failure) from None
        if isinstance(error, lmdb.Error):
            raise self._told(error) from None

    def _told(self, error: lmdb.Error) -> OutputError:
        if isinstance(error, _DAMAGE):
            return OutputError(
                f"The snapshot {self._path} is damaged ({error}). Move it away: the next run then sends all "
                "of its streams again."
            )
        return _unwritable(self._path, error)


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"The snapshot {path} cannot be written ({error}). Make room for it, or set snapshot_path to another "
        "directory."
    )


def items(transaction: Any, prefix: bytes, first: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """The items whose keys begin so, in order; from one on."""
    cursor = transaction.cursor()
    more = cursor.set_range(first or prefix)
    while more:
        key, packed = cursor.item()
        if not key.startswith(prefix):
            return
        yield key, packed
        more = cursor.next()


def _open(path: Path) -> Any:
    try:
        make_directory(path.parent)
        return lmdb.open(str(path), subdir=False, mode=0o600, map_size=_LARGEST_FILE, max_readers=64)
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.IncompatibleError):
        raise StoreUnusableError("it is damaged") from None
    except (lmdb.Error, OSError) as error:
        raise OutputError(
            f"The snapshot {path} cannot be opened ({error}). Set snapshot_path to a directory that can be "
            "written."
        ) from None
