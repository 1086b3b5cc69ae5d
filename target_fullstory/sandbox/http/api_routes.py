"""The parts of one sandbox put together, and the table of its operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_fullstory.sandbox.http.api_key_access import Permission
from target_fullstory.sandbox.http.kept_responses import IdempotencyKeys
from target_fullstory.sandbox.operations.batch_imports import EventImporter, UserImporter
from target_fullstory.sandbox.operations.batch_operations import JobCalls
from target_fullstory.sandbox.operations.event_operations import EventCalls
from target_fullstory.sandbox.operations.handler_types import Answer, Call, Handler, ok
from target_fullstory.sandbox.operations.job_worker import Worker
from target_fullstory.sandbox.operations.sandbox_inspection import Inspection
from target_fullstory.sandbox.operations.user_operations import UserCalls
from target_fullstory.sandbox.operations.webhook_operations import WebhookCalls
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.event_store import EventStore
from target_fullstory.sandbox.store.job_store import JobStore
from target_fullstory.sandbox.store.received_requests import RequestLog
from target_fullstory.sandbox.store.tally import Tally
from target_fullstory.sandbox.store.user_store import UserStore

if TYPE_CHECKING:
    from target_fullstory.sandbox.options import Role, SandboxOptions
    from target_fullstory.sandbox.store.job_store import Kind


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        method: HTTP method.
        path: Path, with placeholders in braces.
        handler: What carries it out.
        permission: What the API key must allow; None for the sandbox's own, which need no key.
        keyed: Whether it heeds an `Idempotency-Key`.
    """

    method: str
    path: str
    handler: Handler
    permission: Permission | None
    keyed: bool = False


class Api:
    """One sandbox, but for HTTP."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self.database = Database(options.db)
        self.keys = IdempotencyKeys(self.database)
        self.log = RequestLog()
        self.faults = Tally()
        self._rejected = Tally()
        self._user_store = UserStore(self.database)
        self._event_store = EventStore(self.database)
        self._jobs = JobStore(self.database)
        self.worker = Worker(
            self.database,
            self._jobs,
            {
                "users": UserImporter(self._user_store, self._rejected),
                "events": EventImporter(self._user_store, self._event_store, self._rejected),
            },
            job_seconds=options.job_seconds,
            shuffle_seed=options.seed if options.shuffle_jobs else None,
        )
        self.inspection = Inspection(
            self.database,
            self._user_store,
            self._event_store,
            self._jobs,
            self.log,
            self.faults,
            self._rejected,
        )

    def operations(self) -> list[Operation]:
        """Lists the operations.

        Returns:
            Them, the more specific path first where two fit.
        """
        return [
            Operation("GET", "/me", _who_am_i(self._options.role), Permission.ANY_KEY),
            *self._job_operations("users"),
            *self._job_operations("events"),
            *self._single_operations(),
            *self._webhook_operations(),
            Operation("GET", "/sandbox/events", self.inspection.events, None),
            Operation("GET", "/sandbox/requests", self.inspection.requests, None),
            Operation("GET", "/sandbox/stats", self.inspection.stats, None),
            Operation("POST", "/sandbox/reset", self.inspection.reset, None),
        ]

    def _job_operations(self, kind: Kind) -> list[Operation]:
        calls = JobCalls(
            kind,
            self._jobs,
            self.worker,
            job_seconds=self._options.job_seconds,
            page_size=self._options.page_size,
        )
        path = f"/v2/{kind}/batch"
        create, write, read = self.keys.guard(calls.create), Permission.WRITE, Permission.READ
        return [
            Operation("POST", path, create, write, keyed=True),
            Operation("GET", f"{path}/{{job_id}}", calls.status, read),
            Operation("GET", f"{path}/{{job_id}}/imports", calls.imports, read),
            Operation("GET", f"{path}/{{job_id}}/errors", calls.errors, read),
        ]

    def _single_operations(self) -> list[Operation]:
        users = UserCalls(self.database, self._user_store, self._rejected, self._options.page_size)
        events = EventCalls(self._user_store, self._event_store, self._rejected)
        write, read, delete = Permission.WRITE, Permission.READ, Permission.DELETE_USERS
        create_user, create_event = self.keys.guard(users.create), self.keys.guard(events.create)
        return [
            Operation("POST", "/v2/events", create_event, write, keyed=True),
            Operation("POST", "/v2/users", create_user, write, keyed=True),
            Operation("GET", "/v2/users", users.list, read),
            Operation("DELETE", "/v2/users", users.delete_by_uid, delete),
            Operation("POST", "/v2/users/{id}", users.update, write),
            Operation("GET", "/v2/users/{id}", users.get, read),
            Operation("DELETE", "/v2/users/{id}", users.delete, delete),
        ]

    def _webhook_operations(self) -> list[Operation]:
        calls, read = WebhookCalls(self.database), Permission.READ
        path = "/webhooks/v1/endpoints"
        return [
            Operation("POST", path, calls.create, read),
            Operation("POST", f"{path}/{{id}}", calls.update, read),
            Operation("DELETE", f"{path}/{{id}}", calls.delete, read),
            # Fullstory's pages spell this path in both ways.
            Operation("GET", "/webhooks/v1/event_types", calls.event_types, read),
            Operation("GET", "/webhooks/v1/event-types", calls.event_types, read),
        ]


def _who_am_i(role: Role) -> Handler:
    def handle(call: Call) -> Answer:  # noqa: ARG001 (nothing to ask for)
        return ok({"email": "sandbox@example.com", "orgId": "SANDBOX", "role": role})

    return handle
