"""Who may do what: API keys and their roles."""

from __future__ import annotations

import base64
import hmac
from enum import Enum

from target_fullstory.sandbox.rules.refusals import ApiError
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
        """Check a request's `Authorization` header against what its operation needs.

        Raises:
            ApiError: The header has no valid key, or the key's role does not allow the operation.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "basic" or not self._accepts(key.strip().encode()):
            raise ApiError(401, "unauthorized", "Access is unauthorized: no valid API key")
        if permission not in PERMISSIONS[self._role]:
            raise ApiError(403, "forbidden", f"A key of role {self._role} has insufficient permissions")

    def _accepts(self, key: bytes) -> bool:
        if not key or self._accepted is None:
            return bool(key)
        return any(hmac.compare_digest(key, accepted) for accepted in self._accepted)
