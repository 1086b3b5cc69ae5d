"""What a request makes of the stored users: creates one, updates one, or merges two."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from target_fullstory.sandbox.rules.refusals import invalid, user_not_found
from target_fullstory.sandbox.rules.sandbox_property_rules import MAX_USER_PROPERTIES, merge
from target_fullstory.sandbox.rules.sandbox_request_shapes import UserRequest
from target_fullstory.sandbox.store.user_store import User, UserStore


def id_number(text: str | None) -> int | None:
    """The number in a Fullstory id given by a client; None where no user can have it."""
    if text is None or len(text) > 18 or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def known_identities(identities: Iterable[tuple[str | None, str | None]]) -> tuple[set[int], set[str]]:
    """Collect the Fullstory ids and the uids of pairs of which either or both may be missing."""
    pairs = [(id_number(user_id), uid) for user_id, uid in identities]
    ids = {number for number, _ in pairs if number is not None}
    return ids, {uid for _, uid in pairs if uid}


class UserUpdates:
    """The users that some requests are about: loaded once, changed in memory, saved once.

    To be made and saved within one transaction.
    """

    def __init__(self, store: UserStore, identities: Iterable[tuple[str | None, str | None]]) -> None:
        """Load the users with these ids or uids, as the requests give them."""
        self._store = store
        self._by_id = store.find(*known_identities(identities))
        self._by_uid = {user.uid: user for user in self._by_id.values() if user.uid is not None}
        self._next_id = store.next_id()
        self._changed: dict[int, User] = {}
        self._merged: list[tuple[int, User]] = []

    def apply(self, request: UserRequest, user_id: str | None) -> User:
        """Create or update a user, and return it; `user_id` is the Fullstory id that the request names."""
        uid = request.uid or None
        named = self._named(user_id, uid) if user_id else None
        owner = self._by_uid.get(uid) if uid else None
        user = owner or named
        absorbed = named if named is not user else None
        properties = request.properties or {}
        if user is not None:
            properties = merge(user.properties, properties)
        if absorbed is not None:
            properties = merge(absorbed.properties, properties)
        if len(properties) > MAX_USER_PROPERTIES:
            raise invalid("too_many_properties", f"A user has at most {MAX_USER_PROPERTIES} properties")
        if user is None:
            user = User(self._next_id, None, None, None, {}, {})
            self._next_id += 1
            self._by_id[user.id] = user
        if absorbed is not None:
            self._absorb(absorbed, user)
        self._update(user, request, uid, properties)
        return user

    def _named(self, user_id: str, uid: str | None) -> User:
        user = self._by_id.get(id_number(user_id) or 0)
        if user is None:
            raise user_not_found()
        if uid is not None and user.uid is not None and user.uid != uid:
            raise invalid("uid_immutable", "The user has a uid, and a uid cannot be changed")
        return user

    def _absorb(self, absorbed: User, into: User) -> None:
        into.display_name = into.display_name or absorbed.display_name
        into.email = into.email or absorbed.email
        into.declared = {**absorbed.declared, **into.declared}
        self._by_id.pop(absorbed.id)
        self._changed.pop(absorbed.id, None)
        self._merged.append((absorbed.id, into))

    def _update(self, user: User, request: UserRequest, uid: str | None, properties: dict[str, Any]) -> None:
        user.properties = properties
        if uid is not None:
            user.uid = uid
            self._by_uid[uid] = user
        user.display_name = request.display_name or user.display_name
        user.email = request.email or user.email
        if request.schema is not None and request.schema.properties:
            user.declared = {**user.declared, **request.schema.properties}
        self._changed[user.id] = user

    def save(self) -> None:
        """Store the changes."""
        self._store.save(self._changed.values(), self._merged)
