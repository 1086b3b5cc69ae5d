"""Which kinds the role of an API key may send."""

from __future__ import annotations

from functools import cached_property

from target_fullstory.api.key_account import KeyAccount
from target_fullstory.errors import ConfigurationError
from target_fullstory.kinds import KINDS
from target_fullstory.logs import logger
from target_fullstory.mapping import spec_for
from target_fullstory.settings.model import Settings

JOB_READERS = frozenset({"ADMIN", "ARCHITECT"})  # the roles that may read the status of batch jobs
_KNOWN = frozenset().union(*(rules.roles for rules in KINDS.values()), {"VIEW_ONLY"})
_NAMES = {"USER": "Standard", "ADMIN": "Admin", "ARCHITECT": "Architect"}
_BEYOND_WRITING = frozenset({"user_deletions", "webhook_endpoints"})


def allows(role: str, kind: str) -> bool | None:
    """Whether a role may send a kind; None where the role is unknown, or for `request` the call decides."""
    if role not in _KNOWN:
        return None
    if role not in KINDS[kind].roles:
        return False
    return None if kind == "request" else True


def may_read_jobs(role: str) -> bool | None:
    """Whether a role may read the status of batch jobs; None where the role is unknown."""
    return role in JOB_READERS if role in _KNOWN else None


def role_names(roles: frozenset[str]) -> str:
    """Roles as Fullstory's settings page names them, the least first."""
    return " or ".join(name for role, name in _NAMES.items() if role in roles)


class RoleCheck:
    """Checks that the key's role allows the mapped kinds, before anything is sent.

    Waits for the answer only where a mapped kind needs more than a Standard key. Used by the reading thread
    alone.
    """

    def __init__(self, settings: Settings, account: KeyAccount) -> None:
        self._settings = settings
        self._account = account
        self._checked_streams = False

    def require(self, stream: str, kind: str) -> None:
        """Raise a ConfigurationError where the key's role surely does not allow a stream of this kind.

        With the first stream, check all that the setting `streams` maps: later, some would be sent already.
        """
        streams = [(stream, kind)]
        if not self._checked_streams:
            self._checked_streams = True
            streams = [(name, spec.kind) for name, spec in self._settings.streams.items()] + streams
        for name, mapped in streams:
            sent = "user_deletions" if mapped == "users" and self._deletes(name) else mapped
            if sent in _BEYOND_WRITING and self._role and allows(self._role, sent) is False:
                needed = role_names(KINDS[sent].roles)
                raise ConfigurationError(
                    f"Stream {name!r} maps to {sent}, which takes a key of the role {needed}; the role of "
                    f"this key is {self._role}. Set api_key to such a key, or take the stream out."
                )

    def _deletes(self, stream: str) -> bool:
        """Whether records of a stream of users may become deletions, or the lack of one."""
        spec = spec_for(stream, self._settings.streams)
        return self._settings.hard_delete or (spec is not None and spec.vanished == "delete")

    @cached_property
    def _role(self) -> str | None:
        """The key's role; None where it is not known."""
        account = self._account.get()
        if account is None:
            # If more than GET /me fails, the run's own requests will show it.
            logger.warning("The key's role is not known, so the run goes on: %s", self._account.error)
            return None
        return account.role
