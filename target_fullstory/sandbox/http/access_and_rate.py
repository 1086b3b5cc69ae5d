"""Who may do what, and how often: API keys, their roles, and the limit on requests per second."""

from __future__ import annotations

import base64
import hmac
import threading
import time
from collections.abc import Callable
from enum import Enum

from target_fullstory.sandbox.rules.refusals import ApiError, too_many_requests
from target_fullstory.sandbox.sandbox_options import Role


class Permission(Enum):
    """What an operation needs."""

    ANY_KEY = "any key"
    WRITE = "write"
    READ = "read"
    DELETE_USERS = "delete users"


_EVERYTHING = frozenset(Permission)
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "ARCHITECT": _EVERYTHING,
    "ADMIN": _EVERYTHING - {Permission.DELETE_USERS},
    "USER": frozenset({Permission.ANY_KEY, Permission.WRITE}),
    "VIEW_ONLY": frozenset({Permission.ANY_KEY}),
}


class Access:
    """The key that is accepted, or any, and its role."""

    def __init__(self, api_key: str | None, role: Role) -> None:
        self._role = role
        self._accepted: tuple[bytes, ...] | None = None
        if api_key is not None:
            raw = api_key.encode()
            # Some clients send the key as Basic credentials with an empty password.
            self._accepted = (raw, base64.b64encode(raw + b":"))

    def check(self, authorization: str | None, permission: Permission) -> None:
        """Raise an ApiError where the header has no valid key, or the key's role lacks the permission."""
        scheme, _, text = (authorization or "").partition(" ")
        key = text.strip().encode()
        accepted = self._accepted is None or any(hmac.compare_digest(key, one) for one in self._accepted)
        if scheme.lower() != "basic" or not key or not accepted:
            raise ApiError(401, "unauthorized", "Access is unauthorized: no valid API key")
        if permission not in PERMISSIONS[self._role]:
            raise ApiError(403, "forbidden", f"A key of role {self._role} has insufficient permissions")


class RateLimit:
    """Requests per second, with a burst of one second's worth; None for no limit."""

    def __init__(self, per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second or 0.0)
        self._left = self._burst
        self._clock = clock
        self._last = clock()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Count a request; raise an ApiError where it is one too many."""
        if self._per_second is None:
            return
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._last) * self._per_second)
            self._last = now
            if self._left < 1:
                wait = (1 - self._left) / self._per_second
                raise too_many_requests("Too many requests per second", wait)
            self._left -= 1
