"""The call that creates an event, and the import of a batch of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, ok
from target_fullstory.sandbox.operations.user_operations import id_number, known_identities
from target_fullstory.sandbox.rules.refusals import ApiError, user_not_found
from target_fullstory.sandbox.rules.sandbox_request_rules import check_event
from target_fullstory.sandbox.rules.sandbox_request_shapes import EventRequest, SharedData, decode
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import Job
from target_fullstory.sandbox.store.received_requests import RequestLog
from target_fullstory.sandbox.store.user_and_event_store import EventRow, EventStore, UserStore

_encode = msgspec.json.Encoder().encode


class EventOperations:
    """Create and import events."""

    def __init__(self, database: Database, log: RequestLog) -> None:
        self._users = UserStore(database)
        self._events = EventStore(database)
        self._log = log
        self._decode_item = msgspec.json.Decoder(EventRequest).decode

    def create(self, call: Call) -> Callable[[], ApiResponse]:
        """`POST /v2/events`."""
        event = decode(call.body, EventRequest)
        self._log.add_dropped_properties(check_event(event))

        def perform() -> ApiResponse:
            user_id, uid = _EventUsers(self._users, [event]).of(event)
            self._events.add([EventRow(user_id, uid, event.name, _encode(event))])
            return ok({})

        return perform

    def import_items(self, job: Job, shared: msgspec.Raw, items: list[bytes]) -> list[ApiError | int | None]:
        """Import items of a batch of events."""
        common = msgspec.json.decode(shared, type=SharedData | None)
        events = [self._decode_item(item) for item in items]
        users = _EventUsers(self._users, events)
        outcomes: list[ApiError | int | None] = []
        rows: list[EventRow] = []
        for event in events:
            try:
                self._log.add_dropped_properties(check_event(event, common))
                user_id, uid = users.of(event)
            except ApiError as error:
                outcomes.append(error)
                continue
            if common is not None and common.context is not None:
                event.context = common.context
            # An event without a time happened when its batch was accepted, not when it is processed.
            event.timestamp = event.timestamp or job.created
            rows.append(EventRow(user_id, uid, event.name, _encode(event)))
            outcomes.append(user_id)
        self._events.add(rows, job.id)
        return outcomes


class _EventUsers:
    """The users that some events are about, looked up once."""

    def __init__(self, users: UserStore, events: Iterable[EventRequest]) -> None:
        named = (event.user for event in events if event.user is not None)
        ids, uids = known_identities((user.id, user.uid) for user in named)
        self._uid_of = users.uids_by_id(ids, uids)
        self._id_of = {uid: number for number, uid in self._uid_of.items()}

    def of(self, event: EventRequest) -> tuple[int | None, str | None]:
        """Fullstory id and uid of an event's user, as far as they are known; an unknown id is an ApiError.

        An unknown uid is no error: Fullstory learns of users from browsers as well.
        """
        user = event.user
        if user is not None and user.uid:
            return self._id_of.get(user.uid), user.uid
        if user is None or not user.id:
            return None, None
        number = id_number(user.id)
        if number is None or number not in self._uid_of:
            raise user_not_found()
        return number, self._uid_of[number]
