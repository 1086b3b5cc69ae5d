"""Which streams were read completely, so that a user who did not come is gone.

A tap says so by ACTIVATE_VERSION behind a stream's last record. Some taps send one before the records too,
of incremental reads as well: records behind it make the read incomplete again. Where the mapping says that
each read is of the full table, it is enough that the input ended in order. A killed tap looks like the end
of the input, but one that ends in order writes a last STATE.

A read that a killed tap began may be resumed by a later run, with the same version; what came in the first
run alone does not come again.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import msgspec

_NO_RECORD = "the tap sent no record of it"
_NOT_ACTIVATED = (
    "the tap sent no ACTIVATE_VERSION after its last record. If it reads the whole table each time, set "
    "full_table: true in the mapping"
)
_RESUMED = "the tap resumed a read that an earlier run began"
NOT_MEANT: Final = frozenset({_NO_RECORD, _NOT_ACTIVATED})
"""Why a read is not complete that was not meant to be, perhaps: an incremental one."""


class _Versioned(msgspec.Struct):
    version: int | str | None = None


_decode_version = msgspec.json.Decoder(_Versioned).decode


def version_of(line: bytes) -> str:
    """The table's version in a RECORD message; empty where it has none."""
    try:
        return version_text(_decode_version(line).version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def version_text(version: Any) -> str:
    """A version as text; empty where there is none."""
    return "" if version is None else str(version)


class _Read:
    """The read of one of the tap's streams."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.resumed = False
        self.activated = False  # since the last record
        self.stated = False  # likewise


class CompleteReads:
    """The reads of one run, by the tap's streams; used by the reading thread alone."""

    def __init__(self) -> None:
        self._reads: dict[str, _Read] = {}
        self.ended = False
        """Whether the input has ended, without an error or a signal."""

    def has_begun(self, source: str) -> bool:
        """Whether a stream's first record has come."""
        return source in self._reads

    def begin(self, source: str, version: str, unfinished: MutableMapping[str, str]) -> bool:
        """Take a stream's first record, and the versions of reads that have begun and are not complete.

        Returns whether those have changed.
        """
        read = self._reads[source] = _Read(version)
        known = unfinished.get(source)
        read.resumed = bool(version) and known == version
        if not version or known == version:
            return False
        unfinished[source] = version
        return True

    def record(self, source: str) -> None:
        """Take further records of a stream."""
        read = self._reads[source]
        read.activated = read.stated = False

    def activate(self, source: str, version: str) -> None:
        """Take an ACTIVATE_VERSION message."""
        read = self._reads.get(source)
        if read is not None:
            read.activated = not version or not read.version or version == read.version

    def state(self) -> None:
        """Take a STATE message."""
        for read in self._reads.values():
            read.stated = True

    def why_incomplete(self, source: str, *, full_table: bool) -> str:
        """Why what came of a stream is not all of it; empty where it is."""
        read = self._reads.get(source)
        if read is None:
            return _NO_RECORD
        if not self.ended:
            return "the input did not end in order"
        if not read.activated and not full_table:
            return _NOT_ACTIVATED
        if not read.activated and not read.stated:
            return (
                "the tap sent neither ACTIVATE_VERSION nor STATE after its last record, as if it was killed"
            )
        return _RESUMED if read.resumed else ""

    def finish(self, source: str, unfinished: MutableMapping[str, str], *, full_table: bool) -> None:
        """Forget that a stream's read has begun, where it is over by now: all that it brought is in."""
        if self.why_incomplete(source, full_table=full_table) in {"", _RESUMED}:
            unfinished.pop(source, None)
