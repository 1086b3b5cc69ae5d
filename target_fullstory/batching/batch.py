"""Batches: encoded requests gathered until rows, bytes, age or the end of the input send them off."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from target_fullstory.accounting.checkpoints import Ticket
from target_fullstory.batching.encoded_requests import split_requests
from target_fullstory.batching.merge import merge_updates
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.snapshot.batch_rows import BatchRows

Keys: TypeAlias = "array[int]"
"""The users of a closed batch, or the stream of calls in series, as hashes: a job in progress holds many."""

# What a key takes in an open batch, about: the text, and its place in a set.
_KEY_BYTES = 112
_HEAD, _TAIL = b'{"requests":[', b"]}"
ENVELOPE_BYTES = len(_HEAD) + len(_TAIL)
"""Bytes of a batch request beside its items."""

# Larger ones are sent no faster, and stay with the allocator after their use.
_PART_BYTES = 1024 * 1024


class BatchBody:
    """The body of a batch's creation, sent in parts: whole, a batch would be in memory twice."""

    def __init__(self, items: list[bytes]) -> None:
        self._items = items
        self._size = ENVELOPE_BYTES + sum(map(len, items)) + max(0, len(items) - 1)

    def __len__(self) -> int:
        """Bytes in all, for the `Content-Length`."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """The parts, as often as asked for."""
        part, size = [_HEAD], 0
        for number, item in enumerate(self._items):
            part += (b",", item) if number else (item,)
            size += len(item)
            if size >= _PART_BYTES:
                yield b"".join(part)
                part, size = [], 0
        yield b"".join([*part, _TAIL])

    def requests(self) -> list[bytes]:
        """The single requests."""
        return split_requests(self._items)


@dataclass(eq=False)
class Batch:
    """Requests of one stream on their way to Fullstory."""

    stream: str
    kind: Kind
    items: list[bytes]  # pieces of JSON, each one request or several joined by commas
    size: int  # bytes of its body, updates not merged yet
    rows: int  # number of requests
    records: int  # number of records, those that merging absorbed included
    keys: Keys  # the users in it; for calls in series, their stream
    timed: bool  # every event has a timestamp of its own
    ticket: Ticket  # its claim on the checkpoints
    covered_by: int = 0  # the number of the first STATE behind its last record
    fingerprints: BatchRows | None = None  # where its stream is in the snapshot
    # Of deletions, by user, the number of the first STATE behind the last one.
    deleted: dict[str, int] = field(default_factory=dict)
    sent_at: float = 0.0  # when the first of it was sent, in monotonic seconds
    own: bool = True  # whether this run has read its records; else an earlier one has, and has counted them

    def requests(self) -> list[bytes]:
        """The single requests."""
        return self.items if len(self.items) == self.rows else split_requests(self.items)

    def take_body(self) -> BatchBody:
        """The body of the batch's creation, which has the pieces from now on: they go with it."""
        body = BatchBody(self.items)
        self.items = []
        return body


class OpenBatch:
    """A batch that still grows."""

    def __init__(self, stream: str, kind: Kind, ticket: Ticket) -> None:
        self.stream = stream
        self.kind = kind
        self.ticket = ticket
        self.rows = 0
        self.size = ENVELOPE_BYTES
        self.opened_at = time.monotonic()
        self._covered_by = 0
        self._deleted: dict[str, int] = {}
        self._items: list[bytes] = []
        # All batches of a stream in series have the stream for a key, so that they wait for each other.
        self._keys: set[str] = {f"stream {stream}"} if KINDS[kind].in_series else set()
        self._repeats = False
        self._timed = True
        self._mark: _Mark | None = None
        self._fingerprints: list[bytes] = []
        self._names: list[bytes] = []

    @property
    def memory(self) -> int:
        """Bytes of memory, about."""
        return self.size + _KEY_BYTES * len(self._keys)

    @property
    def marked(self) -> bool:
        """Whether a STATE lies behind some of its records."""
        return self._mark is not None

    def has_any(self, keys: Collection[str]) -> bool:
        """Whether one of these users is in it."""
        return not self._keys.isdisjoint(keys)

    def add(
        self,
        joined: bytes,
        rows: int,
        keys: list[str],
        *,
        timed: bool,
        covered_by: int,
        fingerprints: bytes = b"",
        names: Sequence[bytes] = (),
    ) -> None:
        """Add requests that follow each other, as JSON joined by commas; all else as in a chunk."""
        if keys:
            before = len(self._keys)
            self._keys.update(keys)
            self._repeats |= len(self._keys) != before + len(keys)
            if self.kind == "user_deletions":
                self._deleted.update(dict.fromkeys(keys, covered_by))
        self._items.append(joined)
        if fingerprints:
            self._fingerprints.append(fingerprints)
            self._names += names
        self.rows += rows
        self.size += len(joined) + 1
        self._timed &= timed
        self._covered_by = covered_by

    def mark_state(self) -> None:
        """Note a STATE: a batch that is cut ends here."""
        self._mark = self._reached()
        self._timed = True

    def close(self) -> Batch:
        """The batch with all its records, updates of one user merged."""
        return self._close_at(self._reached())

    def cut(self, new_ticket: Callable[[], Ticket]) -> tuple[Batch, OpenBatch | None]:
        """The batch up to the last STATE; and what came after it, still open (None: nothing did)."""
        mark = self._mark
        if mark is None:
            raise ValueError("no STATE lies inside this batch")
        batch = self._close_at(mark)
        if self.rows == mark.rows:
            return batch, None
        rest = OpenBatch(self.stream, self.kind, new_ticket())
        rest.rows = self.rows - mark.rows
        rest.size = ENVELOPE_BYTES + self.size - mark.size
        rest.opened_at = mark.at
        rest._covered_by = self._covered_by
        rest._items = self._items[mark.items :]
        rest._fingerprints = self._fingerprints[mark.items :]
        rest._timed = self._timed
        return batch, rest

    def _reached(self) -> _Mark:
        timed = self._timed and (self._mark is None or self._mark.timed)
        return _Mark(len(self._items), self.rows, self.size, timed, time.monotonic(), self._covered_by)

    def _close_at(self, end: _Mark) -> Batch:
        items, rows = self._items[: end.items], end.rows
        fingerprints = None
        if packed := self._fingerprints[: end.items]:
            fingerprints = BatchRows(self.stream, self.kind, b"".join(packed), b"".join(self._names))
        if self._repeats:
            if self.kind == "users":
                items = merge_updates(items)
            else:
                items = list(dict.fromkeys(split_requests(items)))
            rows = len(items)
        return Batch(
            stream=self.stream,
            kind=self.kind,
            items=items,
            size=end.size,
            rows=rows,
            records=end.rows,
            keys=array("q", map(hash, self._keys)),
            timed=end.timed,
            ticket=self.ticket,
            covered_by=end.covered_by,
            fingerprints=fingerprints,
            deleted=self._deleted,
        )


@dataclass(frozen=True)
class _Mark:
    """How far a batch reaches, such as when the last STATE came; `at` in monotonic seconds."""

    items: int
    rows: int
    size: int
    timed: bool
    at: float
    covered_by: int
