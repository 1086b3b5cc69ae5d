"""Users as they are stored, and what an update makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.sandbox.rules.refusals import invalid, user_not_found
from target_fullstory.sandbox.rules.sandbox_property_rules import MAX_USER_PROPERTIES, merge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_fullstory.sandbox.rules.sandbox_request_shapes import UserRequest
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
    number, uid, display_name, email, properties, declared = row
    return User(number, uid, display_name, email, _decode(properties), _decode(declared))


def number_of(text: str | None) -> int | None:
    """Reads an id given by a client.

    Args:
        text: The id.

    Returns:
        It as a number, None where it cannot be one.
    """
    if text is None or len(text) > 18 or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


class UserStore:
    """The users in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Counts the users.

        Returns:
            How many there are.
        """
        return self._database.number("SELECT COUNT(*) FROM users")

    def get(self, user_id: str) -> User:
        """Finds a user.

        Args:
            user_id: Its Fullstory id.

        Returns:
            The user.

        Raises:
            ApiError: There is none.
        """
        row = self._database.one(
            f"SELECT {_COLUMNS} FROM users WHERE id = ?",  # noqa: S608 (a constant)
            (number_of(user_id),),
        )
        if row is None:
            raise user_not_found()
        return _from_row(row)

    def search(
        self, filters: dict[str, str], identified: bool | None, after: int, limit: int
    ) -> tuple[list[User], int]:
        """Finds users.

        Args:
            filters: Column to the value it must have.
            identified: Whether they must, or must not, have a uid; None for both.
            after: Only users whose id is greater.
            limit: How many at most.

        Returns:
            The users in the order of their ids, and how many there are on all pages.
        """
        conditions = [f"{column} = ?" for column in filters]
        if identified is not None:
            conditions.append(f"uid IS {'NOT ' if identified else ''}NULL")
        where = " AND ".join(conditions) or "1"
        total = self._database.number(
            f"SELECT COUNT(*) FROM users WHERE {where}",  # noqa: S608 (our own column names)
            filters.values(),
        )
        rows = self._database.all(
            f"SELECT {_COLUMNS} FROM users WHERE {where} AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (*filters.values(), after, limit),
        )
        return [_from_row(row) for row in rows], total

    def find(self, uids: Iterable[str], ids: Iterable[int]) -> list[User]:
        """Finds the users with any of these uids or ids.

        Args:
            uids: Application ids.
            ids: Fullstory ids.

        Returns:
            Those that exist, in no order; one that fits twice may come twice.
        """
        query = f"SELECT {_COLUMNS} FROM users WHERE"  # noqa: S608 (a constant)
        # Two queries, not one with OR: each is a search by its index.
        rows = self._database.matching(f"{query} uid", uids)
        rows += self._database.matching(f"{query} id", ids)
        return [_from_row(row) for row in rows]

    def ids_by_uid(self, uids: Iterable[str]) -> dict[str, int]:
        """Finds the Fullstory ids of users.

        Args:
            uids: Application ids.

        Returns:
            Uid to id, of those that exist.
        """
        return dict(self._database.matching("SELECT uid, id FROM users WHERE uid", uids))

    def uids_by_id(self, ids: Iterable[int]) -> dict[int, str | None]:
        """Finds the application ids of users.

        Args:
            ids: Fullstory ids.

        Returns:
            Id to uid, of those that exist.
        """
        return dict(self._database.matching("SELECT id, uid FROM users WHERE id", ids))

    def next_id(self) -> int:
        """Tells the id of the next new user; ids of deleted users never come back.

        Returns:
            The id.
        """
        row = self._database.one("SELECT seq FROM sqlite_sequence WHERE name = 'users'")
        return _FIRST_ID if row is None else max(_FIRST_ID, int(row[0]) + 1)

    def save(self, users: Iterable[User], merged: Iterable[tuple[int, User]]) -> None:
        """Stores users.

        Args:
            users: New and changed ones.
            merged: Id of an anonymous user that is gone, and the user that took over its events.
        """
        with self._database.transaction():
            for gone, into in merged:
                self._database.write("DELETE FROM users WHERE id = ?", (gone,))
                self._database.write(
                    "UPDATE events SET user_id = ?, uid = ? WHERE user_id = ?",
                    (into.id, into.uid, gone),
                )
            self._database.write_many(
                _UPSERT,
                (
                    (
                        user.id,
                        user.uid,
                        user.display_name,
                        user.email,
                        _encode(user.properties),
                        _encode(user.declared),
                    )
                    for user in users
                ),
            )

    def delete(self, *, user_id: str | None = None, uid: str | None = None) -> None:
        """Deletes a user and its events.

        Args:
            user_id: Its Fullstory id.
            uid: Its application id, where the id is not given.

        Raises:
            ApiError: There is no such user.
        """
        column, value = ("uid", uid) if user_id is None else ("id", number_of(user_id))
        with self._database.transaction():
            row = self._database.one(
                f"SELECT id, uid FROM users WHERE {column} = ?",  # noqa: S608 (our own names)
                (value,),
            )
            if row is None:
                raise user_not_found()
            self._database.write("DELETE FROM events WHERE user_id = ? OR uid = ?", row)
            self._database.write("DELETE FROM users WHERE id = ?", row[:1])


class UserChanges:
    """The users that a run of requests is about, loaded once, changed in memory and saved once.

    Must be made and saved within one transaction.
    """

    def __init__(self, store: UserStore, uids: Iterable[str], ids: Iterable[int]) -> None:
        self._store = store
        self._by_id: dict[int, User] = {}
        self._by_uid: dict[str, User] = {}
        for user in store.find(uids, ids):
            if user.id in self._by_id:
                continue
            self._by_id[user.id] = user
            if user.uid is not None:
                self._by_uid[user.uid] = user
        self._next_id = store.next_id()
        self._changed: dict[int, User] = {}
        self._merged: list[tuple[int, User]] = []

    def apply(self, request: UserRequest, user_id: str | None = None) -> User:
        """Creates or updates a user.

        Args:
            request: What is known of it.
            user_id: Its Fullstory id, where the request is for one.

        Returns:
            The user afterwards.

        Raises:
            ApiError: There is no such user, or it cannot be changed that way.
        """
        uid = request.uid or None
        named = self._named(user_id, uid) if user_id else None
        owner = self._by_uid.get(uid) if uid else None
        user = owner or named
        absorbed = named if named is not user else None
        properties = request.properties or {}
        if user is not None:
            properties = merge(user.properties, properties)
        if absorbed is not None:
            properties = merge(absorbed.properties, properties)
        if len(properties) > MAX_USER_PROPERTIES:
            raise invalid(
                "too_many_properties", f"A user has at most {MAX_USER_PROPERTIES} properties"
            )
        if user is None:
            user = User(self._next_id, None, None, None, {}, {})
            self._next_id += 1
            self._by_id[user.id] = user
        if absorbed is not None:
            self._absorb(absorbed, user)
        self._update(user, request, uid, properties)
        return user

    def _named(self, user_id: str, uid: str | None) -> User:
        user = self._by_id.get(number_of(user_id) or 0)
        if user is None:
            raise user_not_found()
        if uid is not None and user.uid is not None and user.uid != uid:
            raise invalid("uid_immutable", "The user has a uid, and a uid cannot be changed")
        return user

    def _absorb(self, absorbed: User, into: User) -> None:
        into.display_name = into.display_name or absorbed.display_name
        into.email = into.email or absorbed.email
        into.declared = {**absorbed.declared, **into.declared}
        self._by_id.pop(absorbed.id)
        self._changed.pop(absorbed.id, None)
        self._merged.append((absorbed.id, into))

    def _update(
        self, user: User, request: UserRequest, uid: str | None, properties: dict[str, Any]
    ) -> None:
        user.properties = properties
        if uid is not None:
            user.uid = uid
            self._by_uid[uid] = user
        user.display_name = request.display_name or user.display_name
        user.email = request.email or user.email
        if request.schema is not None and request.schema.properties:
            user.declared = {**user.declared, **request.schema.properties}
        self._changed[user.id] = user

    def save(self) -> None:
        """Stores what has changed."""
        self._store.save(self._changed.values(), self._merged)
