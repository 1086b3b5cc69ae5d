"""The calls on single users, and the import of a batch of users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from target_fullstory.sandbox.operations.handler_types import ApiResponse, Call, ok
from target_fullstory.sandbox.operations.listing_pages import read_page
from target_fullstory.sandbox.operations.user_updates import UserUpdates, id_number
from target_fullstory.sandbox.rules.refusals import ApiError, required, user_not_found
from target_fullstory.sandbox.rules.sandbox_property_rules import schema_of
from target_fullstory.sandbox.rules.sandbox_request_rules import check_user
from target_fullstory.sandbox.rules.sandbox_request_shapes import BatchUserRequest, UserRequest, decode
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Job
from target_fullstory.sandbox.store.received_requests import RequestLog
from target_fullstory.sandbox.store.user_store import User, UserStore


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
        users, total, next_page = read_page(
            call,
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
