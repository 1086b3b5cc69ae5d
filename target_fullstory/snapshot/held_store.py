"""The store of a run, from its opening to its end: whole, locked, and put back where it is kept elsewhere.

Several runs on a machine may have the file open, each for other streams. What takes one that is alone with it
(looking whether it is whole, fetching it, writing it anew) is done at the opening of the first, and at the
end of the last.
"""

from __future__ import annotations

import time
from pathlib import Path

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger
from target_fullstory.snapshot.object_store import StoreError
from target_fullstory.snapshot.remote_copy import RemoteCopy
from target_fullstory.snapshot.snapshot_files import (
    StoreUnusableError,
    check_snapshot,
    forget_checksum,
    note_checksum,
    set_aside,
)
from target_fullstory.snapshot.snapshot_locks import StoreLock, StreamLocks
from target_fullstory.snapshot.store import Store

_SECONDS_BETWEEN_PUTS = 300.0
# Of a run's time at most so much goes into putting it back.
_SHARE_OF_TIME = 0.05


class HeldStore:
    """A store that is held by this run. Used by the reading thread alone."""

    def __init__(self, path: Path, destination: Destination, remote: RemoteCopy | None = None) -> None:
        """Open a destination's store, or begin it; `path` is the working copy of `remote`.

        Raises:
            OutputError: It cannot be opened or fetched.
        """
        self._path = path
        self._remote = remote
        self._streams = StreamLocks(path.parent, path.stem)
        self._lock = StoreLock(path)
        try:
            was_put = self._prepare()
            self.store = self._open(destination)
            self.store.shared = True
            self._lock.share()
        except BaseException:
            self._lock.close()
            raise
        self._put_at = self.store.file.changes if was_put else -1
        self._next_put = time.monotonic() + _SECONDS_BETWEEN_PUTS

    def _prepare(self) -> bool:
        """Get the file ready to be opened; returns whether all in it has been put back."""
        if self._remote is not None:
            if self._lock.alone:
                was_put = self._remote.fetch()
                forget_checksum(self._path)
                return was_put
            if not self._remote.is_current():
                raise OutputError(
                    f"Another run has written the snapshot that {self._path} is a copy of, and a run on this "
                    "machine is using that copy. Nothing was sent. Run this one again when that has ended."
                )
        elif self._lock.alone:
            try:
                check_snapshot(self._path)
            except StoreUnusableError as problem:
                set_aside(self._path, problem)
            forget_checksum(self._path)
        return False

    def _open(self, destination: Destination) -> Store:
        try:
            return Store(self._path, destination)
        except StoreUnusableError as problem:
            if not self._lock.alone:
                raise OutputError(
                    f"The snapshot {self._path} cannot be used: {problem}. Another run has it open; run this "
                    "one again when that has ended."
                ) from None
            set_aside(self._path, problem)
        return Store(self._path, destination)

    def take(self, stream: str) -> None:
        """Keep a stream for this run.

        Raises:
            StreamInUseError: Another run loads it.
        """
        self._streams.take(stream)
        self.store.own(stream)

    @property
    def is_put_due(self) -> bool:
        """Whether it is time to put it back."""
        return self._remote is not None and time.monotonic() > self._next_put

    def put_if_due(self) -> None:
        """Put it back where it is kept elsewhere, now and then.

        Raises:
            OvertakenError: Another run has.
            OutputError: No copy of it can be made.
        """
        if not self.is_put_due:
            return
        begin = time.monotonic()
        try:
            self._put()
        except StoreError as error:
            logger.warning("%s It is tried again later in this run", error)
        end = time.monotonic()
        self._next_put = end + max(_SECONDS_BETWEEN_PUTS, (end - begin) / _SHARE_OF_TIME)

    def _put(self) -> None:
        if self._remote is not None and self.store.file.changes != self._put_at:
            changes = self.store.file.changes
            self._remote.put(self.store.file.copy)
            self._put_at = changes

    def close(self) -> None:
        """Put it back, and leave it to others.

        Raises:
            OutputError: It cannot be put back, or another run has done so; it is closed all the same.
        """
        whole = False
        try:
            self._put()
            whole = True
        finally:
            alone = self._lock.try_alone()
            try:
                self.store.close(alone=alone)
                if alone and whole:
                    note_checksum(self._path)
            finally:
                self._streams.close()
                self._lock.close()
