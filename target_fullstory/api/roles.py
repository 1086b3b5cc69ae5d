"""Who the API key belongs to, and which kinds its role may send."""

from __future__ import annotations

import msgspec

from target_fullstory.api.client import Client
from target_fullstory.errors import ConfigurationError, TargetFullstoryError
from target_fullstory.kinds import KINDS
from target_fullstory.logs import logger
from target_fullstory.settings.model import Settings

ROLES: dict[str, frozenset[str]] = {kind: rules.roles for kind, rules in KINDS.items()}
"""The roles that may send a kind."""

JOB_READERS = frozenset({"ADMIN", "ARCHITECT"})
"""The roles that may read the status of batch jobs."""

_KNOWN = frozenset().union(*ROLES.values(), {"VIEW_ONLY"})
_NAMES = {"USER": "Standard", "ADMIN": "Admin", "ARCHITECT": "Architect"}
_BEYOND_WRITING = frozenset({"user_deletions", "webhook_endpoints"})
_PATIENCE_SECONDS = 10.0


class Account(msgspec.Struct, frozen=True):
    """What `GET /me` tells of a key.

    Attributes:
        organisation: The organisation's id; empty where it is not told.
        email: Whose key it is; empty where it is not told.
        role: `USER` (Standard), `ADMIN`, `ARCHITECT`, `VIEW_ONLY`; others tell nothing.
    """

    organisation: str
    email: str
    role: str


def allows(role: str, kind: str) -> bool | None:
    """Whether a role may send a kind.

    Args:
        role: The role as Fullstory names it.
        kind: The kind.

    Returns:
        None where the role, or for `request` the call, does not let us know.
    """
    if role not in _KNOWN:
        return None
    if role not in ROLES[kind]:
        return False
    return None if kind == "request" else True


def may_read_jobs(role: str) -> bool | None:
    """Whether a role may read the status of batch jobs; None where the role does not let us know."""
    return role in JOB_READERS if role in _KNOWN else None


def roles_named(roles: frozenset[str]) -> str:
    """Roles as Fullstory's settings page names them, the least first."""
    return " or ".join(name for role, name in _NAMES.items() if role in roles)


def who_am_i(client: Client) -> Account:
    """Ask whose key it is.

    Args:
        client: Calls the API.

    Raises:
        TargetFullstoryError: Fullstory does not answer, or not intelligibly.
    """
    answer = client.call("GET", "/me")
    role = answer.data.get("role")
    if not answer.ok or not isinstance(role, str):
        reason = answer.code if not answer.ok else "no role"
        raise ConfigurationError(
            f"GET /me was answered with {answer.status} ({reason}), so the key's role is not known. Check "
            "the setting api_url."
        )
    return Account(str(answer.data.get("orgId") or ""), str(answer.data.get("email") or ""), role)


class RoleCheck:
    """Finds before anything is sent that the key's role does not allow a mapped kind.

    Asks once, and only where a mapped kind takes more than a Standard key. Used by the reading thread alone.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        """Ask nothing yet.

        Args:
            settings: The key, and time limits.
            url: The API's base address.
        """
        self._settings = msgspec.structs.replace(
            settings,
            retry_max_seconds=min(settings.retry_max_seconds, _PATIENCE_SECONDS),
            request_timeout_seconds=min(settings.request_timeout_seconds, _PATIENCE_SECONDS),
        )
        self._url = url
        self._begun = False
        self._asked = False
        self._role: str | None = None

    def require(self, stream: str, kind: str) -> None:
        """Make sure that nothing speaks against a stream, before any of it is sent.

        The first stream's turn is that of all that the setting `streams` maps: later it would be too late.

        Args:
            stream: The stream.
            kind: What its records become; with `hard_delete` a user may become a deletion.

        Raises:
            ConfigurationError: The key's role surely does not allow it.
        """
        if not self._begun:
            self._begun = True
            for name, spec in self._settings.streams.items():
                self._require(name, spec.kind)
        self._require(stream, kind)

    def _require(self, name: str, kind: str) -> None:
        """The same for one stream, or for a pattern of streams' names."""
        if kind == "users" and self._settings.hard_delete:
            kind = "user_deletions"
        if kind not in _BEYOND_WRITING:
            return
        if not self._asked:
            self._asked = True
            self._role = self._ask()
        if self._role is not None and allows(self._role, kind) is False:
            raise ConfigurationError(
                f"Stream {name!r} maps to {kind}, which takes a key of the role "
                f"{roles_named(ROLES[kind])}; the role of this key is {self._role}. Set api_key to such a "
                "key, or take the stream out."
            )

    def _ask(self) -> str | None:
        client = Client(self._settings, self._url)
        try:
            return who_am_i(client).role
        except TargetFullstoryError as error:
            # Whatever is wrong, what the run sends will show it; it may as well be GET /me alone.
            logger.warning("The key's role is not known, so the run goes on: %s", error)
            return None
        finally:
            client.close()
