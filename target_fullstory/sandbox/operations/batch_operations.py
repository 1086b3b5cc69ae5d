"""The operations on batch jobs: the same for users and events, but for what an item looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.sandbox.http.sandbox_rate_limit import check_batches
from target_fullstory.sandbox.operations.handler_types import Answer, Call, ok, still_processing
from target_fullstory.sandbox.operations.listing_pages import page, position_of, token_for
from target_fullstory.sandbox.rules.refusals import invalid, required
from target_fullstory.sandbox.rules.sandbox_event_rules import check_context
from target_fullstory.sandbox.rules.sandbox_property_rules import schema_of
from target_fullstory.sandbox.rules.sandbox_request_shapes import EventBatch, UserBatch, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.sandbox.operations.job_worker import Worker
    from target_fullstory.sandbox.store.job_store import Job, JobItem, JobStore, Kind

MAX_BATCH_REQUESTS = 50_000

_SINGULAR: dict[Kind, str] = {"users": "user", "events": "event"}


class JobCalls:
    """Create a batch; its status, imports and errors."""

    def __init__(
        self,
        kind: Kind,
        jobs: JobStore,
        worker: Worker,
        *,
        job_seconds: float,
        page_size: int,
    ) -> None:
        self._kind = kind
        self._jobs = jobs
        self._worker = worker
        self._job_seconds = job_seconds
        self._page_size = page_size

    def create(self, call: Call) -> Callable[[], Answer]:
        """`POST /v2/users/batch` and `/v2/events/batch`: accepts a batch, to be worked on later.

        Only what is wrong with the batch as a whole is refused here: JSON that cannot be read, unknown
        fields and wrong JSON types anywhere in it, no items or too many, an unacceptable shared context.
        """
        operations = self._checked(call.body)

        def perform() -> Answer:
            check_batches(*self._jobs.in_progress(), operations, self._job_seconds)
            job = self._jobs.create(self._kind, call.body, operations)
            self._worker.notice()
            return ok({"job": _shaped(job)})

        return perform

    def _checked(self, body: bytes) -> int:
        requests: list[Any]
        if self._kind == "users":
            requests = decode(body, UserBatch).requests
        else:
            batch = decode(body, EventBatch)
            requests = batch.requests
            if batch.shared is not None and batch.shared.context is not None:
                check_context(batch.shared.context)
        if not requests:
            raise required("requests")
        if len(requests) > MAX_BATCH_REQUESTS:
            raise invalid(
                "too_many_batch_requests", f"A batch has at most {MAX_BATCH_REQUESTS} requests"
            )
        return len(requests)

    def _job(self, call: Call) -> Job:
        return self._jobs.get(self._kind, call.params["job_id"])

    def status(self, call: Call) -> Answer:
        """`GET /v2/…/batch/{job_id}`."""
        job = self._job(call)
        finished = job.status != "PROCESSING"
        imports = job.operations - job.errors if finished else 0
        errors = job.errors if finished else 0
        return ok({"imports": imports, "errors": errors, "job": _shaped(job)})

    def imports(self, call: Call) -> Answer:
        """`GET /v2/…/batch/{job_id}/imports`."""
        schema = bool(call.flag("include_schema"))
        return self._items(call, failed=False, shape=lambda item: self._imported(item, schema))

    def errors(self, call: Call) -> Answer:
        """`GET /v2/…/batch/{job_id}/errors`."""
        singular = _SINGULAR[self._kind]

        def shape(item: JobItem) -> dict[str, Any]:
            request = msgspec.Raw(item.request)
            return {"message": item.message, "code": item.code, singular: request}

        return self._items(call, failed=True, shape=shape)

    def _items(
        self, call: Call, *, failed: bool, shape: Callable[[JobItem], dict[str, Any]]
    ) -> Answer:
        job = self._job(call)
        if job.status == "PROCESSING":
            return still_processing()
        listing = f"{'errors' if failed else 'imports'} {job.id}"
        after = position_of(call.query.get("page_token"), listing)
        # One more than fits, to know whether another page follows.
        items = self._jobs.items(job, failed=failed, after=after, limit=self._page_size + 1)
        shown = items[: self._page_size]
        token = token_for(listing, shown[-1].position) if len(items) > len(shown) else None
        total = job.errors if failed else job.operations - job.errors
        return ok(page([shape(item) for item in shown], total, token))

    def _imported(self, item: JobItem, schema: bool) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.json.decode(item.request)
        declared = (fields.pop("schema", None) or {}).get("properties") or {}
        if schema:
            fields["schema"] = {"properties": schema_of(fields.get("properties") or {}, declared)}
        if self._kind == "users":
            return {**fields, "id": str(item.user_id)}
        session = fields.get("session")
        if session:
            session.pop("use_most_recent", None)
        return fields


def _shaped(job: Job) -> dict[str, Any]:
    fields = {"id": job.id, "status": job.status, "created": job.created}
    if job.finished is not None:
        fields["finished"] = job.finished
    return fields
