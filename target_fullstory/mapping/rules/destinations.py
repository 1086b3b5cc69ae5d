"""Fullstory's own fields: which there are for each kind, and what each of them takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from target_fullstory.errors import config_error
from target_fullstory.kinds import Kind
from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.rules.endpoint_values import action_of, disabled_of, event_types_of, secret_of
from target_fullstory.mapping.rules.path_values import check_id, method_of
from target_fullstory.mapping.rules.property_values import LEFT_OUT, number_of, text_of
from target_fullstory.mapping.rules.timestamps import are_sent_unchanged, timestamp_of

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

Inline = dict[str, tuple[str, str]]
"""By JSON type of a value `{v}`, the test by which it is taken without `convert`, and what it becomes."""


class Destination(msgspec.Struct, frozen=True):
    """A field of Fullstory's."""

    path: tuple[str, ...]  # the keys that lead to it in the request
    # From a record's value, which is not null, to the request's; gives None where the field cannot take it,
    # raises `Rejection` where the record cannot go without.
    convert: Callable[[Any], Any]
    inline: Inline = {}  # for which values `convert` need not be called
    # Whether all of these texts, or nulls, are sent as they are; None where that is not asked.
    unchanged: Callable[[list[str | None]], bool] | None = None
    # Whether empty text is a value like any other, for `convert` to judge; else it is none.
    judges_empty: bool = False
    structured: bool = False  # whether a constant may be a list or an object

    @property
    def name(self) -> str:
        """The name used in `fields`, such as `context.browser.url`."""
        return ".".join(self.path)

    def take(self, value: Any, dropped: list[str]) -> Any:
        """The request's value for a record's, None for none.

        The name of a field whose value cannot be taken is added to `dropped`.

        Raises:
            Rejection: The record cannot go with the value, nor without it.
        """
        if value is None or (not self.judges_empty and isinstance(value, str) and not value):
            return None
        converted = self.convert(value)
        if converted is None:
            dropped.append(self.name)
        return converted


_TEXT: Inline = {"string": ("{v}", "{v}"), "integer": ("", "str({v})")}


def _limited_text(limit: int) -> Inline:
    return _TEXT | {"string": (f"0 < len({{v}}) <= {limit}", "{v}")}


def _limited(name: str, limit: int, code: str) -> Destination:
    """A text whose excess rejects the record."""

    def convert(value: Any) -> str | None:
        text = text_of(value)
        if text is not None and len(text) > limit:
            message = f"{name} has {len(text)} characters, Fullstory takes {limit}"
            raise Rejection(code, message)
        return text

    return Destination(tuple(name.split(".")), convert, _limited_text(limit))


def _text(*path: str) -> Destination:
    return Destination(path, text_of, _TEXT)


def _timestamp(value: Any, zone: tzinfo | None = None) -> str:
    moment = timestamp_of(value, zone)
    if moment is None:
        message = f"timestamp {_shown(value)} neither ISO 8601 nor Unix seconds or milliseconds"
        raise Rejection("invalid_timestamp", message)
    return moment


def _shown(value: Any) -> str:
    """What a value is, or which: a JSON type or, of text and numbers, the beginning."""
    if value is LEFT_OUT:
        return "is"
    if isinstance(value, str):
        return f"{value!a:.80} is"
    if isinstance(value, bool):
        return "is a boolean,"
    if isinstance(value, dict):
        return "is an object,"
    if isinstance(value, (list, tuple)):
        return "is an array,"
    text = text_of(value)
    return "is out of range," if text is None else f"{text:.80} is"


def _user_id(value: Any) -> str | None:
    """Fullstory's id of a user to update, which becomes a step of a path."""
    text = text_of(value)
    if text is not None:
        check_id(text)
    return text


def session_id_of(value: Any) -> str | None:
    """A session id, given as such or as a session replay URL, whose last segment it is."""
    text = text_of(value)
    if text is None or not text.startswith(("https://", "http://")):
        return text
    try:
        path = urlsplit(text).path
    except ValueError:
        return None
    return unquote(path.rstrip("/").rpartition("/")[2]) or None


def _session_uid(value: Any) -> str | None:
    text = text_of(value)
    return None if text is None or len(text) > 256 else text


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _pixels(value: Any) -> int | None:
    if type(value) is int and INT32_MIN <= value <= INT32_MAX:
        return value
    number = _number(value)
    if number is None or number != int(number) or not INT32_MIN <= number <= INT32_MAX:
        return None
    return int(number)


