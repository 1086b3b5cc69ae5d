"""The parts of one sandbox put together, and the table of its operations."""

from __future__ import annotations

from dataclasses import dataclass

from target_fullstory.sandbox.http.access_and_rate import Permission
from target_fullstory.sandbox.http.kept_responses import KeptResponses
from target_fullstory.sandbox.http.overview import overview
from target_fullstory.sandbox.operations.batch_operations import BatchOperations
from target_fullstory.sandbox.operations.calls_and_responses import Handler, ok
from target_fullstory.sandbox.operations.event_operations import EventOperations
from target_fullstory.sandbox.operations.job_worker import JobWorker
from target_fullstory.sandbox.operations.sandbox_inspection import SandboxInspection
from target_fullstory.sandbox.operations.user_operations import UserOperations
from target_fullstory.sandbox.operations.webhook_operations import WebhookOperations
from target_fullstory.sandbox.sandbox_options import SandboxOptions
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Kind
from target_fullstory.sandbox.store.received_requests import RequestLog


@dataclass(frozen=True)
class Operation:
    """One operation of the API; its path has placeholders in braces.

    The sandbox's own operations need no permission. One that is `keyed` honours an `Idempotency-Key`.
    """

    method: str
    path: str
    handler: Handler
    permission: Permission | None
    keyed: bool = False


class SandboxApi:
    """One sandbox, apart from HTTP."""

    def __init__(self, options: SandboxOptions) -> None:
        self._options = options
        self.database = Database(options.db)
        self.log = RequestLog()
        self.kept_responses = KeptResponses(self.database)
        self.inspection = SandboxInspection(self.database, self.log)
        self._users = UserOperations(self.database, self.log, options.page_size)
        self._events = EventOperations(self.database, self.log)
        self.worker = JobWorker(
            self.database, {"users": self._users.import_items, "events": self._events.import_items}, options
        )

    def operations(self) -> list[Operation]:
        """List the operations, the more specific path first where two fit."""
        users, webhooks, inspection = self._users, WebhookOperations(self.database), self.inspection
        guard, endpoints = self.kept_responses.guard, "/webhooks/v1/endpoints"
        write, read, delete = Permission.WRITE, Permission.READ, Permission.DELETE_USERS
        me = {"email": "sandbox@example.com", "orgId": "SANDBOX", "role": self._options.role}
        found = [
            Operation("GET", "/me", lambda _: ok(me), Permission.ANY_KEY),
            *self._batch_operations("users"),
            *self._batch_operations("events"),
            Operation("POST", "/v2/events", guard(self._events.create), write, keyed=True),
            Operation("POST", "/v2/users", guard(users.create), write, keyed=True),
            Operation("GET", "/v2/users", users.list, read),
            Operation("DELETE", "/v2/users", users.delete_by_uid, delete),
            Operation("POST", "/v2/users/{id}", users.update, write),
            Operation("GET", "/v2/users/{id}", users.get, read),
            Operation("DELETE", "/v2/users/{id}", users.delete, delete),
            Operation("POST", endpoints, webhooks.create, read),
            Operation("POST", f"{endpoints}/{{id}}", webhooks.update, read),
            Operation("DELETE", f"{endpoints}/{{id}}", webhooks.delete, read),
            # Fullstory's pages spell this path in both ways.
            Operation("GET", "/webhooks/v1/event_types", webhooks.event_types, read),
            Operation("GET", "/webhooks/v1/event-types", webhooks.event_types, read),
            Operation("GET", "/sandbox/events", inspection.events, None),
            Operation("GET", "/sandbox/requests", inspection.requests, None),
            Operation("GET", "/sandbox/stats", inspection.stats, None),
            Operation("POST", "/sandbox/reset", inspection.reset, None),
        ]
        offered = overview(self._options, [(one.method, one.path) for one in found])
        return [Operation("GET", "/", lambda _: ok(offered), None), *found]

    def _batch_operations(self, kind: Kind) -> list[Operation]:
        batches = BatchOperations(kind, self.database, self.worker, self._options)
        path, read = f"/v2/{kind}/batch", Permission.READ
        create = self.kept_responses.guard(batches.create)
        return [
            Operation("POST", path, create, Permission.WRITE, keyed=True),
            Operation("GET", f"{path}/{{job_id}}", batches.status, read),
            Operation("GET", f"{path}/{{job_id}}/imports", batches.imports, read),
            Operation("GET", f"{path}/{{job_id}}/errors", batches.errors, read),
        ]
