"""The calls on single users, the import of a batch of users, and how they change the stored ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, ok
from target_fullstory.sandbox.rules.refusals import ApiError, invalid, required, user_not_found
from target_fullstory.sandbox.rules.sandbox_property_rules import MAX_USER_PROPERTIES, merge, schema_of
from target_fullstory.sandbox.rules.sandbox_request_rules import check_user
from target_fullstory.sandbox.rules.sandbox_request_shapes import BatchUserRequest, UserRequest, decode
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Job
from target_fullstory.sandbox.store.received_requests import RequestLog
from target_fullstory.sandbox.store.user_and_event_store import User, UserStore


class UserOperations:
    """Create, update, get, list, delete and import users."""

    def __init__(self, database: Database, log: RequestLog, page_size: int) -> None:
        self._database = database
        self._users = UserStore(database)
        self._log = log
        self._page_size = page_size
        self._decode_item = msgspec.json.Decoder(BatchUserRequest).decode

    def create(self, call: Call) -> Callable[[], ApiResponse]:
        """`POST /v2/users`: creates a user, or updates the one with that uid."""
        request = self._checked(call)
        return lambda: self._apply(request, None)

    def update(self, call: Call) -> ApiResponse:
        """`POST /v2/users/{id}`."""
        return self._apply(self._checked(call), call.params["id"])

    def _checked(self, call: Call) -> UserRequest:
        request = decode(call.body, UserRequest)
        self._log.add_dropped_properties(check_user(request))
        return request

    def _apply(self, request: UserRequest, user_id: str | None) -> ApiResponse:
        with self._database.transaction():
            updates = UserUpdates(self._users, [(user_id, request.uid)])
            user = updates.apply(request, user_id)
            updates.save()
        return ok({"id": str(user.id)})

    def import_items(
        self, _job: Job, _shared: msgspec.Raw, items: list[bytes]
    ) -> list[ApiError | int | None]:
        """Import items of a batch, in order: a later item of a user builds on the earlier one."""
        requests = [self._decode_item(item) for item in items]
        updates = UserUpdates(self._users, [(request.id, request.uid) for request in requests])
        outcomes = [self._import(updates, request) for request in requests]
        updates.save()
        return outcomes

    def _import(self, updates: UserUpdates, request: BatchUserRequest) -> ApiError | int | None:
        try:
            self._log.add_dropped_properties(check_user(request))
            return updates.apply(request, request.id).id
        except ApiError as error:
            return error

    def get(self, call: Call) -> ApiResponse:
        """`GET /v2/users/{id}`."""
        number = id_number(call.params["id"])
        user = None if number is None else self._users.find([number]).get(number)
        if user is None:
            raise user_not_found()
        return ok(_user_json(user, schema=bool(call.flag("include_schema"))))

    def list(self, call: Call) -> ApiResponse:
        """`GET /v2/users`: the users that meet all filters."""
        filters = call.filters("uid", "email", "display_name")
        identified = call.flag("is_identified")
        schema = bool(call.flag("include_schema"))
        users, total, next_page = call.read_page(
            f"users {sorted(filters.items())} {identified}",
            self._page_size,
            lambda after, limit: self._users.search(filters, identified, after, limit),
            lambda user: user.id,
        )
        results = [_user_json(user, schema=schema) for user in users]
        return ok({"results": results, "total_records": str(total), **next_page})

    def delete(self, call: Call) -> ApiResponse:
        """`DELETE /v2/users/{id}`: deletes the user and its events."""
        return self._delete("id", id_number(call.params["id"]))

    def delete_by_uid(self, call: Call) -> ApiResponse:
        """`DELETE /v2/users?uid=`: deletes the user and its events."""
        uid = call.query.get("uid")
        if not uid:
            raise required("uid")
        return self._delete("uid", uid)

    def _delete(self, column: str, value: int | str | None) -> ApiResponse:
        if not self._users.delete(column, value):
            raise user_not_found()
        return ok({})


def _user_json(user: User, *, schema: bool) -> dict[str, Any]:
    identity = {"uid": user.uid, "display_name": user.display_name, "email": user.email}
    fields: dict[str, Any] = {"id": str(user.id)}
    fields |= {name: value for name, value in identity.items() if value is not None}
    fields |= {"is_being_deleted": False, "properties": user.properties}
    if schema:
        fields["schema"] = {"properties": schema_of(user.properties, user.declared)}
    fields["app_url"] = f"https://app.fullstory.com/ui/sandbox/people/{user.id}"
    return fields


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
