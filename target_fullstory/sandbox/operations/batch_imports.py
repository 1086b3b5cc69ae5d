"""What the items of a batch do once their job's time has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from target_fullstory.sandbox.rules.refusals import ApiError
from target_fullstory.sandbox.rules.sandbox_event_rules import check_event
from target_fullstory.sandbox.rules.sandbox_request_shapes import (
    BatchUserRequest,
    EventRequest,
    SharedData,
)
from target_fullstory.sandbox.rules.sandbox_user_rules import check_user
from target_fullstory.sandbox.store.event_store import EventRow, EventStore, Owners
from target_fullstory.sandbox.store.job_store import JobItem
from target_fullstory.sandbox.store.user_store import UserChanges, UserStore, number_of

if TYPE_CHECKING:
    from target_fullstory.sandbox.store.job_store import Job
    from target_fullstory.sandbox.store.tally import Tally


class UserImporter:
    """Imports a piece of a batch of users, in order: a later item of a user meets the earlier one."""

    def __init__(self, users: UserStore, rejected: Tally) -> None:
        self._users = users
        self._rejected = rejected
        self._decode = msgspec.json.Decoder(BatchUserRequest).decode

    def __call__(
        self,
        job: Job,  # noqa: ARG002 (users do not record where they come from)
        shared: msgspec.Raw,  # noqa: ARG002 (users share nothing)
        first: int,
        requests: list[bytes],
    ) -> list[JobItem]:
        """Imports users, within a transaction.

        Args:
            job: The job they belong to.
            shared: Nothing.
            first: Position of the first one in the batch.
            requests: The users' JSON.

        Returns:
            What became of each.
        """
        users = [self._decode(raw) for raw in requests]
        changes = UserChanges(
            self._users,
            [user.uid for user in users if user.uid],
            [number for user in users if (number := number_of(user.id)) is not None],
        )
        items: list[JobItem] = []
        for position, (raw, request) in enumerate(zip(requests, users, strict=True), first):
            items.append(self._import(changes, position, raw, request))
        changes.save()
        return items

    def _import(
        self, changes: UserChanges, position: int, raw: bytes, request: BatchUserRequest
    ) -> JobItem:
        try:
            self._rejected.add("properties", check_user(request))
            user = changes.apply(request, request.id or None)
        except ApiError as error:
            return JobItem(position, raw, code=error.code, message=error.message)
        return JobItem(position, raw, user_id=user.id)


class EventImporter:
    """Imports a piece of a batch of events."""

    def __init__(self, users: UserStore, events: EventStore, rejected: Tally) -> None:
        self._users = users
        self._events = events
        self._rejected = rejected
        self._decode = msgspec.json.Decoder(EventRequest).decode

    def __call__(
        self, job: Job, shared: msgspec.Raw, first: int, requests: list[bytes]
    ) -> list[JobItem]:
        """Imports events, within a transaction.

        Args:
            job: The job they belong to.
            shared: JSON of what the batch shares between them; `null` for nothing.
            first: Position of the first one in the batch.
            requests: The events' JSON.

        Returns:
            What became of each.
        """
        common = msgspec.json.decode(shared, type=SharedData | None)
        events = [self._decode(raw) for raw in requests]
        owners = Owners(self._users, events)
        items: list[JobItem] = []
        rows: list[EventRow] = []
        for position, (raw, event) in enumerate(zip(requests, events, strict=True), first):
            row = self._checked(event, common, owners)
            if isinstance(row, ApiError):
                items.append(JobItem(position, raw, code=row.code, message=row.message))
                continue
            # An event without a time happened when its batch was accepted, not when it is worked on.
            event.timestamp = event.timestamp or job.created
            rows.append(row)
            items.append(JobItem(position, raw, user_id=row.user_id))
        self._events.add(rows, job.id)
        return items

    def _checked(
        self, event: EventRequest, common: SharedData | None, owners: Owners
    ) -> EventRow | ApiError:
        try:
            self._rejected.add("properties", check_event(event, common))
            user_id, uid = owners.of(event)
        except ApiError as error:
            return error
        if common is not None and common.context is not None:
            event.context = common.context
        return EventRow(user_id, uid, event)
