"""What the records of a batch will be known by, once Fullstory has confirmed them."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final

import msgspec

from target_fullstory.kinds import Kind

KEY_BYTES: Final = 8
"""Of a fingerprint that is looked up among all others of a stream: a user's, an event's, a record's."""

REQUEST_BYTES: Final = 6
"""Of one that is compared with one other: a user's request with the last one."""

NO_RECORD: Final = bytes(KEY_BYTES)
"""In place of a record's fingerprint where its bytes are not at hand."""

NO_REQUEST: Final = bytes(REQUEST_BYTES)
"""In place of a request's, where what Fullstory has of a user is not known."""


VANISHED: Final = ":vanished"
"""Behind a mirror's name: what is sent of its vanished users is counted as a stream of its own."""


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """What is known of a user."""

    key: bytes
    request: bytes  # that Fullstory confirmed last
    record: bytes  # that it was made of


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """What is known of an event."""

    key: bytes
    record: bytes


_decode_line = msgspec.json.Decoder(tuple[bytes, bytes]).decode


class BatchRows(msgspec.Struct, frozen=True):
    """What a batch's records will be known by, once Fullstory has confirmed them; in the records' order."""

    stream: str
    kind: Kind
    packed: bytes  # the parts of their rows, one after the other
    # What a mirror's users are called, as of `known_uids.pack`; these, and perhaps some that are not in it.
    names: bytes = b""

    def as_line(self) -> bytes:
        """What is not said by the batch that they belong to, as one line of a file."""
        return msgspec.json.encode((self.packed, self.names))

    @classmethod
    def of_line(cls, stream: str, kind: Kind, line: bytes) -> BatchRows:
        """Those of a line; raises msgspec's errors where it is none."""
        return cls(stream, kind, *_decode_line(line))

    @property
    def removes(self) -> bool:
        """Whether these are vanished users: once they are marked or deleted, they are not known any more."""
        return self.kind != "events" and self.packed[KEY_BYTES:][:REQUEST_BYTES] == NO_REQUEST

    @property
    def known_stream(self) -> str:
        """The stream in the snapshot."""
        return self.stream.removesuffix(VANISHED) if self.removes else self.stream

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return width_of(self.kind)

    def __len__(self) -> int:
        """How many records."""
        return len(self.packed) // self.width

    def _rows(self) -> Iterator[bytes]:
        packed, width = self.packed, self.width
        return (packed[at : at + width] for at in range(0, len(packed), width))

    def known_by(self, place: int) -> str | None:
        """What the event at a place is known by, in hexadecimal digits; None for a user."""
        start = place * self.width
        return self.packed[start : start + KEY_BYTES].hex() if self.kind == "events" else None

    def keys_in_order(self) -> list[bytes]:
        """The users' or events' fingerprints."""
        return [row[:KEY_BYTES] for row in self._rows()]

    def users(self) -> list[UserRow]:
        """The rows of a batch of users or of their deletions."""
        end = KEY_BYTES + REQUEST_BYTES
        return [UserRow(row[:KEY_BYTES], row[KEY_BYTES:end], row[end:]) for row in self._rows()]

    def events(self) -> list[EventRow]:
        """The rows of a batch of events."""
        return [EventRow(row[:KEY_BYTES], row[KEY_BYTES:]) for row in self._rows()]

    def without_at(self, positions: Set[int]) -> BatchRows:
        """These without the records at some places."""
        return self._of(row for at, row in enumerate(self._rows()) if at not in positions)

    def only_at(self, positions: Set[int]) -> BatchRows:
        """The records at some places."""
        return self._of(row for at, row in enumerate(self._rows()) if at in positions)

    def _of(self, rows: Iterator[bytes]) -> BatchRows:
        return BatchRows(self.stream, self.kind, b"".join(rows), self.names)


def width_of(kind: Kind) -> int:
    """Bytes of a record's row."""
    return 2 * KEY_BYTES + (0 if kind == "events" else REQUEST_BYTES)
