"""Users and their events as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from target_fullstory.sandbox.store.database import Database, Row, utc_now

_FIRST_ID = 1_000_000_001
_COLUMNS = "id, uid, display_name, email, properties, declared"
_UPSERT = f"""
INSERT INTO users ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET uid = excluded.uid, display_name = excluded.display_name,
    email = excluded.email, properties = excluded.properties, declared = excluded.declared
"""  # noqa: S608 (a constant)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class User(msgspec.Struct):
    """A user as stored; `declared` maps dotted property names to their declared types."""

    id: int
    uid: str | None
    display_name: str | None
    email: str | None
    properties: dict[str, Any]
    declared: dict[str, str]


def _to_user(row: Row) -> User:
    return User(row[0], row[1], row[2], row[3], _decode(row[4]), _decode(row[5]))


def _to_row(user: User) -> Row:
    identity = user.id, user.uid, user.display_name, user.email
    return *identity, _encode(user.properties), _encode(user.declared)


class UserStore:
    """The users in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(
        self, filters: dict[str, str], identified: bool | None, after: int, limit: int
    ) -> tuple[list[User], int]:
        """Find a page of users, sorted by id and beyond the id `after`, and how many are on all pages.

        `filters` maps columns to values. `identified` is whether they must, or must not, have a uid.
        """
        wanted: dict[str, Any] = {**filters}
        if identified is not None:
            wanted["(uid IS NOT NULL)"] = identified
        rows, total = self._database.page("users", _COLUMNS, "id", wanted, after, limit)
        return [_to_user(row) for row in rows], total

    def find(self, ids: Iterable[int], uids: Iterable[str] = ()) -> dict[int, User]:
        """Find the users with any of these ids or uids; those that exist, by id."""
        return {row[0]: _to_user(row) for row in self._rows(_COLUMNS, ids, uids)}

    def uids_by_id(self, ids: Iterable[int], uids: Iterable[str]) -> dict[int, str | None]:
        """Find only id and uid of the users with any of these ids or uids."""
        return dict(self._rows("id, uid", ids, uids))

    def _rows(self, columns: str, ids: Iterable[int], uids: Iterable[str]) -> list[Row]:
        query = f"SELECT {columns} FROM users WHERE"  # noqa: S608 (our own column names)
        # Two queries, not one with OR: each can use its index. A user that fits both comes twice.
        by_uid = self._database.matching(f"{query} uid", uids)
        return by_uid + self._database.matching(f"{query} id", ids)

    def next_id(self) -> int:
        """The id of the next new user; ids of deleted users never come back."""
        row = self._database.one("SELECT seq FROM sqlite_sequence WHERE name = 'users'")
        return _FIRST_ID if row is None else max(_FIRST_ID, int(row[0]) + 1)

    def save(self, users: Iterable[User], merged: Iterable[tuple[int, User]]) -> None:
        """Store new and changed users.

        `merged` has the id of each anonymous user that is gone, and the user that took over its events.
        """
        with self._database.transaction():
            for gone, into in merged:
                self._database.write("DELETE FROM users WHERE id = ?", (gone,))
                self._database.write(
                    "UPDATE events SET user_id = ?, uid = ? WHERE user_id = ?", (into.id, into.uid, gone)
                )
            self._database.write_many(_UPSERT, (_to_row(user) for user in users))

    def delete(self, column: str, value: int | str | None) -> bool:
        """Delete the user whose `id` or `uid` has this value, and its events; False if there is none."""
        with self._database.transaction():
            row = self._database.one(
                f"SELECT id, uid FROM users WHERE {column} = ?",  # noqa: S608 (our own names)
                (value,),
            )
            if row is None:
                return False
            self._database.write("DELETE FROM events WHERE user_id = ? OR uid = ?", row)
            self._database.write("DELETE FROM users WHERE id = ?", row[:1])
        return True


class EventRow(NamedTuple):
    """An event to be stored: whose it is, as far as that is known, its name, and all of it as JSON."""

    user_id: int | None
    uid: str | None
    name: str | None
    body: bytes


class EventStore:
    """The events in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Iterable[EventRow], job_id: str | None = None) -> None:
        """Store events in their order, with the job that brought them, if one did."""
        received = utc_now()
        self._database.write_many(
            "INSERT INTO events (user_id, uid, name, body, job_id, received) VALUES (?, ?, ?, ?, ?, ?)",
            ((*row, job_id, received) for row in rows),
        )

    def search(self, filters: dict[str, str], after: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Find a page of the events with these column values, oldest first, and how many are on all pages."""
        columns = "seq, user_id, uid, job_id, received, body"
        rows, total = self._database.page("events", columns, "seq", filters, after, limit)
        return [_event_json(*row) for row in rows], total


def _event_json(
    seq: int, user_id: int | None, uid: str | None, job_id: str | None, received: str, body: bytes
) -> dict[str, Any]:
    event: dict[str, Any] = {"seq": seq, "received": received, "job_id": job_id, **_decode(body)}
    event.setdefault("timestamp", received)
    user = {"id": None if user_id is None else str(user_id), "uid": uid}
    event["user"] = {name: value for name, value in user.items() if value is not None}
    return event
