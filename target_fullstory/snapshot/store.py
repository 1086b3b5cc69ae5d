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
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import structs

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import OutputError
from target_fullstory.logs import logger
from target_fullstory.snapshot.batch_rows import KEY_BYTES, REQUEST_BYTES
from target_fullstory.snapshot.lmdb_file import ITEMS_A_COMMIT, LmdbFile, items
from target_fullstory.snapshot.name_buckets import NameBuckets, prefix_of_names
from target_fullstory.snapshot.packed_rows import REST_BYTES, bucket_names, find, split
from target_fullstory.snapshot.store_facts import NOT_ENTERED, VERSION, About, StreamFacts, read_about

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
_MOST_BITS = 16
_GROWTH = 4
# A file that has more is written anew: LMDB leaves room in it for what it changes.
_BYTES_A_ROW, _LOOSE_BYTES = 48, 256 * 1024


class Store:
    """The snapshot of one destination."""

    def __init__(self, path: Path, destination: Destination) -> None:
        """Open the file, or create it.

        Raises:
            StoreUnusableError: It is damaged, of another version or another destination's.
            OutputError: It cannot be opened or created.
        """
        self.file = LmdbFile(path)
        # Other runs may have the file open, and write of streams that are not this run's own.
        self.shared = False
        self._own: set[str] = set()
        try:
            self.about = self._read_about() or self._begin(destination)
        except BaseException:
            self.file.close()
            raise

    def _begin(self, destination: Destination) -> About:
        """Say at once what the file is: all runs that open it need the same seed."""
        with self.file.writing() as transaction:
            about = About(version=VERSION, seed=secrets.randbits(64), destination=destination)
            transaction.put(_ABOUT, msgspec.json.encode(about))
        return about

    def own(self, stream: str) -> None:
        """Take a stream for this run alone: from now on no other run writes it."""
        self._refresh()
        self._own.add(stream)

    def facts(self, stream: str, kind: str) -> StreamFacts:
        """What is known of a stream; entered with the first rows where it is new."""
        found = self.about.streams.get(stream)
        if found is None or found.kind != kind:
            if found is not None:
                self.forget(stream)
            found = self.about.streams[stream] = StreamFacts(number=NOT_ENTERED, kind=kind)
        return found

    def _refresh(self) -> None:
        if self.shared:
            with self.file.reading() as transaction:
                self._take_over(transaction)

    def _take_over(self, transaction: Any) -> None:
        """Take over what other runs have written of streams that are not this run's own."""
        stored, known = read_about(transaction.get(_ABOUT)).streams, self.about.streams
        for name in known.keys() - stored.keys() - self._own:
            if known[name].number != NOT_ENTERED:
                del known[name]
        for name in stored.keys() - self._own:
            facts = known.setdefault(name, stored[name])
            for field, value in structs.asdict(stored[name]).items():
                setattr(facts, field, value)

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
        self.enter(facts)
        self._refresh()
        # More rows than the first will follow: it takes long to split buckets that are not empty.
        expected = len(keyed) + facts.rows if facts.rows else _GROWTH * len(keyed)
        while expected > _ROWS_A_BUCKET << facts.bits and facts.bits < _MOST_BITS:
            self._make_more_buckets(facts)
        buckets: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for name, item in zip(bucket_names(keyed, facts.bits), keyed, strict=True):
            buckets[name].append(item)
        prefix, records, width = _prefix(table, facts), _prefix("records", facts), WIDTHS[table]
        names = sorted(buckets)
        for begin in range(0, len(names), ITEMS_A_COMMIT):
            with self._changing() as transaction:
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

    def enter(self, facts: StreamFacts) -> None:
        """Give a new stream its number, which no other run has given to another."""
        if facts.number != NOT_ENTERED:
            return
        with self._changing():
            taken = {one.number for one in self.about.streams.values()}
            facts.number = next(number for number in range(NOT_ENTERED) if number not in taken)

    def _make_more_buckets(self, facts: StreamFacts) -> None:
        bits = facts.bits + 2
        with self._changing() as transaction:
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

    def keep(self, table: Table, facts: StreamFacts, first_day: int) -> None:
        """Forget the rows from before a day; it stands at their end."""
        width, prefix = WIDTHS[table], _prefix(table, facts)
        least = first_day.to_bytes(DAY_BYTES, "big")
        first = prefix
        while first:
            with self._changing() as transaction:
                some = list(islice(items(transaction, prefix, first), ITEMS_A_COMMIT))
                for key, packed in some:
                    kept = b"".join(row for row in split(packed, width) if row[-DAY_BYTES:] >= least)
                    if len(kept) == len(packed):
                        continue
                    if table != "records":
                        facts.rows -= (len(packed) - len(kept)) // width
                    if kept:
                        transaction.put(key, kept)
                    else:
                        transaction.delete(key)
                first = some[-1][0] + b"\0" if some else b""

    def forget(self, stream: str) -> None:
        """Forget all of a stream."""
        with self._changing() as transaction:
            facts = self.about.streams.pop(stream)
            for table in WIDTHS:
                _clear(transaction, _prefix(table, facts))
            _clear(transaction, prefix_of_names(facts))

    def forget_names(self, facts: StreamFacts) -> None:
        """Forget what a stream's users are called: it is a mirror no more."""
        facts.mirror = facts.named = False
        with self._changing() as transaction:
            _clear(transaction, prefix_of_names(facts))

    def names(self, facts: StreamFacts, transaction: Any) -> NameBuckets:
        """Where a mirror's names lie, as long as the transaction goes on."""
        return NameBuckets(transaction, prefix_of_names(facts))

    def save_about(self) -> None:
        """Write what the store says of itself."""
        with self._changing():
            pass

    def forget_records(self, facts: StreamFacts) -> None:
        """Forget how a stream's records came, for another mapping or SCHEMA has made them."""
        with self._changing() as transaction:
            _clear(transaction, _prefix("records", facts))

    def note(self, facts: StreamFacts, **values: Any) -> None:
        """Write what the store says of a stream."""
        self.enter(facts)
        with self._changing():
            for name, value in values.items():
                setattr(facts, name, value)

    # The file

    def close(self, *, alone: bool = True) -> None:
        """Close the file, without what was freed in it where nobody else has it open."""
        # A name, or what of it is compressed, takes about as much as a row.
        rows = sum(facts.rows * (1 + facts.mirror) for facts in self.about.streams.values())
        if alone and self.file.path.stat().st_size > rows * _BYTES_A_ROW + _LOOSE_BYTES:
            self._write_anew()
        self.file.close()

    def _write_anew(self) -> None:
        path = self.file.path
        compact = path.with_name(f"{path.name}.compact")
        try:
            self.file.copy(compact)
            self.file.close()
            compact.replace(path)
        except (OutputError, OSError) as error:  # such as a full disk: it stays as it is
            logger.debug("The snapshot %s cannot be written anew: %s", path, error)
            compact.unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        """A transaction that also writes what the store says of itself."""
        with self.file.writing() as transaction:
            if self.shared:
                self._take_over(transaction)
            yield transaction
            entered = {name: one for name, one in self.about.streams.items() if one.number != NOT_ENTERED}
            transaction.put(_ABOUT, msgspec.json.encode(structs.replace(self.about, streams=entered)))

    def _read_about(self) -> About | None:
        with self.file.reading() as transaction:
            content = transaction.get(_ABOUT)
        return None if content is None else read_about(content)


