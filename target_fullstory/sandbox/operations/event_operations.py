"""The operation on a single event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_fullstory.sandbox.operations.handler_types import Answer, Call, ok
from target_fullstory.sandbox.rules.sandbox_event_rules import check_event
from target_fullstory.sandbox.rules.sandbox_request_shapes import EventRequest, decode
from target_fullstory.sandbox.store.event_store import EventRow, EventStore, Owners

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.sandbox.store.tally import Tally
    from target_fullstory.sandbox.store.user_store import UserStore


class EventCalls:
    """Create."""

    def __init__(self, users: UserStore, events: EventStore, rejected: Tally) -> None:
        self._users = users
        self._events = events
        self._rejected = rejected

    def create(self, call: Call) -> Callable[[], Answer]:
        """`POST /v2/events`: stores an event."""
        event = decode(call.body, EventRequest)
        self._rejected.add("properties", check_event(event))

        def perform() -> Answer:
            user_id, uid = Owners(self._users, [event]).of(event)
            self._events.add([EventRow(user_id, uid, event)])
            return ok({})

        return perform
