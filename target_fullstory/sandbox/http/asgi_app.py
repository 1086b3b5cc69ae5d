"""The ASGI application: the way of a request from the socket to its operation and back."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from target_fullstory.sandbox.http.api_key_access import Access
from target_fullstory.sandbox.http.api_routes import Api, Operation
from target_fullstory.sandbox.http.fault_injection import (
    ConnectionReset,
    Fault,
    FaultPlan,
    TruncatedResponse,
    answer_instead,
    server_error,
    slowly,
)
from target_fullstory.sandbox.http.sandbox_rate_limit import RateLimit
from target_fullstory.sandbox.operations.handler_types import Answer, Call, Handler, refusal
from target_fullstory.sandbox.rules.refusals import ApiError, not_found
from target_fullstory.sandbox.store.database import utc_now
from target_fullstory.sandbox.store.received_requests import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from target_fullstory.sandbox.options import SandboxOptions

_PREFIX = "/v2/"
_OLDER_PREFIX = "/v2beta/"


def build_app(options: SandboxOptions) -> Starlette:
    """Makes the application.

    Args:
        options: The sandbox's settings.

    Returns:
        The application; its `state.inspection` counts what is stored.
    """
    api = Api(options)
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
        exception_handlers={HTTPException: _refuse_route, Exception: _crash},
    )
    app.state.inspection = api.inspection
    return app


async def _refuse_route(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        refused = ApiError(405, "method_not_allowed", "The resource has no such method")
        return _response(refusal(refused), dict(error.headers or {}))
    return _response(refusal(not_found()))


async def _crash(_: Request, error: Exception) -> Response:
    return _response(refusal(ApiError(500, "server_error", f"A defect of the sandbox: {error!r}")))


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    return Response(
        answer.body,
        answer.status,
        {"Content-Type": "application/json", **dict(answer.headers), **(headers or {})},
    )


class _Gateway:
    """Everything that happens to a request around its operation."""

    def __init__(self, api: Api, options: SandboxOptions) -> None:
        self._api = api
        self._access = Access(options.api_key, options.role)
        self._rate = RateLimit(options.rate_limit)
        self._plan = FaultPlan(options.fail_rate, options.seed)
        self._max_body_bytes = options.max_body_bytes
        self._failing = api.keys.guard(_failing_plan)

    def routes(self, operation: Operation) -> list[Route]:
        """Makes the routes of an operation, one per version of the API that has it.

        Args:
            operation: The operation.

        Returns:
            Its routes.
        """
        endpoint = partial(self._serve, operation)
        paths = [operation.path]
        if operation.path.startswith(_PREFIX):
            paths.append(operation.path.replace(_PREFIX, _OLDER_PREFIX, 1))
        return [Route(path, endpoint, methods=[operation.method]) for path in paths]

    async def _serve(self, operation: Operation, request: Request) -> Response:
        fault: Fault | None = None
        size = 0
        try:
            # Read first: a client that is still sending would not see an early answer.
            body, size = await self._read(request)
            call = _call(request, body)
            if operation.permission is not None:
                self._access.check(request.headers.get("authorization"), operation.permission)
                self._rate.take()
            self._check_size(size)
            if operation.path.startswith(_PREFIX):
                fault = self._plan.draw(keyed=operation.keyed and bool(call.idempotency_key))
            answer = await self._answer(operation, call, fault)
        except ApiError as error:
            answer = refusal(error)
        except ClientDisconnect:
            return Response()
        response = _shaped(answer, fault)
        if operation.permission is not None:
            self._note(request, size, answer, response, fault)
        return response

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
            raise ApiError(
                413, "request_too_large", f"The body exceeds {self._max_body_bytes} bytes"
            )

    async def _answer(self, operation: Operation, call: Call, fault: Fault | None) -> Answer:
        handler: Handler = operation.handler
        if fault is not None:
            self._api.faults.add(fault.value)
            instead = answer_instead(fault)
            if instead is not None:
                return instead
            if fault is Fault.RESET_BEFORE:
                return Answer(0, b"")
            if fault is Fault.SLOW:
                await slowly()
            if fault is Fault.ERROR_500_KEPT:
                handler = self._failing
        return await run_in_threadpool(handler, call)

    def _note(
        self, request: Request, size: int, answer: Answer, response: Response, fault: Fault | None
    ) -> None:
        headers = request.headers
        self._api.log.add(
            Entry(
                at=utc_now(),
                method=request.method,
                path=request.url.path,
                query=request.url.query,
                status=None if isinstance(response, ConnectionReset) else answer.status,
                bytes=size,
                idempotency_key=headers.get("idempotency-key"),
                replayed=answer.replayed,
                integration_source=headers.get("integration-source"),
                user_agent=headers.get("user-agent"),
                content_type=headers.get("content-type"),
                fault=None if fault is None else fault.value,
            )
        )


def _call(request: Request, body: bytes) -> Call:
    path = request.url.path
    if path.startswith(_OLDER_PREFIX):
        path = path.replace(_OLDER_PREFIX, _PREFIX, 1)
    return Call(
        method=request.method,
        path=path,
        params=request.path_params,
        query=request.query_params,
        body=body,
        idempotency_key=request.headers.get("idempotency-key"),
    )


def _failing_plan(_: Call) -> Callable[[], Answer]:
    return lambda: refusal(server_error())


def _shaped(answer: Answer, fault: Fault | None) -> Response:
    if fault in {Fault.RESET_BEFORE, Fault.RESET_AFTER}:
        return ConnectionReset()
    if fault is Fault.TRUNCATED:
        return TruncatedResponse(answer.body, answer.status, {"Content-Type": "application/json"})
    return _response(answer)