def add_events(rows: bytearray, events: list[bytes]) -> list[bytes]:
    """Add events that are not in a bucket yet."""
    width = WIDTHS["events"]
    for event in dict.fromkeys(events):
        if find(rows, event[1:KEY_BYTES], width) < 0:
            rows += event[1:]
    return []


def add_records(rows: bytearray, records: list[bytes]) -> list[bytes]:
    """Add records to a bucket: none of them is there, or it was removed with its user's row."""
    rows += b"".join([record[1:] for record in records])
    return []


def _prefix(table: Table, facts: StreamFacts) -> bytes:
    return _LETTERS[table] + facts.number.to_bytes(2, "big")


def _clear(transaction: Any, prefix: bytes) -> None:
    cursor = transaction.cursor()
    # Behind what is deleted, the cursor is at the next one.
    more = cursor.set_range(prefix)
    while more and cursor.key().startswith(prefix):
        more = cursor.delete()


def _remove(transaction: Any, bucket: bytes, rest: bytes) -> None:
    """Remove the row of a record, if there is one; it may be there more than once."""
    rows, width = transaction.get(bucket) or b"", WIDTHS["records"]
    while (at := find(rows, rest, width)) >= 0:
        rows = rows[:at] + rows[at + width :]
        if rows:
            transaction.put(bucket, rows)
        else:
            transaction.delete(bucket)
