"""Idempotency keys: the first final response to a key is kept for a day and given again."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from target_fullstory.sandbox.operations.calls_and_responses import (
    ApiResponse,
    Call,
    Handler,
    Planner,
    refusal,
)
from target_fullstory.sandbox.rules.refusals import ApiError, invalid
from target_fullstory.sandbox.store.database import Database

KEPT_SECONDS = 24 * 3600


class KeptResponses:
    """The responses kept by idempotency key, and the keys whose first request still runs."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._running: set[str] = set()

    def guard(self, plan: Planner) -> Handler:
        """Make an operation honour the `Idempotency-Key` of a call that has one.

        Its effects and the kept response are stored in one transaction: neither exists without the other.
        """

        def handle(call: Call) -> ApiResponse:
            key = call.idempotency_key
            if not key:
                perform = plan(call)
                with self._database.transaction():
                    return perform()
            with self._run(key):
                fingerprint = hashlib.sha256(f"{call.method} {call.path}\n".encode() + call.body).digest()
                return self._kept(key, fingerprint) or self._carry_out(plan, call, key, fingerprint)

        return handle

    def _carry_out(self, plan: Planner, call: Call, key: str, fingerprint: bytes) -> ApiResponse:
        try:
            perform = plan(call)
            with self._database.transaction():
                response = perform()
                self._keep(key, fingerprint, response)
        except ApiError as error:
            response = refusal(error)
            self._keep(key, fingerprint, response)
        return response

    @contextmanager
    def _run(self, key: str) -> Iterator[None]:
        with self._lock:
            if key in self._running:
                raise ApiError(409, "idempotency_conflict", "A request with this Idempotency-Key still runs")
            self._running.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(key)

    def _kept(self, key: str, fingerprint: bytes) -> ApiResponse | None:
        row = self._database.one(
            "SELECT fingerprint, status, body FROM idempotency WHERE key = ? AND kept > ?",
            (key, self._clock() - KEPT_SECONDS),
        )
        if row is None:
            return None
        if row[0] != fingerprint:
            raise invalid("idempotency_key_reused", "The Idempotency-Key was used for a different request")
        return ApiResponse(row[1], row[2], replayed=True)

    def _keep(self, key: str, fingerprint: bytes, response: ApiResponse) -> None:
        if response.status <= 500 and response.status != 429:
            self._database.write(
                "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?)",
                (key, fingerprint, self._clock(), response.status, response.body),
            )
