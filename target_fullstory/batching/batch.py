"""Batches: encoded requests gathered until rows, bytes, age or the end of the input send them off."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from target_fullstory.accounting.checkpoints import Ticket
from target_fullstory.batching.batch_body import ENVELOPE_BYTES, BatchBody
from target_fullstory.batching.encoded_requests import split_requests
from target_fullstory.batching.merge import merge_updates
from target_fullstory.kinds import Kind
from target_fullstory.mapping import Mapped

PEOPLE: frozenset[Kind] = frozenset({"users", "user_deletions"})
"""The kinds that change users: those of one user keep their order, across streams too."""

IN_SERIES: frozenset[Kind] = frozenset({"webhook_endpoints", "request"})
"""The kinds of which a stream's calls go one after the other."""


@dataclass(eq=False)
class Batch:
    """Requests of one stream on their way to Fullstory.

    Attributes:
        stream: The stream.
        kind: What its records become.
        items: Pieces of JSON, each one request or several joined by commas.
        rows: Number of requests.
        records: Number of records, those that merging absorbed included.
        keys: The users in it; for calls in series, what stands for their stream.
        timed: Every event has a timestamp of its own.
        ticket: Its hold on the checkpoint.
        covered_by: The number of the first STATE behind its last record.
        deleted: Of deletions, by user, the number of the first STATE behind the last one.
    """

    stream: str
    kind: Kind
    items: list[bytes]
    rows: int
    records: int
    keys: AbstractSet[str]
    timed: bool
    ticket: Ticket
    covered_by: int = 0
    deleted: dict[str, int] = field(default_factory=dict)

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
        """Open an empty batch.

        Args:
            stream: The stream.
            kind: What its records become.
            ticket: Its hold on the checkpoint, taken at its first record.
        """
        self.stream = stream
        self.kind = kind
        self.ticket = ticket
        self.rows = 0
        self.size = ENVELOPE_BYTES
        self.opened_at = time.monotonic()
        self.covered_by = 0
        self._deleted: dict[str, int] = {}
        self._latest: str | None = None
        self._items: list[bytes] = []
        # What a stream in series has in common is the stream: its batches wait for each other.
        self._keys: set[str] = {f"stream {stream}"} if kind in IN_SERIES else set()
        self._repeats = False
        self._timed = True
        self._mark: _Mark | None = None

    @property
    def marked(self) -> bool:
        """Whether a STATE lies behind some of its records."""
        return self._mark is not None

    def has_any(self, keys: Collection[str]) -> bool:
        """Whether one of these users is in it."""
        return not self._keys.isdisjoint(keys)

    def add(self, mapped: Mapped) -> None:
        """Add one request."""
        if mapped.key is not None:
            before = len(self._keys)
            self._keys.add(mapped.key)
            self._repeats |= len(self._keys) == before
        self._latest = mapped.key
        self._append(mapped.body, 1, timed=mapped.timed)

    def add_chunk(self, joined: bytes, rows: int, keys: list[str], *, timed: bool) -> None:
        """Add requests that follow each other.

        Args:
            joined: The requests as JSON, joined by commas.
            rows: How many they are.
            keys: Their users' keys, in order; empty for events.
            timed: Whether each carries a timestamp.
        """
        if keys:
            before = len(self._keys)
            self._keys.update(keys)
            self._repeats |= len(self._keys) != before + len(keys)
        self._append(joined, rows, timed=timed)

    def cover(self, number: int) -> None:
        """Take note of the number of the first STATE behind what was just added."""
        self.covered_by = number
        if self.kind == "user_deletions" and self._latest is not None:
            self._deleted[self._latest] = number

    def mark(self) -> None:
        """Take note of a STATE: a batch that is cut ends here."""
        timed = self._timed if self._mark is None else self._mark.timed and self._timed
        self._mark = _Mark(
            len(self._items), self.rows, self.size, timed, time.monotonic(), self.covered_by
        )
        self._timed = True

    def close(self) -> Batch:
        """The batch with all its records, updates of one user merged."""
        timed = self._timed if self._mark is None else self._mark.timed and self._timed
        return self._batch(self._items, self.rows, timed=timed)

    def cut(self, new_ticket: Callable[[], Ticket]) -> tuple[Batch, OpenBatch | None]:
        """Cut at the last STATE.

        Args:
            new_ticket: Gives the ticket for what remains, if anything does.

        Returns:
            The batch up to the STATE, and what came after it, still open (None: nothing did).
        """
        mark = self._mark
        if mark is None:
            raise ValueError("no STATE lies inside this batch")
        batch = self._batch(self._items[: mark.items], mark.rows, timed=mark.timed)
        batch.covered_by = mark.covered_by
        if self.rows == mark.rows:
            return batch, None
        rest = OpenBatch(self.stream, self.kind, new_ticket())
        rest.rows = self.rows - mark.rows
        rest.size = ENVELOPE_BYTES + self.size - mark.size
        rest.opened_at = mark.at
        rest.covered_by = self.covered_by
        rest._items = self._items[mark.items :]
        rest._timed = self._timed
        return batch, rest

    def _batch(self, items: list[bytes], records: int, *, timed: bool) -> Batch:
        rows = records
        if self._repeats:
            items = merge_updates(items) if self.kind == "users" else list(dict.fromkeys(items))
            rows = len(items)
        return Batch(
            stream=self.stream,
            kind=self.kind,
            items=items,
            rows=rows,
            records=records,
            keys=self._keys,
            timed=timed,
            ticket=self.ticket,
            covered_by=self.covered_by,
            deleted=self._deleted,
        )

    def _append(self, joined: bytes, rows: int, *, timed: bool) -> None:
        self._items.append(joined)
        self.rows += rows
        self.size += len(joined) + 1
        self._timed &= timed


@dataclass(frozen=True)
class _Mark:
    """How far the batch reached when the last STATE came; `at` in monotonic seconds."""

    items: int
    rows: int
    size: int
    timed: bool
    at: float
    covered_by: int
