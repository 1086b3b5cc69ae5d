"""Idempotency keys: the first final answer to a key is kept for a day and given again."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from target_fullstory.sandbox.operations.handler_types import (
    Answer,
    Call,
    Handler,
    Planner,
    refusal,
)
from target_fullstory.sandbox.rules.refusals import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_fullstory.sandbox.store.database import Database

KEPT_SECONDS = 24 * 3600


class IdempotencyKeys:
    """The keys seen, and those whose first request still runs."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._running: set[str] = set()

    def guard(self, plan: Planner) -> Handler:
        """Makes an operation idempotent.

        Its effects and the kept answer are stored in one transaction: neither exists without the other.

        Args:
            plan: The operation.

        Returns:
            The operation, heeding the `Idempotency-Key` of a call that has one.
        """

        def handle(call: Call) -> Answer:
            key = call.idempotency_key
            if not key:
                perform = plan(call)
                with self._database.transaction():
                    return perform()
            with self._run(key):
                fingerprint = _fingerprint(call)
                kept = self._kept(key, fingerprint)
                if kept is not None:
                    return kept
                return self._carry_out(plan, call, key, fingerprint)

        return handle

    def _carry_out(self, plan: Planner, call: Call, key: str, fingerprint: bytes) -> Answer:
        try:
            perform = plan(call)
            with self._database.transaction():
                answer = perform()
                self._keep(key, fingerprint, answer)
        except ApiError as error:
            answer = refusal(error)
            self._keep(key, fingerprint, answer)
        return answer

    @contextmanager
    def _run(self, key: str) -> Iterator[None]:
        with self._lock:
            if key in self._running:
                raise ApiError(
                    409, "idempotency_conflict", "A request with this Idempotency-Key still runs"
                )
            self._running.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(key)

    def _kept(self, key: str, fingerprint: bytes) -> Answer | None:
        row = self._database.one(
            "SELECT fingerprint, status, body FROM idempotency WHERE key = ? AND kept > ?",
            (key, self._clock() - KEPT_SECONDS),
        )
        if row is None:
            return None
        if row[0] != fingerprint:
            raise invalid(
                "idempotency_key_reused", "The Idempotency-Key was used for a different request"
            )
        return Answer(row[1], row[2], replayed=True)

    def _keep(self, key: str, fingerprint: bytes, answer: Answer) -> None:
        if answer.status == 429 or answer.status > 500:
            return
        self._database.write(
            "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?)",
            (key, fingerprint, self._clock(), answer.status, answer.body),
        )


def _fingerprint(call: Call) -> bytes:
    digest = hashlib.sha256(f"{call.method} {call.path}\n".encode())
    digest.update(call.body)
    return digest.digest()
