"""The users that a run has queued, so that one who comes several times counts once.

They lie in a temporary file without a name, which goes with the process: memory does not grow with them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import lmdb

from target_fullstory.snapshot.batch_rows import NO_REQUEST
from target_fullstory.snapshot.change_limits import UserSet

_LARGEST_FILE: Final = 1 << 36  # address space, not disk

# What a user was at the start of the run, and is now.
_NEW, _KNOWN, _CHANGED = b"n", b"k", b"c"


class QueuedUsers:
    """The queued users of one stream, and those of them who were known and have changed."""

    def __init__(self, changed: UserSet) -> None:
        """Enter in `changed` who has changed, with each request."""
        self._changed = changed
        handle, path = tempfile.mkstemp(prefix="target-fullstory-")
        os.close(handle)
        self._environment = lmdb.open(path, subdir=False, lock=False, sync=False, map_size=_LARGEST_FILE)
        with suppress(OSError):  # where a file that is open cannot be removed
            Path(path).unlink()

    def add(self, users: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Take users that are to be sent, each with its request and the one before, zeros for none."""
        with self._environment.begin(write=True) as transaction:
            for key, request, before in users:
                found = transaction.get(key)
                state = found or (_NEW if before == NO_REQUEST else _KNOWN)
                if state != _NEW and before != request:
                    self._changed.add(key + request, again=state == _CHANGED)
                    state = _CHANGED
                if state != found:
                    transaction.put(key, state)
