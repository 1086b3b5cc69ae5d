"""The operations on single users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_fullstory.sandbox.operations.handler_types import Answer, Call, ok
from target_fullstory.sandbox.operations.listing_pages import page, position_of, token_for
from target_fullstory.sandbox.rules.refusals import required
from target_fullstory.sandbox.rules.sandbox_property_rules import schema_of
from target_fullstory.sandbox.rules.sandbox_request_shapes import UserRequest, decode
from target_fullstory.sandbox.rules.sandbox_user_rules import check_user
from target_fullstory.sandbox.store.user_store import User, UserChanges, UserStore, number_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.sandbox.store.database import Database
    from target_fullstory.sandbox.store.tally import Tally

_FILTERS = ("uid", "email", "display_name")


class UserCalls:
    """Create, update, get, list and delete."""

    def __init__(
        self, database: Database, users: UserStore, rejected: Tally, page_size: int
    ) -> None:
        self._database = database
        self._users = users
        self._rejected = rejected
        self._page_size = page_size

    def create(self, call: Call) -> Callable[[], Answer]:
        """`POST /v2/users`: creates a user, or updates the one with that uid."""
        request = self._checked(call)
        return lambda: self._apply(request, None)

    def update(self, call: Call) -> Answer:
        """`POST /v2/users/{id}`: updates a user."""
        return self._apply(self._checked(call), call.params["id"])

    def _checked(self, call: Call) -> UserRequest:
        request = decode(call.body, UserRequest)
        self._rejected.add("properties", check_user(request))
        return request

    def _apply(self, request: UserRequest, user_id: str | None) -> Answer:
        number = number_of(user_id)
        with self._database.transaction():
            changes = UserChanges(
                self._users,
                [request.uid] if request.uid else [],
                [] if number is None else [number],
            )
            user = changes.apply(request, user_id)
            changes.save()
        return ok({"id": str(user.id)})

    def get(self, call: Call) -> Answer:
        """`GET /v2/users/{id}`."""
        return ok(
            shaped(self._users.get(call.params["id"]), schema=bool(call.flag("include_schema")))
        )

    def list(self, call: Call) -> Answer:
        """`GET /v2/users`: the users that fit all filters given."""
        filters = {name: call.query[name] for name in _FILTERS if call.query.get(name)}
        identified = call.flag("is_identified")
        schema = bool(call.flag("include_schema"))
        listing = f"users {sorted(filters.items())} {identified}"
        after = position_of(call.query.get("page_token"), listing)
        # One more than fits, to know whether another page follows.
        users, total = self._users.search(filters, identified, after, self._page_size + 1)
        shown = users[: self._page_size]
        token = token_for(listing, shown[-1].id) if len(users) > len(shown) else None
        return ok(page([shaped(user, schema=schema) for user in shown], total, token))

    def delete(self, call: Call) -> Answer:
        """`DELETE /v2/users/{id}`: the user and its events."""
        self._users.delete(user_id=call.params["id"])
        return ok({})

    def delete_by_uid(self, call: Call) -> Answer:
        """`DELETE /v2/users?uid=`: the user and its events."""
        uid = call.query.get("uid")
        if not uid:
            raise required("uid")
        self._users.delete(uid=uid)
        return ok({})


def shaped(user: User, *, schema: bool) -> dict[str, Any]:
    """Puts a user in the API's shape.

    Args:
        user: The user.
        schema: Whether the types of its properties are wanted.

    Returns:
        The user.
    """
    fields: dict[str, Any] = {
        "id": str(user.id),
        "uid": user.uid,
        "display_name": user.display_name,
        "email": user.email,
    }
    answer = {name: value for name, value in fields.items() if value is not None}
    answer["is_being_deleted"] = False
    answer["properties"] = user.properties
    if schema:
        answer["schema"] = {"properties": schema_of(user.properties, user.declared)}
    answer["app_url"] = f"https://app.fullstory.com/ui/sandbox/people/{user.id}"
    return answer
