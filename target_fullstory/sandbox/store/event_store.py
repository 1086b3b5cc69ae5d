"""Events as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.sandbox.rules.refusals import user_not_found
from target_fullstory.sandbox.store.database import utc_now
from target_fullstory.sandbox.store.user_store import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_fullstory.sandbox.rules.sandbox_request_shapes import EventRequest
    from target_fullstory.sandbox.store.database import Database
    from target_fullstory.sandbox.store.user_store import UserStore

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Owners:
    """The users that a run of events is about, looked up once."""

    def __init__(self, store: UserStore, events: Iterable[EventRequest]) -> None:
        users = [event.user for event in events if event.user is not None]
        uids = {user.uid for user in users if user.uid}
        ids = {number for user in users if (number := number_of(user.id)) is not None}
        self._id_of = store.ids_by_uid(uids)
        self._uid_of = store.uids_by_id(ids)

    def of(self, event: EventRequest) -> tuple[int | None, str | None]:
        """Tells whose event it is.

        An unknown uid is no error: Fullstory learns of users from browsers as well.

        Args:
            event: The event.

        Returns:
            Fullstory id and uid, as far as they are known.

        Raises:
            ApiError: It names a Fullstory id that does not exist.
        """
        if event.user is None:
            return None, None
        if event.user.uid:
            return self._id_of.get(event.user.uid), event.user.uid
        if not event.user.id:
            return None, None
        number = number_of(event.user.id)
        if number is None or number not in self._uid_of:
            raise user_not_found()
        return number, self._uid_of[number]


class EventRow(msgspec.Struct):
    """An event on its way into the database."""

    user_id: int | None
    uid: str | None
    event: EventRequest


class EventStore:
    """The events in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> int:
        """Counts the events.

        Returns:
            How many there are.
        """
        return self._database.number("SELECT COUNT(*) FROM events")

    def add(self, rows: Iterable[EventRow], job_id: str | None = None) -> None:
        """Stores events in their order.

        Args:
            rows: The events.
            job_id: The job that brought them, if one did.
        """
        received = utc_now()
        self._database.write_many(
            "INSERT INTO events (user_id, uid, name, job_id, received, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                (row.user_id, row.uid, row.event.name, job_id, received, _encode(row.event))
                for row in rows
            ),
        )

    def search(self, filters: dict[str, str], after: int, limit: int) -> tuple[list[Any], int]:
        """Finds events.

        Args:
            filters: Column to the value it must have.
            after: Only events whose sequence number is greater.
            limit: How many at most.

        Returns:
            The events in the order they were stored, and how many there are on all pages.
        """
        where = " AND ".join(f"{column} = ?" for column in filters) or "1"
        total = self._database.number(
            f"SELECT COUNT(*) FROM events WHERE {where}",  # noqa: S608 (our own column names)
            filters.values(),
        )
        rows = self._database.all(
            "SELECT seq, user_id, uid, job_id, received, body FROM events"  # noqa: S608
            f" WHERE {where} AND seq > ? ORDER BY seq LIMIT ?",
            (*filters.values(), after, limit),
        )
        return [_shaped(*row) for row in rows], total


def _shaped(
    seq: int, user_id: int | None, uid: str | None, job_id: str | None, received: str, body: bytes
) -> dict[str, Any]:
    event: dict[str, Any] = {"seq": seq, "received": received, "job_id": job_id, **_decode(body)}
    event.setdefault("timestamp", received)
    user = {"id": None if user_id is None else str(user_id), "uid": uid}
    event["user"] = {name: value for name, value in user.items() if value is not None}
    return event
