"""Who may do what: API keys and their roles."""

from __future__ import annotations

import base64
import hmac
from enum import Enum
from typing import TYPE_CHECKING

from target_fullstory.sandbox.rules.refusals import ApiError

if TYPE_CHECKING:
    from target_fullstory.sandbox.options import Role


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
    """The one key there is, or any, and its role."""

    def __init__(self, api_key: str | None, role: Role) -> None:
        self._role = role
        self._accepted: tuple[bytes, ...] | None = None
        if api_key is not None:
            raw = api_key.encode()
            # Some clients send the key as Basic credentials with an empty password.
            self._accepted = (raw, base64.b64encode(raw + b":"))

    def check(self, authorization: str | None, permission: Permission) -> None:
        """Lets a request pass, or not.

        Args:
            authorization: Its `Authorization` header.
            permission: What its operation needs.

        Raises:
            ApiError: It may not.
        """
        scheme, _, key = (authorization or "").partition(" ")
        given = key.strip().encode()
        if scheme.lower() != "basic" or not given:
            raise _unauthorized()
        if self._accepted is not None and not any(
            hmac.compare_digest(given, accepted) for accepted in self._accepted
        ):
            raise _unauthorized()
        if permission not in PERMISSIONS[self._role]:
            raise ApiError(
                403, "forbidden", f"A key of role {self._role} has insufficient permissions"
            )


def _unauthorized() -> ApiError:
    return ApiError(401, "unauthorized", "Access is unauthorized: no valid API key")
