"""A run's snapshot: takes what Fullstory has confirmed, and books it.

Any thread hands over what was confirmed or has failed; the reading thread alone uses the store.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Final

from target_fullstory.kinds import Kind
from target_fullstory.snapshot.batch_rows import KEY_BYTES, NO_RECORD, NO_REQUEST, REQUEST_BYTES, BatchRows
from target_fullstory.snapshot.change_limits import ChangeLimits
from target_fullstory.snapshot.fingerprints import digest_with
from target_fullstory.snapshot.held_store import HeldStore
from target_fullstory.snapshot.packed_rows import REST_BYTES, find
from target_fullstory.snapshot.store import DAY_BYTES, WIDTHS, Store, add_events, add_records
from target_fullstory.snapshot.stream_snapshot import StreamSnapshot

_SECONDS_A_DAY = 24 * 3600

_ROWS_A_BOOKING: Final = 200_000
"""Many at a time, in the order of the store: a row then costs a fraction of what it costs alone."""

# What becomes of a row, at the end of each item that is booked.
_CONFIRMED, _FAILED, _REFRESHED, _REMOVED = b"c", b"f", b"r", b"d"
_RECORD_AT = KEY_BYTES + REQUEST_BYTES
_TAIL_BYTES = KEY_BYTES + DAY_BYTES  # of a user's row: the record and the day


class _Outcome:
    """What became of a batch, or of a part of it."""

    def __init__(self, rows: BatchRows, what: bytes, on_booked: Callable[[], None] | None = None) -> None:
        self.rows = rows
        self.what = what
        self.on_booked = on_booked


class Snapshot:
    """What was sent before, to the destination of this run."""

    def __init__(self, store: Store, *, resend_after: int | None, keep_events: int) -> None:
        """Take a store; both ages are in days, a `resend_after` of None never sends what is unchanged."""
        self.store = store
        # Of how many users may change or vanish; set before a stream is opened.
        self.limits: ChangeLimits | None = None
        self._resend_after = resend_after
        self._keep_events = keep_events
        self._today = int(time.time() // _SECONDS_A_DAY)
        self._user = digest_with(store.about.seed, "user")
        self._streams: dict[str, StreamSnapshot] = {}
        self._lock = threading.Lock()
        self._outcomes: deque[_Outcome] = deque()
        self._waiting = 0
        # None where the store is nobody else's, such as a copy.
        self.held: HeldStore | None = None

    def load_stream(self, stream: str, kind: Kind) -> StreamSnapshot:
        """The part of a stream of users or events that this run loads.

        Raises:
            StreamInUseError: Another run loads it.
        """
        if self.held is not None:
            self.held.take(stream)
        return self.open_stream(stream, kind)

    def open_stream(self, stream: str, kind: Kind) -> StreamSnapshot:
        """The part of a stream of users or events."""
        if stream not in self._streams:
            facts = self.store.facts(stream, kind)
            limits = self.limits if kind == "users" else None
            changes = limits.changes_of(stream, facts.rows) if limits else None
            self._streams[stream] = StreamSnapshot(
                self.store, facts, kind, self._today, self._resend_after, changes.users if changes else None
            )
        return self._streams[stream]

    def forget_users(self, stream: str) -> None:
        """Know nothing more of a stream of users, all of which this run sends; raises as `load_stream`."""
        if (facts := self.store.about.streams.get(stream)) is not None and facts.kind == "users":
            if self.held is not None:
                self.held.take(stream)
            self._streams.pop(stream, None)
            self.store.forget(stream)

    def of(self, stream: str) -> StreamSnapshot | None:
        """The part of a stream; None where this run sends all of it, whatever is known from before."""
        part = self._streams.get(stream)
        return part if part is not None and part.has_begun else None

    def user_key(self, user: str) -> bytes:
        """The fingerprint of a uid or id; called by any thread."""
        return self._user(user.encode("utf-8", "surrogatepass"))

    def figures(self) -> dict[str, dict[str, int]]:
        """How many of each stream were known at the start, and what came of the records of this run."""
        return {
            stream: {
                "known_at_start": part.known,
                "new": part.new,
                "changed": part.changed,
                "unchanged": part.unchanged,
            }
            for stream, part in self._streams.items()
        }

    # What became of what was sent

    def expect(self, rows: BatchRows) -> None:
        """Take what an earlier run has sent as queued: it is in progress.

        Raises:
            StreamInUseError: Another run loads the stream.
        """
        part = self.load_stream(rows.known_stream, "events" if rows.kind == "events" else "users")
        if rows.kind == "events":
            for key in rows.keys_in_order():
                part.expect(key, b"")
            return
        users = rows.users()
        for row in users:
            part.expect(row.key, row.request)
        part.outdate([row.key for row in users])

    def confirm(self, rows: BatchRows, on_booked: Callable[[], None]) -> None:
        """Take what Fullstory has confirmed; `on_booked` is called once it is in the store."""
        self._take(_Outcome(rows, _REMOVED if rows.removes else _CONFIRMED, on_booked))

    def fail(self, rows: BatchRows) -> None:
        """Take what Fullstory has refused or lost, or may have: it is sent again."""
        self._take(_Outcome(rows, _FAILED))

    def _take(self, outcome: _Outcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            self._waiting += len(outcome.rows)

    def blank(self, users: Iterable[str]) -> None:
        """Count users as unknown in all streams: they are deleted next."""
        users = list(users)
        for stream, facts in list(self.store.about.streams.items()):
            if facts.kind == "users":
                self.open_stream(stream, "users").blank(users)

    def book_blank(self, users: Iterable[str], rows: BatchRows | None) -> None:
        """Book that users are unknown, whom a batch deletes, and what was confirmed of them before."""
        self.book(everything=True)
        own = rows.known_stream if rows is not None else None
        keys = [self.user_key(user) for user in users]
        items = [key + NO_REQUEST + NO_RECORD + self._day + _FAILED for key in keys]
        for name, part in self._streams.items():
            if part.kind == "users":
                self.store.change("users", part.facts, items, _UserBooking(part).change)
                part.blanked(keys)
                if part.mirror is not None and name != own:
                    # A mark would bring back who is deleted. In the batch's own stream, its end decides.
                    part.mirror.remove_names(keys)

    # Booking

    def book(self, *, everything: bool) -> None:
        """Enter in the store what was confirmed: `everything`, or nothing while there is little of it."""
        everything = everything or (self.held is not None and self.held.is_put_due)
        refreshed = sum(part.unbooked for part in self._streams.values())
        with self._lock:
            if not everything and self._waiting + refreshed < _ROWS_A_BOOKING:
                return
            taken, self._outcomes = self._outcomes, deque()
            self._waiting = 0
        by_stream: dict[str, list[_Outcome]] = {}
        for outcome in taken:
            by_stream.setdefault(outcome.rows.known_stream, []).append(outcome)
        for name, part in self._streams.items():
            outcomes = by_stream.get(name, [])
            if part.kind == "events":
                self._book_events(part, outcomes)
            else:
                self._book_users(part, outcomes)
            if outcomes:
                now = _now()
                self.store.note(part.facts, loaded=now, since=part.facts.since or now)
        for outcome in taken:
            if outcome.on_booked is not None:
                outcome.on_booked()
        if self.held is not None:
            self.held.put_if_due()

    @property
    def _day(self) -> bytes:
        return self._today.to_bytes(DAY_BYTES, "big")

    def _book_users(self, part: StreamSnapshot, outcomes: list[_Outcome]) -> None:
        refreshed, part.refreshed = part.refreshed, {}
        if part.mirror is not None:
            part.mirror.enter_names(one.rows.names for one in outcomes if one.what == _CONFIRMED)
        if outcomes or refreshed:
            booking = _UserBooking(part)
            self.store.change(
                "users", part.facts, booking.items(outcomes, refreshed, self._day), booking.change
            )
            self.store.change("records", part.facts, booking.known_records(), add_records)
        if part.mirror is not None:
            part.mirror.remove_names(self._without_name(part, outcomes))

    def _without_name(self, part: StreamSnapshot, outcomes: list[_Outcome]) -> list[bytes]:
        """The users who are known no more, or known to be deleted."""
        deleted, removed = list[bytes](), list[bytes]()
        for one in outcomes:
            if one.what == _REMOVED:
                removed += one.rows.keys_in_order()
            elif one.what == _CONFIRMED and one.rows.kind == "user_deletions":
                deleted += one.rows.keys_in_order()
        rows = self.store.look_up("users", part.facts, removed)
        return deleted + [key for key, row in zip(removed, rows, strict=True) if row is None]

    def _book_events(self, part: StreamSnapshot, outcomes: list[_Outcome]) -> None:
        day = self._day
        confirmed: list[bytes] = []
        records: list[bytes] = []
        for outcome in outcomes:
            rows = outcome.rows.events()
            part.are_latest([row.key for row in rows], [b""] * len(rows))
            if outcome.what == _CONFIRMED:
                confirmed += [row.key + day for row in rows]
                records += [row.record + day for row in rows if row.record != NO_RECORD]
        if confirmed:
            if not part.facts.first_day:
                self.store.note(part.facts, first_day=self._today)
            self.store.change("events", part.facts, confirmed, add_events)
            self.store.change("records", part.facts, records, add_records)

    def _forget_old_events(self) -> None:
        first = self._today - self._keep_events
        for part in self._streams.values():
            facts = part.facts
            if part.kind == "events" and facts.first_day and facts.first_day < first:
                self.store.keep("events", facts, first)
                self.store.keep("records", facts, first)
                self.store.note(facts, first_day=first)

    def close(self, *, alone: bool = True) -> None:
        """Forget events that are too old, and close the store."""
        try:
            self._forget_old_events()
            for part in self._streams.values():
                if part.mirror is not None:
                    part.mirror.close()
        finally:
            if self.held is not None:
                self.held.close()
            else:
                self.store.close(alone=alone)


class _UserBooking:
    """Enters users in the store: their rows as in a batch, with the day and what becomes of each behind."""

    def __init__(self, part: StreamSnapshot) -> None:
        self._part = part
        self._known: list[bytes] = []  # records and their days
        self._gone: set[bytes] = set()

    def items(
        self, outcomes: Iterable[_Outcome], refreshed: dict[bytes, tuple[bytes, bytes]], day: bytes
    ) -> list[bytes]:
        """What is to be booked."""
        items: list[bytes] = []
        for outcome in outcomes:
            packed, width = outcome.rows.packed, outcome.rows.width
            rows = [packed[at : at + width] for at in range(0, len(packed), width)]
            nameless = outcome.rows.kind == "users" and not outcome.rows.names
            if self._part.mirror is not None and outcome.what == _CONFIRMED and nameless:
                # What they are called is learned when they come again: they are to be mapped then.
                rows = [row[:_RECORD_AT] + NO_RECORD for row in rows]
            keys, requests = [row[:KEY_BYTES] for row in rows], [row[KEY_BYTES:_RECORD_AT] for row in rows]
            latest = self._part.are_latest(keys, requests)
            told, outdated = day + outcome.what, day + _FAILED
            if latest is None:
                items += [row + told for row in rows]
                continue
            # What was queued after it is not confirmed yet: until then, nobody knows what Fullstory has.
            items += [row + (told if last else outdated) for row, last in zip(rows, latest, strict=True)]
        items += [key + request + record + day + _REFRESHED for key, (request, record) in refreshed.items()]
        return items

    def known_records(self) -> list[bytes]:
        """The records that are known by now, each with its day."""
        if not self._gone:
            return self._known
        return [record for record in self._known if record[:KEY_BYTES] not in self._gone]

    def change(self, rows: bytearray, items: list[bytes]) -> set[bytes]:
        """Change a bucket of users; returns the records that are not known any more."""
        if not rows and len({item[1:KEY_BYTES] for item in items}) == len(items):
            new = [item for item in items if item[-1:] == _CONFIRMED]
        else:
            find_rest = rows.find
            new = [item for item in items if find_rest(item[1:KEY_BYTES]) < 0 and item[-1:] == _CONFIRMED]
            if len(new) < len(items) or len({item[1:KEY_BYTES] for item in new}) < len(new):
                return self._change_one_by_one(rows, items)
        rows += b"".join([item[1:-1] for item in new])
        self._known += [item[_RECORD_AT:-1] for item in new if not item.startswith(NO_RECORD, _RECORD_AT)]
        return set()

    def _change_one_by_one(self, rows: bytearray, items: list[bytes]) -> set[bytes]:
        width = WIDTHS["users"]
        stale: set[bytes] = set()
        for item in items:
            what, row, record = item[-1:], item[1:-1], item[_RECORD_AT : -1 - DAY_BYTES]
            at = find(rows, row[:REST_BYTES], width) if rows else -1
            if at < 0:
                if what == _CONFIRMED:
                    rows += row
                    self._known += [item[_RECORD_AT:-1]] if record != NO_RECORD else []
                continue
            before = bytes(rows[at : at + width])
            if what == _REFRESHED and before[:-_TAIL_BYTES] != row[:-_TAIL_BYTES]:
                continue
            if what == _REFRESHED:
                row = row[:-DAY_BYTES] + before[-DAY_BYTES:]
            elif what != _CONFIRMED:
                record = NO_RECORD
                row = row[:REST_BYTES] + NO_REQUEST + NO_RECORD + before[-DAY_BYTES:]
            rows[at : at + width] = b"" if what == _REMOVED else row
            if (old := before[-_TAIL_BYTES:-DAY_BYTES]) != NO_RECORD:
                stale.add(old)
                if old != record:
                    self._gone.add(old)
                    self._part.removed(old)
            if record != NO_RECORD:
                self._known.append(row[-_TAIL_BYTES:])
        return stale


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
