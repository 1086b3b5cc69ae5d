"""The snapshot's store: an LMDB file for each destination, with what Fullstory has confirmed of each stream.

The rows of a table are packed into buckets by the first bytes of their keys, so that a row costs little more
than its own bytes and a look-up is one read. Tables of a stream: `users` (key, request, record, day),
`events` (key, day) and `records` (record, day), where a record is the fingerprint of its bytes as the tap
sent them, and a day counts from 1970.

Used by the reading thread alone: LMDB's Python module lets other threads run at each call.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from target_fullstory.accounting.destination import Destination
from target_fullstory.snapshot.batch_rows import KEY_BYTES, REQUEST_BYTES
from target_fullstory.snapshot.lmdb_file import ITEMS_A_COMMIT, LmdbFile, StoreUnusableError, items
from target_fullstory.snapshot.packed_rows import REST_BYTES, bucket_names, find, split

VERSION: Final = 1
DAY_BYTES: Final = 2
Table: TypeAlias = Literal["users", "events", "records"]

WIDTHS: Final[dict[Table, int]] = {
    "users": REST_BYTES + REQUEST_BYTES + KEY_BYTES + DAY_BYTES,
    "events": REST_BYTES + DAY_BYTES,
    "records": REST_BYTES + DAY_BYTES,
}
"""Bytes of a table's rows."""

_LETTERS: Final[dict[Table, bytes]] = {"users": b"u", "events": b"e", "records": b"r"}
_ABOUT = b"about"
# A bucket has fewer rows than this as a rule, or else more bits of the key name the buckets: to search many
# takes longer. It has a quarter of them at least, for fewer take more room.
_ROWS_A_BUCKET = 64
_FEWEST_BITS, _MOST_BITS = 8, 16
# A file that has more is written anew: LMDB leaves room in it for what it changes.
_BYTES_A_ROW, _LOOSE_BYTES = 48, 256 * 1024


class StreamFacts(msgspec.Struct, kw_only=True):
    """What the store says of a stream; times are ISO 8601 in UTC."""

    number: int
    kind: str
    rows: int = 0  # users or events that are known
    scope: str = ""  # of the fingerprints in `records`: that of the mapping and the SCHEMA
    since: str = ""  # when the first was entered
    loaded: str = ""  # when the latest was
    bits: int = _FEWEST_BITS  # of a key that name its bucket
    first_day: int = 0  # of the events that are known


class About(msgspec.Struct, kw_only=True):
    """What the store says of itself."""

    version: int
    seed: int
    destination: Destination
    streams: dict[str, StreamFacts] = {}


