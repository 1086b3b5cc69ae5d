"""The users of a stream with `sync: mirror`: which this run has read, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from target_fullstory.snapshot.batch_rows import KEY_BYTES, REQUEST_BYTES
from target_fullstory.snapshot.known_uids import KnownUids, Name
from target_fullstory.snapshot.seen_users import SeenUsers, VanishedUsers
from target_fullstory.snapshot.store import Store
from target_fullstory.snapshot.store_facts import StreamFacts

_RECORD_AT = KEY_BYTES + REQUEST_BYTES
_USERS_AT_A_TIME = 2_000


class MirrorUsers:
    """One stream's; used by the reading thread alone."""

    def __init__(self, store: Store, facts: StreamFacts, key_of: Callable[[str], bytes]) -> None:
        self._store = store
        self._facts = facts
        self._key_of = key_of
        # None: nothing can vanish, for nobody is known or the stream is not read in this run.
        self._seen: SeenUsers | None = None
        self.new_names = bytearray()
        """Names of unchanged users that are to be entered."""

    def begin(self, directory: Path) -> None:
        """Take records from now on; notes of who was read are kept in the directory."""
        self._facts.mirror = True
        if self._facts.rows and self._seen is None:
            self._seen = SeenUsers(directory)

    # Records

    def see_records(self, records: list[bytes], others: Sequence[int]) -> None:
        """Take users as read by the fingerprints of their records, but for those at some places."""
        if self._seen is not None:
            left_out = frozenset(others)
            known = [one for place, one in enumerate(records) if place not in left_out] if others else records
            self._seen.records(known)

    def see(self, keys: list[bytes]) -> None:
        """Take users as read by their keys."""
        if self._seen is not None:
            self._seen.keys(keys)

    def vanished(self) -> VanishedUsers | None:
        """The known users that were not read; None where nobody was known. All must be booked."""
        if self._seen is None:
            return None
        rows = self._store.rows("users", self._facts)
        return self._seen.vanished(
            (row[:KEY_BYTES], row[_RECORD_AT : _RECORD_AT + KEY_BYTES]) for row in rows
        )

    def close(self) -> None:
        """Give up the notes of who was read."""
        if self._seen is not None:
            self._seen.close()
            self._seen = None

    # Names

    def needs_name(self, record: bytes) -> bool:
        """Whether the name of an unchanged user is to be entered, by the record that its row has.

        Those of all are, when a stream becomes a mirror; and that of a user whose answer a later run booked.
        """
        return not self._facts.named or not any(record)

    def enter_names(self, packed: Iterable[bytes]) -> None:
        """Enter names before the rows of their users, so that there is one for each."""
        names = b"".join([*packed, self.new_names])
        self.new_names = bytearray()
        if names:
            self._store.enter(self._facts)
            with self._store.file.writing() as transaction:
                self._names(transaction).add(names)

    def remove_names(self, keys: list[bytes]) -> None:
        """Remove the names of users whose rows are gone."""
        if keys:
            with self._store.file.writing() as transaction:
                self._names(transaction).remove(keys)

    def names(self, keys: Iterable[bytes]) -> Iterator[tuple[list[bytes], list[Name]]]:
        """Some users at a time, and the names that are known of them."""
        left = iter(keys)
        while some := list(islice(left, _USERS_AT_A_TIME)):
            with self._store.file.reading() as transaction:
                found = dict(self._names(transaction).find(some))
            yield some, list(found.values())

    def _names(self, transaction: object) -> KnownUids:
        return KnownUids(self._store.names(self._facts, transaction), self._key_of)
