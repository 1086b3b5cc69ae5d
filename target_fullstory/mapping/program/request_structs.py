"""Requests of users and events, in Fullstory's names."""

from __future__ import annotations

from typing import Any

import msgspec


class UserRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """The request of a user."""

    id: str | None = None
    uid: str | None = None
    email: str | None = None
    display_name: str | None = None
    properties: Any = None
    schema: Any = None


class EventRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """The request of an event."""

    name: str
    timestamp: str | None = None
    user: Any = None
    session: Any = None
    context: Any = None
    properties: Any = None
    schema: Any = None


class UserOfEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """Whose event it is."""

    uid: str | None = None
    id: str | None = None


class SessionOfEvent(msgspec.Struct, omit_defaults=True, gc=False):
    """The session that an event belongs to."""

    id: str | None = None
    uid: str | None = None
    use_most_recent: bool = False


def object_type(names: list[str]) -> type[msgspec.Struct]:
    """A Struct with these members, to be made from their values in order; null is not sent."""
    fields = [f"member_{index}" for index in range(len(names))]
    return msgspec.defstruct(
        "Object",
        [(field, Any, None) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        omit_defaults=True,
        gc=False,
    )
