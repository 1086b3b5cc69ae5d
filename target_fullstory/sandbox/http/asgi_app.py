"""The ASGI application: what a request goes through before and after its operation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from target_fullstory.sandbox.http.access_and_rate import Access, RateLimit
from target_fullstory.sandbox.http.api_routes import Operation, SandboxApi
from target_fullstory.sandbox.http.fault_injection import (
    ConnectionReset,
    Fault,
    FaultPlan,
    TruncatedResponse,
    response_instead,
    server_error,
)
from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, refusal
from target_fullstory.sandbox.rules.refusals import ApiError, not_found
from target_fullstory.sandbox.sandbox_options import SandboxOptions
from target_fullstory.sandbox.store.database import utc_now

_PREFIX = "/v2/"
_OLDER_PREFIX = "/v2beta/"


def build_app(options: SandboxOptions) -> Starlette:
    """Build the application; its `state.inspection` counts what is stored."""
    api = SandboxApi(options)
    gateway = _Gateway(api, options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        api.worker.start()
        yield
        await run_in_threadpool(api.worker.stop)
        api.database.close()

    app = Starlette(
        routes=[route for operation in api.operations() for route in gateway.routes(operation)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _refuse_route, Exception: _report_bug},
    )
    app.state.inspection = api.inspection
    return app


async def _refuse_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        refused = ApiError(405, "method_not_allowed", "The resource has no such method")
        response = _response(refusal(refused))
        response.headers.update(error.headers or {})
        return response
    return _response(refusal(not_found()))


async def _report_bug(_: Request, error: Exception) -> Response:
    return _response(refusal(ApiError(500, "server_error", f"A defect of the sandbox: {error!r}")))


def _response(response: ApiResponse) -> Response:
    headers = {"Content-Type": "application/json", **dict(response.headers)}
    return Response(response.body, response.status, headers)


class _Gateway:
    """Checks, faults and the log, around the operation of each request."""

    def __init__(self, api: SandboxApi, options: SandboxOptions) -> None:
        self._log = api.log
        self._access = Access(options.api_key, options.role)
        self._rate = RateLimit(options.rate_limit)
        self._faults = FaultPlan(options.fail_rate, options.seed)
        self._max_body_bytes = options.max_body_bytes
        self._keep_500 = api.kept_responses.guard(lambda _: server_error)

    def routes(self, operation: Operation) -> list[Route]:
        """The routes of an operation, one per version of the API that has it."""
        endpoint = partial(self._serve, operation)
        paths = [operation.path]
        if operation.path.startswith(_PREFIX):
            paths.append(operation.path.replace(_PREFIX, _OLDER_PREFIX, 1))
        return [Route(path, endpoint, methods=[operation.method]) for path in paths]

    async def _serve(self, operation: Operation, request: Request) -> Response:
        fault: Fault | None = None
        size = 0
        try:
            # Read first: a client that is still sending would not see an early response.
            body, size = await self._read(request)
            path = request.url.path
            if path.startswith(_OLDER_PREFIX):
                path = path.replace(_OLDER_PREFIX, _PREFIX, 1)
            key = request.headers.get("idempotency-key")
            call = Call(request.method, path, request.path_params, request.query_params, body, key)
            if operation.permission is not None:
                self._access.check(request.headers.get("authorization"), operation.permission)
                self._rate.take()
            self._check_size(size)
            if operation.path.startswith(_PREFIX):
                fault = self._faults.draw(keyed=operation.keyed and bool(key))
            response = await self._carry_out(operation, call, fault)
        except ApiError as error:
            response = refusal(error)
        except ClientDisconnect:
            return Response()
        reset = fault in {Fault.RESET_BEFORE, Fault.RESET_AFTER}
        if operation.permission is not None:
            status = None if reset else response.status
            self._log.add(_log_entry(request, size, status, response.replayed, fault))
        if reset:
            return ConnectionReset()
        if fault is Fault.TRUNCATED:
            return TruncatedResponse(response.body, response.status, {"Content-Type": "application/json"})
        return _response(response)

    async def _read(self, request: Request) -> tuple[bytes, int]:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self._max_body_bytes:
                chunks.append(chunk)
        return b"".join(chunks), size

    def _check_size(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise ApiError(413, "request_too_large", f"The body exceeds {self._max_body_bytes} bytes")

    async def _carry_out(self, operation: Operation, call: Call, fault: Fault | None) -> ApiResponse:
        handler = operation.handler
        if fault is not None:
            instead = await response_instead(fault)
            if instead is not None:
                return instead
            if fault is Fault.ERROR_500_KEPT:
                handler = self._keep_500
        return await run_in_threadpool(handler, call)


def _log_entry(
    request: Request, size: int, status: int | None, replayed: bool, fault: Fault | None
) -> dict[str, Any]:
    return {
        "at": utc_now(),
        "method": request.method,
        "path": request.url.path,
        "query": request.url.query,
        "status": status,
        "bytes": size,
        "idempotency_key": request.headers.get("idempotency-key"),
        "replayed": replayed,
        "integration_source": request.headers.get("integration-source"),
        "user_agent": request.headers.get("user-agent"),
        "content_type": request.headers.get("content-type"),
        "fault": None if fault is None else fault.value,
    }
