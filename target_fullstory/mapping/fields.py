"""Fullstory's own fields of a request, read from a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.names import property_name
from target_fullstory.mapping.result import Rejection
from target_fullstory.mapping.sources import MISSING, Column, Source

if TYPE_CHECKING:
    from target_fullstory.mapping.destinations import Destination


class Field(msgspec.Struct, frozen=True):
    """A destination and its source."""

    destination: Destination
    source: Source

    def read(self, record: dict[str, Any], dropped: list[str]) -> Any:
        """The request's value; None where the record has none, or none that fits.

        Raises:
            Rejection: The record cannot go with this value, nor without it.
        """
        raw = self.source.read(record)
        if raw is MISSING or raw is None or (isinstance(raw, str) and not raw):
            return None
        value = self.destination.convert(raw)
        if value is None:
            dropped.append(self.destination.name)
        return value


class Group(msgspec.Struct, frozen=True):
    """An object column that is a whole group of fields, such as `context`.

    Its known keys are fields of their own; this finds what else the object holds, which has no
    place in a request.

    Attributes:
        name: The group, such as `context`.
        column: The column.
        known: The keys that have a place, with theirs in turn.
        withheld: Dotted names under `exclude`: not sent, and not counted as left out.
    """

    name: str
    column: Column
    known: dict[str, Any]
    withheld: frozenset[str]

    def note_unknown(self, record: dict[str, Any], dropped: list[str]) -> None:
        """Adds the dotted names of what is left out to `dropped`."""
        value = self.column.read(record)
        unknown: list[str] = []
        if value is not MISSING:
            _note_unknown(self.name, value, self.known, unknown)
        dropped += [name for name in unknown if name not in self.withheld]


def _note_unknown(name: str, value: Any, known: dict[str, Any], dropped: list[str]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        dropped.append(name)
        return
    for key, inner in value.items():
        deeper = known.get(key)
        if key not in known:
            if inner is not None:
                dropped.append(f"{name}.{property_name(str(key))}")
        elif deeper:
            _note_unknown(f"{name}.{key}", inner, deeper, dropped)


def user_request(
    fields: tuple[Field, ...], record: dict[str, Any], dropped: list[str]
) -> dict[str, Any]:
    """The fields of a user, `uid` or `id` among them.

    Raises:
        Rejection: Neither `uid` nor `id` has a value, or a text is too long.
    """
    request: dict[str, Any] = {}
    for field in fields:
        value = field.read(record, dropped)
        if value is not None:
            request[field.destination.name] = value
    if "uid" not in request and "id" not in request:
        sought = " nor ".join(
            field.destination.name for field in fields if field.destination.name in ("uid", "id")
        )
        message = f"the record has no usable {sought}: it is absent, null, empty or no plain value"
        raise Rejection("missing_uid", message)
    return request


def event_request(
    fields: tuple[Field, ...],
    groups: tuple[Group, ...],
    record: dict[str, Any],
    dropped: list[str],
) -> dict[str, Any]:
    """The fields of an event, identified in one way only.

    A session id stands alone; a session `uid` likewise, where there is no id. Else the user's `uid`
    goes before the user's `id`, with `use_most_recent` only where it is true. An event with neither
    is sent as it is.

    Raises:
        Rejection: There is no name, the timestamp is none, or a text is too long.
    """
    request: dict[str, Any] = {}
    for field in fields:
        value = field.read(record, dropped)
        if value is None:
            continue
        node = request
        for key in field.destination.path[:-1]:
            node = node.setdefault(key, {})
        node[field.destination.path[-1]] = value
    for group in groups:
        group.note_unknown(record, dropped)
    if "name" not in request:
        message = "the event has no usable name: it is absent, null, empty or no plain value"
        raise Rejection("missing_name", message)
    return _identified_once(request)


def _identified_once(request: dict[str, Any]) -> dict[str, Any]:
    user = request.pop("user", None)
    session = request.pop("session", {})
    context = request.pop("context", None)
    for key in ("id", "uid"):
        if key in session:
            request["session"] = {key: session[key]}
            break
    else:
        if user is not None:
            key = "uid" if "uid" in user else "id"
            request["user"] = {key: user[key]}
            if session.get("use_most_recent"):
                request["session"] = {"use_most_recent": True}
    if context is not None:
        request["context"] = context
    return request
