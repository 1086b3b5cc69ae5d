"""Reads identities and timestamps of encoded requests, and makes single requests of a batch's items."""

from __future__ import annotations

from collections.abc import Set
from urllib.parse import quote

import msgspec

from target_fullstory.kinds import KINDS, Kind


class _User(msgspec.Struct):
    uid: str | None = None
    id: str | None = None


class _Event(msgspec.Struct):
    user: _User | None = None
    session: _User | None = None


class _Time(msgspec.Struct):
    timestamp: str | None = None


_requests = msgspec.json.Decoder(list[msgspec.Raw])
_user = msgspec.json.Decoder(_User)
_event = msgspec.json.Decoder(_Event)
_time = msgspec.json.Decoder(_Time)


def split_requests(items: list[bytes]) -> list[bytes]:
    """The single requests in pieces of JSON, each one request or several joined by commas."""
    return [bytes(raw) for raw in _requests.decode(b"[" + b",".join(items) + b"]")]


def identity(request: bytes) -> tuple[str | None, str | None]:
    """The `uid` and the `id` in a user request."""
    found = _user.decode(request)
    return found.uid, found.id


def has_timestamp(request: bytes) -> bool:
    """Whether an event request carries a timestamp of its own."""
    return _time.decode(request).timestamp is not None


def deleted_with(request: bytes, users: Set[str]) -> bool:
    """Whether an event might be deleted with one of these users; the user of a session is not known."""
    event = _event.decode(request)
    if event.user is not None:
        return not users.isdisjoint({event.user.uid, event.user.id})
    return event.session is not None


def single_request(kind: Kind, request: bytes) -> tuple[str, bytes]:
    """The path and the body of a user's or an event's POST; a user's `id` goes from body to path."""
    path = KINDS[kind].endpoint
    user_id = identity(request)[1] if KINDS[kind].changes_users else None
    if user_id is None:
        return path, request
    fields = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    del fields["id"]
    return f"{path}/{quote(user_id, safe='')}", msgspec.json.encode(fields)
