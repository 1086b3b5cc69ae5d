"""Idempotency keys whose place another has taken, on disk: a replay begins with the one that was used last.

Without this, a replay would begin with the first key. If Fullstory keeps nothing for that one after all (the
500s were an outage), it would carry the request out again: the killed run's was accepted under the next key.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from target_fullstory.accounting.output_files import open_to_append
from target_fullstory.logs import logger

_KEPT_SECONDS = 24 * 3600  # by Fullstory, and so by us


class _Renewal(msgspec.Struct, frozen=True):
    """A key, and how often another has taken its place."""

    key: str
    renewals: int


_decode = msgspec.json.Decoder(_Renewal).decode


class RenewedKeys:
    """The keys renewed by this run and by earlier ones, in `<output_dir>/renewed-keys.jsonl`. Thread-safe.

    The file is read at the first question, and is there only if a key was ever renewed. It is deleted once
    nothing was added to it for a day.
    """

    def __init__(self, output_dir: str) -> None:
        self._path = Path(output_dir) / "renewed-keys.jsonl"
        self._lock = threading.Lock()
        self._known: dict[str, int] | None = None

    def count(self, key: str) -> int:
        """How often another key has taken the place of this one."""
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known.get(key, 0)

    def note(self, key: str, renewals: int) -> None:
        """Write a renewal down, before the new key is used. If that fails, it matters after a kill only."""
        # It begins a line of its own, also behind one that a kill cut short.
        line = b"\n" + msgspec.json.encode(_Renewal(key, renewals)) + b"\n"
        with self._lock:
            if self._known is not None:
                self._known[key] = renewals
            try:
                with open_to_append(self._path) as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                logger.warning(
                    "%s cannot be written (%s): were this run killed, the next one might send an event twice",
                    self._path,
                    error.strerror or error,
                )

    def _read(self) -> dict[str, int]:
        known: dict[str, int] = {}
        try:
            if time.time() - self._path.stat().st_mtime > _KEPT_SECONDS:
                self._path.unlink()
                return known
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return known
        for line in lines:
            # One that a kill cut short: the new key was not used.
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                renewal = _decode(line)
                known[renewal.key] = max(renewal.renewals, known.get(renewal.key, 0))
        return known