def _number(value: Any) -> int | float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number_of(value)


_PIXELS: Inline = {"integer": (f"{INT32_MIN} <= {{v}} <= {INT32_MAX}", "{v}")}
_NUMBER: Inline = {"integer": ("", "{v}"), "number": ("", "{v}")}
_FLAG: Inline = {"boolean": ("", "{v}")}
_SESSION_ID: Inline = {"string": ("{v} and not {v}.startswith('http')", "{v}")}

_CONTEXT = (
    *(_text("context", "browser", name) for name in ("url", "user_agent", "initial_referrer")),
    *(_text("context", "mobile", name) for name in ("app_id", "app_version", "app_name", "build_variant")),
    *(_text("context", "device", name) for name in ("manufacturer", "model")),
    *(
        Destination(("context", "device", name), _pixels, _PIXELS)
        for name in ("screen_width", "screen_height", "viewport_width", "viewport_height")
    ),
    *(_text("context", "location", name) for name in ("country", "region", "city")),
    *(Destination(("context", "location", name), _number, _NUMBER) for name in ("latitude", "longitude")),
    _text("context", "location", "ip_address"),
)

_UID = _limited("uid", 256, "uid_too_long")

_USERS = (
    Destination(("id",), _user_id),
    _UID,
    _limited("email", 128, "email_too_long"),
    _limited("display_name", 256, "display_name_too_long"),
)

_EVENTS = (
    _limited("name", 250, "name_too_long"),
    Destination(("timestamp",), _timestamp, unchanged=are_sent_unchanged, judges_empty=True),
    _limited("user.uid", 256, "uid_too_long"),
    _text("user", "id"),
    Destination(("session", "id"), session_id_of, _SESSION_ID),
    Destination(("session", "uid"), _session_uid, _limited_text(256)),
    Destination(("session", "use_most_recent"), _flag, _FLAG),
    *_CONTEXT,
)

# With a uid beside it the id is not used: whether it can be is seen when the path is made.
_DELETIONS = (_text("id"), _UID)

_ENDPOINTS = (
    Destination(("action",), action_of),
    _text("id"),
    _text("url"),
    Destination(("event_types",), event_types_of, judges_empty=True, structured=True),
    Destination(("secret",), secret_of, structured=True),
    Destination(("disabled",), disabled_of),
)

_CALLS = (Destination(("method",), method_of), _text("path"))

DESTINATIONS: Final[dict[Kind, dict[str, Destination]]] = {
    "users": {destination.name: destination for destination in _USERS},
    "events": {destination.name: destination for destination in _EVENTS},
    "user_deletions": {destination.name: destination for destination in _DELETIONS},
    "webhook_endpoints": {destination.name: destination for destination in _ENDPOINTS},
    "request": {destination.name: destination for destination in _CALLS},
}
"""By kind and name, in the order of the request."""

GROUPS: Final[dict[Kind, tuple[str, ...]]] = {
    "users": (),
    "events": ("user", "session", "context"),
    "user_deletions": (),
    "webhook_endpoints": (),
    "request": (),
}
"""Destinations that take a whole object of other destinations."""


def in_zone(destination: Destination, zone: tzinfo | None) -> Destination:
    """A destination that takes moments without an offset for those of a time zone."""
    if zone is None or destination.convert is not _timestamp:
        return destination
    return msgspec.structs.replace(destination, convert=partial(_timestamp, zone=zone))


def check_constant(stream: str, key: str, destination: Destination, value: Any) -> None:
    """Makes sure that a destination can take a constant."""
    structured = isinstance(value, dict | list) and not destination.structured
    if value is None or structured or value == "":
        raise config_error(stream, key, f"{destination.name} cannot be {value!r}")
    try:
        converted = destination.convert(value)
    except Rejection as rejection:
        raise config_error(stream, key, rejection.outcome.message) from None
    if converted is None:
        raise config_error(stream, key, f"{destination.name} cannot be {value!r}")


def missing_uid(names: list[str], column: str | None) -> Rejection:
    """Why a user with none of these fields is rejected, which come from the column where it is one."""
    problem = "it is absent, null, empty or no plain value"
    return Rejection("missing_uid", f"the record has no usable {' nor '.join(names)}: {problem}", column)


def missing_name(column: str | None) -> Rejection:
    """Why an event without a name is rejected, which comes from the column where it is one."""
    problem = "it is absent, null, empty or no plain value"
    return Rejection("missing_name", f"the event has no usable name: {problem}", column)
