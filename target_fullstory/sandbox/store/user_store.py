"""Users as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from target_fullstory.sandbox.store.database import Database, Row

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


def _from_row(row: Row) -> User:
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
        return [_from_row(row) for row in rows], total

    def find(self, ids: Iterable[int], uids: Iterable[str] = ()) -> dict[int, User]:
        """Find the users with any of these ids or uids; those that exist, by id."""
        return {row[0]: _from_row(row) for row in self._rows(_COLUMNS, ids, uids)}

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