class Store:
    """The snapshot of one destination."""

    def __init__(self, path: Path, destination: Destination) -> None:
        """Open the file, or create it.

        Raises:
            StoreUnusableError: It is damaged, of another version or another destination's.
            OutputError: It cannot be opened or created.
        """
        self.file = LmdbFile(path)
        self.about = self._read_about() or About(
            version=VERSION, seed=secrets.randbits(64), destination=destination
        )
        if self.about.version != VERSION:
            raise StoreUnusableError(f"it is of version {self.about.version}, this target's is {VERSION}")

    def facts(self, stream: str, kind: str) -> StreamFacts:
        """What is known of a stream; entered with the first rows where it is new."""
        found = self.about.streams.get(stream)
        if found is None or found.kind != kind:
            if found is not None:
                self.forget(stream)
            number = 1 + max((one.number for one in self.about.streams.values()), default=-1)
            found = self.about.streams[stream] = StreamFacts(number=number, kind=kind)
        return found

    # Reading

    def look_up(self, table: Table, facts: StreamFacts, keys: Sequence[bytes]) -> list[bytes | None]:
        """What stands in the rows of these keys, behind the key; None where there is no row."""
        prefix, width = _prefix(table, facts), WIDTHS[table]
        found: list[bytes | None] = []
        with self.file.reading() as transaction:
            get = transaction.get
            for name, key in zip(bucket_names(keys, facts.bits), keys, strict=True):
                rows = get(prefix + name)
                if rows is None or (at := find(rows, key[1:], width)) < 0:
                    found.append(None)
                else:
                    found.append(rows[at + REST_BYTES : at + width])
        return found

    def unknown(self, facts: StreamFacts, records: Sequence[bytes], since: int) -> list[int]:
        """The places of those records that are not known since a day."""
        prefix, width = _prefix("records", facts), WIDTHS["records"]
        places: list[int] = []
        with self.file.reading() as transaction:
            get = transaction.get
            for place, name in enumerate(bucket_names(records, facts.bits)):
                record = records[place]
                rows = get(prefix + name)
                # For nearly every record of a nightly import, this is all that is done.
                if rows is None or (at := rows.find(record[1:])) < 0:
                    places.append(place)
                elif at % width or since:
                    at = find(rows, record[1:], width)
                    day = int.from_bytes(rows[at + REST_BYTES : at + width], "big")
                    if at < 0 or day < since:
                        places.append(place)
        return places

    def rows(self, table: Table, facts: StreamFacts) -> Iterator[bytes]:
        """All rows of a table, each with its whole key, in the order of the buckets."""
        width = WIDTHS[table]
        with self.file.reading() as transaction:
            for key, packed in items(transaction, _prefix(table, facts)):
                first = key[3:4]
                for row in split(packed, width):
                    yield first + row

    # Changing

    def change(
        self,
        table: Table,
        facts: StreamFacts,
        keyed: Sequence[bytes],
        change: Callable[[bytearray, list[bytes]], Iterable[bytes]],
    ) -> None:
        """Change the buckets that some items belong to, all of which begin with their keys.

        `change` changes a bucket's rows by its items; the records that it returns are forgotten in the same
        transaction.
        """
        while len(keyed) + facts.rows > _ROWS_A_BUCKET << facts.bits and facts.bits < _MOST_BITS:
            self._make_more_buckets(facts)
        buckets: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for name, item in zip(bucket_names(keyed, facts.bits), keyed, strict=True):
            buckets[name].append(item)
        prefix, records, width = _prefix(table, facts), _prefix("records", facts), WIDTHS[table]
        names = sorted(buckets)
        for begin in range(0, len(names), ITEMS_A_COMMIT):
            with self.file.writing() as transaction:
                stale: list[bytes] = []
                difference = 0
                for name in names[begin : begin + ITEMS_A_COMMIT]:
                    rows = bytearray(transaction.get(prefix + name) or b"")
                    before = len(rows)
                    stale += change(rows, buckets[name])
                    difference += len(rows) - before
                    if rows:
                        transaction.put(prefix + name, rows)
                    elif before:
                        transaction.delete(prefix + name)
                for name, record in zip(bucket_names(stale, facts.bits), stale, strict=True):
                    _remove(transaction, records + name, record[1:])
                if table != "records":
                    facts.rows += difference // width
                self._put_about(transaction)

    def _make_more_buckets(self, facts: StreamFacts) -> None:
        bits = facts.bits + 2
        with self.file.writing() as transaction:
            for table, width in WIDTHS.items():
                prefix = _prefix(table, facts)
                for key, packed in list(items(transaction, prefix)):
                    transaction.delete(key)
                    first = key[len(prefix) : len(prefix) + 1]
                    keyed = [first + row for row in split(packed, width)]
                    parts: defaultdict[bytes, list[bytes]] = defaultdict(list)
                    for name, row in zip(bucket_names(keyed, bits), keyed, strict=True):
                        parts[name].append(row[1:])
                    for name, part in parts.items():
                        transaction.put(prefix + name, b"".join(part))
            facts.bits = bits
            self._put_about(transaction)

    def keep(self, table: Table, facts: StreamFacts, first_day: int) -> None:
        """Forget the rows from before a day; it stands at their end."""
        width, prefix = WIDTHS[table], _prefix(table, facts)
        least = first_day.to_bytes(DAY_BYTES, "big")
        with self.file.writing() as transaction:
            for key, packed in list(items(transaction, prefix)):
                kept = b"".join(row for row in split(packed, width) if row[-DAY_BYTES:] >= least)
                if len(kept) == len(packed):
                    continue
                if table != "records":
                    facts.rows -= (len(packed) - len(kept)) // width
                if kept:
                    transaction.put(key, kept)
                else:
                    transaction.delete(key)
            self._put_about(transaction)

    def forget(self, stream: str) -> None:
        """Forget all of a stream."""
        facts = self.about.streams.pop(stream)
        with self.file.writing() as transaction:
            for table in WIDTHS:
                _clear(transaction, _prefix(table, facts))
            self._put_about(transaction)

    def forget_records(self, facts: StreamFacts) -> None:
        """Forget how a stream's records came, for another mapping or SCHEMA has made them."""
        with self.file.writing() as transaction:
            _clear(transaction, _prefix("records", facts))
            self._put_about(transaction)

    def save_about(self) -> None:
        """Write what the store says of itself."""
        with self.file.writing() as transaction:
            self._put_about(transaction)

    # The file

    def close(self, *, alone: bool = True) -> None:
        """Close the file, without what was freed in it where nobody else has it open."""
        rows = sum(facts.rows for facts in self.about.streams.values())
        if alone and self.file.path.stat().st_size > rows * _BYTES_A_ROW + _LOOSE_BYTES:
            compact = self.file.path.with_name(f"{self.file.path.name}.compact")
            self.file.copy(compact)
            self.file.close()
            compact.replace(self.file.path)
        self.file.close()

    def _put_about(self, transaction: Any) -> None:
        transaction.put(_ABOUT, msgspec.json.encode(self.about))

    def _read_about(self) -> About | None:
        with self.file.reading() as transaction:
            content = transaction.get(_ABOUT)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=About)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise StoreUnusableError("it is damaged") from None


def _prefix(table: Table, facts: StreamFacts) -> bytes:
    return _LETTERS[table] + facts.number.to_bytes(2, "big")


def _clear(transaction: Any, prefix: bytes) -> None:
    for key, _ in list(items(transaction, prefix)):
        transaction.delete(key)


def _remove(transaction: Any, bucket: bytes, rest: bytes) -> None:
    """Remove the row of a record, if there is one; it may be there more than once."""
    rows, width = transaction.get(bucket) or b"", WIDTHS["records"]
    while (at := find(rows, rest, width)) >= 0:
        rows = rows[:at] + rows[at + width :]
        if rows:
            transaction.put(bucket, rows)
        else:
            transaction.delete(bucket)
