"""The calls on batch jobs: the same for users and events, but for what an item looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, ok
from target_fullstory.sandbox.operations.job_worker import JobWorker
from target_fullstory.sandbox.rules.refusals import invalid, not_found, required, too_many_requests
from target_fullstory.sandbox.rules.sandbox_property_rules import schema_of
from target_fullstory.sandbox.rules.sandbox_request_rules import check_context
from target_fullstory.sandbox.rules.sandbox_request_shapes import EventBatch, UserBatch, decode
from target_fullstory.sandbox.sandbox_options import SandboxOptions
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Job, JobItem, JobStore, Kind

_SHAPES: dict[Kind, type[UserBatch | EventBatch]] = {"users": UserBatch, "events": EventBatch}

MAX_BATCH_REQUESTS = 50_000
MAX_JOBS_IN_PROGRESS = 200
MAX_OPERATIONS_IN_PROGRESS = 500_000


class BatchOperations:
    """Create a batch job; get its status, imports and errors."""

    def __init__(self, kind: Kind, database: Database, worker: JobWorker, options: SandboxOptions) -> None:
        self._kind = kind
        self._jobs = JobStore(database)
        self._worker = worker
        self._job_seconds = options.job_seconds
        self._page_size = options.page_size

    def create(self, call: Call) -> Callable[[], ApiResponse]:
        """`POST /v2/…/batch`: accepts a batch, to be processed later.

        Refused at once is only what is wrong with the batch as a whole: JSON that cannot be read, unknown
        fields and wrong JSON types anywhere in it, no items or too many, an unacceptable shared context.
        """
        batch: UserBatch | EventBatch = decode(call.body, _SHAPES[self._kind])
        if isinstance(batch, EventBatch) and batch.shared is not None and batch.shared.context:
            check_context(batch.shared.context)
        operations = len(batch.requests)
        if not operations:
            raise required("requests")
        if operations > MAX_BATCH_REQUESTS:
            raise invalid("too_many_batch_requests", f"A batch has at most {MAX_BATCH_REQUESTS} requests")

        def perform() -> ApiResponse:
            self._check_room(operations)
            job = self._jobs.create(self._kind, call.body, operations)
            self._worker.wake()
            return ok({"job": _job_json(job)})

        return perform

    def _check_room(self, new: int) -> None:
        jobs, operations = self._jobs.in_progress()
        if jobs >= MAX_JOBS_IN_PROGRESS:
            full = f"{MAX_JOBS_IN_PROGRESS} batches"
        elif operations + new > MAX_OPERATIONS_IN_PROGRESS:
            full = f"{MAX_OPERATIONS_IN_PROGRESS} operations"
        else:
            return
        raise too_many_requests(f"{full} are in progress: wait for some to finish", self._job_seconds)

    def _job(self, call: Call) -> Job:
        job = self._jobs.get(self._kind, call.params["job_id"])
        if job is None:
            raise not_found()
        return job

    def status(self, call: Call) -> ApiResponse:
        """`GET /v2/…/batch/{job_id}`."""
        job = self._job(call)
        imports, errors = job.operations - job.errors, job.errors
        if job.status == "PROCESSING":
            imports = errors = 0
        return ok({"imports": imports, "errors": errors, "job": _job_json(job)})

    def imports(self, call: Call) -> ApiResponse:
        """`GET /v2/…/batch/{job_id}/imports`."""
        schema = bool(call.flag("include_schema"))
        return self._items(call, failed=False, to_json=lambda item: self._imported(item, schema))

    def errors(self, call: Call) -> ApiResponse:
        """`GET /v2/…/batch/{job_id}/errors`."""
        singular = self._kind.removesuffix("s")

        def to_json(item: JobItem) -> dict[str, Any]:
            return {"message": item.message, "code": item.code, singular: msgspec.Raw(item.request)}

        return self._items(call, failed=True, to_json=to_json)

    def _items(
        self, call: Call, *, failed: bool, to_json: Callable[[JobItem], dict[str, Any]]
    ) -> ApiResponse:
        job = self._job(call)
        if job.status == "PROCESSING":
            return ApiResponse(202, b"{}")
        total = job.errors if failed else job.operations - job.errors
        items, _, next_page = call.read_page(
            f"{'errors' if failed else 'imports'} {job.id}",
            self._page_size,
            lambda after, limit: (self._jobs.items(job, failed, after, limit), total),
            lambda item: item.position,
        )
        return ok({"results": [to_json(item) for item in items], "total_records": str(total), **next_page})

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


def _job_json(job: Job) -> dict[str, Any]:
    fields = {"id": job.id, "status": job.status, "created": job.created}
    if job.finished is not None:
        fields["finished"] = job.finished
    return fields
