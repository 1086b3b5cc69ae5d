"""What the real API does not have, under `/sandbox/`: looking inside, and starting over."""

from __future__ import annotations

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, ok
from target_fullstory.sandbox.rules.refusals import invalid
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import JobStore
from target_fullstory.sandbox.store.received_requests import RequestLog
from target_fullstory.sandbox.store.user_and_event_store import EventStore

MAX_LIMIT = 10_000


class SandboxInspection:
    """Events, requests, statistics, reset."""

    def __init__(self, database: Database, log: RequestLog) -> None:
        self._database = database
        self._events = EventStore(database)
        self._jobs = JobStore(database)
        self._log = log

    def counts(self) -> dict[str, int]:
        """Count the users, events and jobs that are stored."""
        return {
            table: self._database.number(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 (our own names)
            for table in ("users", "events", "jobs")
        }

    def stats(self, _: Call) -> ApiResponse:
        """`GET /sandbox/stats`."""
        jobs, operations = self._jobs.in_progress()
        unfinished = {"jobs_in_progress": jobs, "operations_in_progress": operations}
        return ok({**self.counts(), **unfinished, **self._log.counts()})

    def events(self, call: Call) -> ApiResponse:
        """`GET /sandbox/events?uid=&name=&limit=&page_token=`: the events as they are stored."""
        filters = call.filters("uid", "name")
        events, total, next_page = call.read_page(
            f"events {sorted(filters.items())}",
            _limit(call, 100),
            lambda after, limit: self._events.search(filters, after, limit),
            lambda event: int(event["seq"]),
        )
        return ok({"results": events, "total": total, **next_page})

    def requests(self, call: Call) -> ApiResponse:
        """`GET /sandbox/requests?limit=`: the latest requests, oldest first."""
        latest, total = self._log.latest()
        return ok({"results": latest[-_limit(call, MAX_LIMIT) :], "total": total})

    def reset(self, _: Call) -> ApiResponse:
        """`POST /sandbox/reset`: forgets everything, unfinished jobs included."""
        self._database.clear()
        self._log.clear()
        return ok({})


def _limit(call: Call, default: int) -> int:
    text = call.query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_LIMIT):
        raise invalid("invalid_parameter", f"limit must be a number from 1 to {MAX_LIMIT}")
    return int(text)
