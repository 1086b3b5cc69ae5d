"""What makes a user or an event acceptable, beyond its shape.

Decisions where Fullstory's documentation leaves the outcome open: a timestamp needs a date, a time and an
offset (RFC 3339, what ISO 8601 means between machines); an event may name neither user nor session (both are
optional in the API's description); a session id must look like one, but need not exist;
`use_most_recent: false` counts as true.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from target_fullstory.sandbox.rules.refusals import invalid, required
from target_fullstory.sandbox.rules.sandbox_country_codes import COUNTRIES
from target_fullstory.sandbox.rules.sandbox_property_rules import check_properties, is_date
from target_fullstory.sandbox.rules.sandbox_request_shapes import (
    Context,
    EventRequest,
    LocationContext,
    SharedData,
    UserRequest,
)

MAX_USER_LENGTHS = {"uid": 256, "display_name": 256, "email": 128}
MAX_EVENT_NAME_LENGTH = 250
MAX_UID_LENGTH = MAX_USER_LENGTHS["uid"]
MAX_INT32 = 2**31 - 1

_SESSION_ID = re.compile(r"[\w.-]+:[\w.-]+", re.ASCII)
_TIMESTAMP_END = re.compile(r".+T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_REGION = re.compile(r"(?:[A-Z]{2}-)?[A-Z0-9]{1,3}", re.ASCII)


def check_user(request: UserRequest) -> int:
    """Apply the rules and remove oversized properties from the request; returns how many."""
    for field, limit in MAX_USER_LENGTHS.items():
        if len(getattr(request, field) or "") > limit:
            raise invalid("value_too_long", f"{field} is longer than {limit} characters")
    return check_properties(request)


def check_event(event: EventRequest, shared: SharedData | None = None) -> int:
    """Apply the rules and remove oversized properties from the event; returns how many.

    `shared` is what all events of its batch share.
    """
    if not event.name:
        raise required("name")
    if len(event.name) > MAX_EVENT_NAME_LENGTH:
        raise invalid("value_too_long", f"name is longer than {MAX_EVENT_NAME_LENGTH} characters")
    if event.timestamp and not (_TIMESTAMP_END.fullmatch(event.timestamp) and is_date(event.timestamp)):
        raise invalid("invalid_timestamp", "timestamp must be ISO 8601 with an offset: 2022-03-15T14:23:23Z")
    _check_identity(event)
    if event.context is not None:
        if shared is not None and shared.context is not None:
            raise invalid("conflicting_context", "The event has a context beside the shared one")
        check_context(event.context)
    return check_properties(event)


def _check_identity(event: EventRequest) -> None:
    user, session = event.user, event.session
    by_user = bool(user and user.uid) + bool(user and user.id)
    by_session = bool(session and session.id) + bool(session and session.uid)
    most_recent = session is not None and session.use_most_recent is not None
    if by_user > 1 or by_session > 1 or (by_session and (by_user or most_recent)):
        raise invalid(
            "conflicting_identity", "Identify the event in one way only: session.id, user.uid or user.id"
        )
    if most_recent and not by_user:
        raise invalid("required_field", "session.use_most_recent needs user.uid or user.id")
    for name, identity in (("user", user), ("session", session)):
        if identity and identity.uid and len(identity.uid) > MAX_UID_LENGTH:
            raise invalid("value_too_long", f"{name}.uid is longer than {MAX_UID_LENGTH} characters")
    if session and session.id and not _SESSION_ID.fullmatch(session.id):
        raise invalid("invalid_session_id", "session.id must have the form device:session")


def check_context(context: Context) -> None:
    """Apply the rules of a context, an event's own or the one shared by its batch."""
    device = context.device
    if device is not None:
        screen = (device.screen_width, device.screen_height)
        viewport = (device.viewport_width, device.viewport_height)
        if any(size and not -MAX_INT32 - 1 <= size <= MAX_INT32 for size in (*screen, *viewport)):
            raise invalid("invalid_context", "context.device: a size is out of range")
    if context.location is not None:
        _check_location(context.location)


def _check_location(location: LocationContext) -> None:
    if location.country and location.country not in COUNTRIES:
        raise invalid("invalid_context", "context.location.country must be ISO 3166-1 alpha-2")
    if location.region and not _REGION.fullmatch(location.region):
        raise invalid("invalid_context", "context.location.region must be ISO 3166-2")
    if location.latitude is not None and not -90 <= location.latitude <= 90:
        raise invalid("invalid_context", "context.location.latitude must lie within -90 and 90")
    if location.longitude is not None and not -180 <= location.longitude <= 180:
        raise invalid("invalid_context", "context.location.longitude must lie within -180 and 180")
    if location.ip_address:
        try:
            ip_address(location.ip_address)
        except ValueError:
            raise invalid("invalid_context", "context.location.ip_address must be an IP address") from None
