"""What makes one event acceptable, beyond its shape.

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
    DeviceContext,
    EventRequest,
    LocationContext,
    SharedData,
)

MAX_NAME_LENGTH = 250
MAX_UID_LENGTH = 256
MAX_INT32 = 2**31 - 1

_SESSION_ID = re.compile(r"[\w.-]+:[\w.-]+", re.ASCII)
_TIMESTAMP_END = re.compile(r".+T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_REGION = re.compile(r"(?:[A-Z]{2}-)?[A-Z0-9]{1,3}", re.ASCII)


def check_event(event: EventRequest, shared: SharedData | None = None) -> int:
    """Applies the rules, and takes oversized property values out of the event.

    Args:
        event: The event; changed in place.
        shared: What the batch around it shares.

    Returns:
        How many properties were left out for their size.

    Raises:
        ApiError: The event is to be refused.
    """
    if not event.name:
        raise required("name")
    if len(event.name) > MAX_NAME_LENGTH:
        raise invalid("value_too_long", f"name is longer than {MAX_NAME_LENGTH} characters")
    if event.timestamp and not (
        _TIMESTAMP_END.fullmatch(event.timestamp) and is_date(event.timestamp)
    ):
        raise invalid(
            "invalid_timestamp", "timestamp must be ISO 8601 with an offset: 2022-03-15T14:23:23Z"
        )
    _check_identity(event)
    if event.context is not None:
        if shared is not None and shared.context is not None:
            raise invalid("conflicting_context", "The event has a context beside the shared one")
        check_context(event.context)
    declared = event.schema.properties if event.schema is not None else None
    if event.properties is None and not declared:
        return 0
    event.properties, dropped = check_properties(event.properties or {}, declared)
    return dropped


def _check_identity(event: EventRequest) -> None:
    user, session = event.user, event.session
    by_user = sum(1 for value in (user and user.uid, user and user.id) if value)
    by_session = sum(1 for value in (session and session.id, session and session.uid) if value)
    most_recent = session is not None and session.use_most_recent is not None
    if by_user > 1 or by_session > 1 or (by_session and (by_user or most_recent)):
        raise invalid(
            "conflicting_identity",
            "Identify the event in one way only: session.id, user.uid or user.id",
        )
    if most_recent and not by_user:
        raise invalid("required_field", "session.use_most_recent needs user.uid or user.id")
    if user and user.uid and len(user.uid) > MAX_UID_LENGTH:
        raise invalid("value_too_long", f"user.uid is longer than {MAX_UID_LENGTH} characters")
    if session and session.uid and len(session.uid) > MAX_UID_LENGTH:
        raise invalid("value_too_long", f"session.uid is longer than {MAX_UID_LENGTH} characters")
    if session and session.id and not _SESSION_ID.fullmatch(session.id):
        raise invalid("invalid_session_id", "session.id must have the form device:session")


def check_context(context: Context) -> None:
    """Applies the rules of an event's context.

    Args:
        context: The event's own context, or the one its batch shares.

    Raises:
        ApiError: A value in it is not acceptable.
    """
    if context.device is not None:
        _check_device(context.device)
    if context.location is not None:
        _check_location(context.location)


def _check_device(device: DeviceContext) -> None:
    sizes = (
        device.screen_width,
        device.screen_height,
        device.viewport_width,
        device.viewport_height,
    )
    if any(size is not None and not -MAX_INT32 - 1 <= size <= MAX_INT32 for size in sizes):
        raise invalid("invalid_context", "context.device: a size is out of range")


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
            raise invalid(
                "invalid_context", "context.location.ip_address must be an IP address"
            ) from None
