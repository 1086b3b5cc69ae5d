"""Events as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from target_fullstory.sandbox.store.database import Database, utc_now

_decode = msgspec.json.Decoder(dict[str, Any]).decode


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
        return [_from_row(*row) for row in rows], total


def _from_row(
    seq: int, user_id: int | None, uid: str | None, job_id: str | None, received: str, body: bytes
) -> dict[str, Any]:
    event: dict[str, Any] = {"seq": seq, "received": received, "job_id": job_id, **_decode(body)}
    event.setdefault("timestamp", received)
    user = {"id": None if user_id is None else str(user_id), "uid": uid}
    event["user"] = {name: value for name, value in user.items() if value is not None}
    return event
