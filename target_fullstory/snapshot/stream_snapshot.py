"""One stream's part of the snapshot: what need not be sent, because Fullstory has it.

A record is known by its bytes as the tap sent them, before anything of it is decoded. Where these are not
known it is mapped, and its request compared: a user's with the last one, an event's key with those of all
events. What was sent and is not booked yet counts as known; what was known of its user before does not count
any more.

Used by the reading thread alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from target_fullstory.kinds import Kind
from target_fullstory.mapping import Chunk
from target_fullstory.snapshot.batch_rows import KEY_BYTES, NO_RECORD, NO_REQUEST, REQUEST_BYTES
from target_fullstory.snapshot.change_limits import UserSet
from target_fullstory.snapshot.event_identities import ALONE
from target_fullstory.snapshot.fingerprints import digest_with
from target_fullstory.snapshot.known_uids import name_in
from target_fullstory.snapshot.mirror_users import MirrorUsers
from target_fullstory.snapshot.queued_users import QueuedUsers
from target_fullstory.snapshot.store import DAY_BYTES, Store
from target_fullstory.snapshot.store_facts import StreamFacts

_REQUEST_END = REQUEST_BYTES
_RECORD_END = REQUEST_BYTES + KEY_BYTES
_encode = msgspec.json.Encoder(order="deterministic").encode  # an object may come with its keys in any order
_digest = xxhash.xxh3_64_digest


class Selection(msgspec.Struct):
    """What of a chunk is to be sent."""

    chunk: Chunk  # with its fingerprints; without requests where nothing is to be sent
    unchanged: int
    untimed: int  # events without a timestamp, of those to be sent
    # The records that count no more, by the place in the chunk of what takes their place.
    outdated: dict[bytes, int]
    new: int
    queued: list[tuple[bytes, bytes]]  # each key and request that is to be sent
    before: list[bytes]  # of users, the requests before those
    refreshed: list[tuple[bytes, bytes, bytes]]  # unchanged users: key, request and how they came now
    names: bytes = b""  # of a mirror's unchanged users, what some are called


class StreamSnapshot:
    """What is known of one stream's users or events.

    Attributes:
        kind: What they are.
        known: How many were known before this run.
        new: How many records of this run are of users of whom nothing was known, or events that were not.
        changed: How many users' records of this run differ from what was known, or are to be sent again.
        unchanged: How many records of this run are not sent.
        refreshed: Unchanged users that came in another way than before, and are not booked yet: by key, the
            request and the record.
    """

    def __init__(
        self,
        store: Store,
        facts: StreamFacts,
        kind: Kind,
        today: int,
        resend_after: int | None,
        changed: UserSet | None = None,
    ) -> None:
        """Begin; a `resend_after` of None days never sends an unchanged user again.

        Where there is a limit of changed users, they are entered in `changed`.
        """
        self.kind = kind
        self.facts = facts
        self.known = facts.rows
        self.new = self.changed = self.unchanged = 0
        self._store = store
        self._since = today - resend_after + 1 if resend_after is not None and kind == "users" else 0
        self._user = digest_with(store.about.seed, "user")
        self._seed = store.about.seed
        self._record_seed = 0
        self._scope = ""
        self._scope_is_new = False
        # By key, what was queued last and is not booked yet.
        self._queued: dict[bytes, bytes] = {}
        # Records of users that were queued with something else since.
        self._outdated: set[bytes] = set()
        self.refreshed: dict[bytes, tuple[bytes, bytes]] = {}
        self._by_record = self._by_request = 0
        self._queued_users = QueuedUsers(changed) if changed is not None else None
        self.mirror = MirrorUsers(store, facts, self.user_key) if facts.mirror else None
        """What else is known of a mirror's users; None of another stream."""

    def begin(self, scope: bytes) -> None:
        """Take records as of now by another mapping or SCHEMA, all of which `scope` says."""
        self._record_seed = xxhash.xxh3_64_intdigest(scope, self._seed)
        self._scope = f"{self._record_seed:016x}"
        if self.facts.scope != self._scope:
            self._scope_is_new = True
            self.facts.scope = self._scope
            self._store.forget_records(self.facts)

    def begin_without_records(self) -> None:
        """Take requests as of now whose records are not at hand."""
        self._scope = self._scope or self.facts.scope or "none"

    @property
    def has_begun(self) -> bool:
        """Whether records of this run are held against it."""
        return bool(self._scope)

    def begin_mirror(self, directory: Path | None) -> None:
        """Note from now on which users are read, in the directory; None where the stream is no mirror."""
        if directory is not None:
            self.mirror = self.mirror or MirrorUsers(self._store, self.facts, self.user_key)
            self.mirror.begin(directory)
        elif self.mirror is not None:
            self.mirror = None
            self._store.forget_names(self.facts)

    # Records

    def unknown(self, records: Sequence[Any]) -> tuple[list[bytes], list[int]]:
        """The fingerprints of records as they came, and the places of those that are to be mapped."""
        seed = self._record_seed
        found = [_digest(record, seed) for record in records]
        if not self.known:
            # In a first load, hardly any; those are found by their requests.
            return found, [*range(len(found))]
        places = self._store.unknown(self.facts, found, self._since)
        if self._outdated and not self._outdated.isdisjoint(found):
            outdated = {place for place, record in enumerate(found) if record in self._outdated}
            places = sorted(outdated.union(places))
        if self.mirror is not None:
            self.mirror.see_records(found, places)
        return found, places

    def count_known(self, records: int) -> None:
        """Count records that are known by the way they came."""
        self.unchanged += records
        self._by_record += records

    # Requests

    def select(
        self,
        chunk: Chunk,
        records: Sequence[bytes] | None = None,
        identities: Sequence[bytes] | None = None,
        known_by: bytes | None = None,
    ) -> Selection:
        """Choose what of a chunk is to be sent; `queue` takes it to be sent.

        `records` are the fingerprints of its records as they came, where they are at hand; `identities` what
        its events are known by beside their requests, `known_by` what a single one is known by.
        """
        encoded = list(map(_encode, chunk.requests))
        if chunk.kind == "events":
            keys = [known_by] if known_by else self._event_keys(encoded, identities)
            return self._select_events(chunk, encoded, records, keys)
        return self._select_users(chunk, encoded, records)

    def user_key(self, user: str) -> bytes:
        """The fingerprint of a user's uid, or id."""
        return self._user(user.encode("utf-8", "surrogatepass"))

    def _select_users(self, chunk: Chunk, encoded: list[bytes], records: Sequence[bytes] | None) -> Selection:
        seed, end = self._seed, REQUEST_BYTES
        requests = [_digest(request, seed)[:end] for request in encoded]
        user = self._user
        keys = [user(key.encode("utf-8", "surrogatepass")) for key in chunk.keys]
        came = records or [NO_RECORD] * len(keys)
        names = self._names_of(chunk, encoded)
        if self.mirror is not None:
            self.mirror.see(keys)
        rows = self._store.look_up("users", self.facts, keys) if self.facts.rows else []
        if not any(rows) and self._queued.keys().isdisjoint(keys) and len(set(keys)) == len(keys):
            packed = b"".join([part for row in zip(keys, requests, came, strict=True) for part in row])
            raw = list(map(msgspec.Raw, encoded))
            sent = Chunk(chunk.kind, raw, chunk.keys, chunk.timed, packed, names)
            queued_now = list(zip(keys, requests, strict=True))
            return Selection(sent, 0, 0, {}, len(keys), queued_now, [NO_REQUEST] * len(keys), [])
        rows = rows or [None] * len(keys)
        queued, since = self._queued, self._since
        here: dict[bytes, bytes] = {}
        places: list[int] = []
        found = Selection(chunk, 0, 0, {}, 0, [], [], [])
        for place, (key, request, row) in enumerate(zip(keys, requests, rows, strict=True)):
            last = before = here.get(key) or queued.get(key)
            if last is None and row is not None:
                last = before = row[:_REQUEST_END]
                if since and int.from_bytes(row[-DAY_BYTES:], "big") < since:
                    last = NO_REQUEST
                elif last == request and row[_REQUEST_END:_RECORD_END] != came[place] != NO_RECORD:
                    found.refreshed.append((key, request, came[place]))
            if last == request:
                if names and row is not None and self._needs_name(row):
                    found.names += names[place]
                continue
            # Whether the deletion of a user is booked by now makes no difference.
            found.new += before in {None, NO_REQUEST}
            found.before.append(before or NO_REQUEST)
            here[key] = request
            places.append(place)
            if row is not None:
                found.outdated[row[_REQUEST_END:_RECORD_END]] = place
            if key in self.refreshed:
                found.outdated[self.refreshed[key][1]] = place
        found.unchanged = len(keys) - len(places)
        found.queued = [(keys[place], requests[place]) for place in places]
        packed = b"".join(keys[place] + requests[place] + came[place] for place in places)
        raw = [msgspec.Raw(encoded[place]) for place in places]
        keys_sent = [chunk.keys[place] for place in places]
        names_sent = [names[place] for place in places] if names else []
        found.chunk = Chunk(chunk.kind, raw, keys_sent, chunk.timed, packed, names_sent)
        return found

    def _names_of(self, chunk: Chunk, encoded: list[bytes]) -> list[bytes]:
        """What the users of a chunk are called; nothing where that is not kept."""
        if self.mirror is None or chunk.kind != "users":
            return []
        return list(map(name_in, encoded))

    def _needs_name(self, row: bytes) -> bool:
        return self.mirror is not None and self.mirror.needs_name(row[_REQUEST_END:_RECORD_END])

    def _event_keys(self, encoded: list[bytes], identities: Sequence[bytes] | None) -> list[bytes]:
        seed = self._seed
        if identities is None:
            return [_digest(request, seed) for request in encoded]
        named = zip(encoded, identities, strict=True)
        return [_digest(name if name[:1] == ALONE else request + name, seed) for request, name in named]

    def _select_events(
        self, chunk: Chunk, encoded: list[bytes], records: Sequence[bytes] | None, keys: list[bytes]
    ) -> Selection:
        came = records or [NO_RECORD] * len(keys)
        rows = self._store.look_up("events", self.facts, keys) if self.facts.rows else [None] * len(keys)
        here: set[bytes] = set()
        places: list[int] = []
        for place, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if row is None and key not in self._queued and key not in here:
                here.add(key)
                places.append(place)
        packed = b"".join(keys[place] + came[place] for place in places)
        raw = [msgspec.Raw(encoded[place]) for place in places]
        untimed = 0 if chunk.timed else sum(_is_untimed(chunk.requests[place]) for place in places)
        sent = Chunk(chunk.kind, raw, [], not untimed, packed)
        queued = [(keys[place], b"") for place in places]
        return Selection(sent, len(keys) - len(places), untimed, {}, len(places), queued, [], [])

    def note_changed(self, selection: Selection) -> None:
        """Note the known users of a selection who have changed, where there is a limit of them."""
        if self._queued_users is not None and selection.queued:
            queued = zip(selection.queued, selection.before, strict=True)
            self._queued_users.add((key, request, before) for (key, request), before in queued)

    def queue(self, selection: Selection) -> None:
        """Count a selection, and take what it chose as queued."""
        self._queued.update(selection.queued)
        self._outdated.update(selection.outdated)
        self.new += selection.new
        self.changed += len(selection.queued) - selection.new
        self.unchanged += selection.unchanged
        if self.mirror is not None:
            self.mirror.new_names += selection.names
        for key, _ in selection.queued if self.refreshed else ():
            self.refreshed.pop(key, None)
        if selection.refreshed:
            self._by_request += len(selection.refreshed)
            # Where the bytes differ each night, in a column that is not sent, keeping them helps nobody.
            if self._scope_is_new or self._by_record >= self._by_request:
                kept = [one for one in selection.refreshed if one[0] not in self._queued]
                self.refreshed.update({key: (request, came) for key, request, came in kept})

    # What became of the requests

    def expect(self, key: bytes, request: bytes) -> None:
        """Take a request of an earlier run as queued: it is in progress."""
        self._queued[key] = request

    def outdate(self, keys: Sequence[bytes]) -> None:
        """Take users to be something else soon than what the store has of them."""
        for row in self._store.look_up("users", self.facts, keys):
            if row is not None:
                self._outdated.add(row[_REQUEST_END:_RECORD_END])

    def blank(self, users: Sequence[str]) -> None:
        """Count users as unknown, whatever is known of them or was queued."""
        keys = [self.user_key(user) for user in users]
        if self.mirror is not None:
            # Its record was read, perhaps; the row does not tell any more.
            self.mirror.see(keys)
        for key in keys:
            self._queued[key] = NO_REQUEST
            self.refreshed.pop(key, None)
        self.outdate(keys)

    def blanked(self, keys: Iterable[bytes]) -> None:
        """Take users as unknown in the store, too."""
        for key in keys:
            if self._queued.get(key) == NO_REQUEST:
                del self._queued[key]

    def are_latest(self, keys: list[bytes], requests: list[bytes]) -> list[bool] | None:
        """Whether each was queued last of what is known by its key; it is in the queue no more. None: all."""
        queued = self._queued
        last = [queued.pop(key, None) for key in keys]
        if last == requests:
            return None
        queued.update({key: one for key, one in zip(keys, last, strict=True) if one is not None})
        return list(map(self._is_latest, keys, requests))

    def _is_latest(self, key: bytes, request: bytes) -> bool:
        if self._queued.get(key, request) != request:
            return False
        self._queued.pop(key, None)
        return True

    @property
    def unbooked(self) -> int:
        """How many unchanged users there is something to book of, about."""
        return len(self.refreshed) + (len(self.mirror.new_names) // 32 if self.mirror is not None else 0)

    def removed(self, record: bytes) -> None:
        """Forget a record that the store does not have any more."""
        self._outdated.discard(record)


def _is_untimed(event: Any) -> bool:
    return getattr(event, "timestamp", "") is None
