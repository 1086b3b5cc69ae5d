"""What the real API does not have, under `/sandbox/`: looking inside, and starting over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_fullstory.sandbox.operations.handler_types import Answer, Call, ok
from target_fullstory.sandbox.operations.listing_pages import position_of, token_for
from target_fullstory.sandbox.rules.refusals import invalid

if TYPE_CHECKING:
    from target_fullstory.sandbox.store.database import Database
    from target_fullstory.sandbox.store.event_store import EventStore
    from target_fullstory.sandbox.store.job_store import JobStore
    from target_fullstory.sandbox.store.received_requests import RequestLog
    from target_fullstory.sandbox.store.tally import Tally
    from target_fullstory.sandbox.store.user_store import UserStore

MAX_LIMIT = 10_000


class Inspection:
    """Events, requests, counts, reset."""

    def __init__(
        self,
        database: Database,
        users: UserStore,
        events: EventStore,
        jobs: JobStore,
        log: RequestLog,
        faults: Tally,
        rejected: Tally,
    ) -> None:
        self._database = database
        self._users = users
        self._events = events
        self._jobs = jobs
        self._log = log
        self._faults = faults
        self._rejected = rejected

    def counts(self) -> dict[str, int]:
        """Counts what is stored.

        Returns:
            Users, events and jobs.
        """
        return {
            "users": self._users.count(),
            "events": self._events.count(),
            "jobs": self._jobs.count(),
        }

    def stats(self, call: Call) -> Answer:  # noqa: ARG002 (nothing to ask for)
        """`GET /sandbox/stats`."""
        jobs, operations = self._jobs.in_progress()
        return ok(
            {
                **self.counts(),
                "jobs_in_progress": jobs,
                "operations_in_progress": operations,
                "requests": self._log.entries()[1],
                "dropped_properties": self._rejected.counts().get("properties", 0),
                "faults": self._faults.counts(),
            }
        )

    def events(self, call: Call) -> Answer:
        """`GET /sandbox/events?uid=&name=&limit=&page_token=`: the events as they are stored."""
        filters = {name: call.query[name] for name in ("uid", "name") if call.query.get(name)}
        limit = _limit(call, 100)
        listing = f"events {sorted(filters.items())}"
        after = position_of(call.query.get("page_token"), listing)
        events, total = self._events.search(filters, after, limit + 1)
        answer = {"results": events[:limit], "total": total}
        if len(events) > limit:
            answer["next_page_token"] = token_for(listing, events[limit - 1]["seq"])
        return ok(answer)

    def requests(self, call: Call) -> Answer:
        """`GET /sandbox/requests?limit=`: the latest requests, oldest first."""
        entries, total = self._log.entries()
        return ok({"results": entries[-_limit(call, MAX_LIMIT) :], "total": total})

    def reset(self, call: Call) -> Answer:  # noqa: ARG002 (nothing to ask for)
        """`POST /sandbox/reset`: forgets everything, unfinished jobs included."""
        self._database.clear()
        self._log.clear()
        self._faults.clear()
        self._rejected.clear()
        return ok({})


def _limit(call: Call, default: int) -> int:
    text = call.query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_LIMIT):
        raise invalid("invalid_parameter", f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)
