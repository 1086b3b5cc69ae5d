"""Fullstory's own fields: which there are for each kind, and what each of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from target_fullstory.errors import config_error
from target_fullstory.mapping.calls.call_paths import check_id, method_of
from target_fullstory.mapping.rules.endpoint_values import (
    action_of,
    disabled_of,
    event_types_of,
    secret_of,
)
from target_fullstory.mapping.rules.property_values import LEFT_OUT, number_of, text_of
from target_fullstory.mapping.rules.rejection import Rejection
from target_fullstory.mapping.rules.timestamps import timestamp_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.kinds import Kind

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


class Destination(msgspec.Struct, frozen=True):
    """A field of Fullstory's.

    Attributes:
        path: The keys that lead to it in the request.
        convert: From a record's value, which is not null, to the request's; gives None where
            the field cannot take it, raises `Rejection` where the record cannot go without.
        limit: The most characters its text may have; None where Fullstory sets no limit.
        text: Whether it is the value written as text, and nothing more.
        judges_empty: Whether empty text is a value like any other, for `convert` to judge; else it
            is none.
        structured: Whether a constant may be a list or an object.
    """

    path: tuple[str, ...]
    convert: Callable[[Any], Any]
    limit: int | None = None
    text: bool = False
    judges_empty: bool = False
    structured: bool = False

    @property
    def name(self) -> str:
        """The name used in `fields`, such as `context.browser.url`."""
        return ".".join(self.path)


def _limited(name: str, limit: int, code: str) -> Destination:
    """A text whose excess rejects the record."""

    def convert(value: Any) -> str | None:
        plain = type(value) is str and value.isascii()
        text = value if plain and value else text_of(value)
        if text is not None and len(text) > limit:
            message = f"{name} has {len(text)} characters, Fullstory takes {limit}"
            raise Rejection(code, message)
        return text

    return Destination(tuple(name.split(".")), convert, limit, text=True)


def _timestamp(value: Any) -> str:
    moment = timestamp_of(value)
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


_CONTEXT: dict[str, dict[str, Callable[[Any], Any]]] = {
    "browser": dict.fromkeys(("url", "user_agent", "initial_referrer"), text_of),
    "mobile": dict.fromkeys(("app_id", "app_version", "app_name", "build_variant"), text_of),
    "device": {
        **dict.fromkeys(("manufacturer", "model"), text_of),
        **dict.fromkeys(
            ("screen_width", "screen_height", "viewport_width", "viewport_height"), _pixels
        ),
    },
    "location": {
        **dict.fromkeys(("country", "region", "city"), text_of),
        **dict.fromkeys(("latitude", "longitude"), _number),
        "ip_address": text_of,
    },
}

_UID = _limited("uid", 256, "uid_too_long")

_USERS = (
    # Not `text`: the fast path, too, has to ask `_user_id`.
    Destination(("id",), _user_id),
    _UID,
    _limited("email", 128, "email_too_long"),
    _limited("display_name", 256, "display_name_too_long"),
)

_EVENTS = (
    _limited("name", 250, "name_too_long"),
    Destination(("timestamp",), _timestamp, judges_empty=True),
    _limited("user.uid", 256, "uid_too_long"),
    Destination(("user", "id"), text_of, text=True),
    Destination(("session", "id"), session_id_of),
    Destination(("session", "uid"), _session_uid, 256),
    Destination(("session", "use_most_recent"), _flag),
    *(
        Destination(("context", group, field), convert, text=convert is text_of)
        for group, fields in _CONTEXT.items()
        for field, convert in fields.items()
    ),
)

# With a uid beside it the id is not used: whether it can be is seen when the path is made.
_DELETIONS = (Destination(("id",), text_of, text=True), _UID)

_ENDPOINTS = (
    Destination(("action",), action_of, text=True),
    Destination(("id",), text_of, text=True),
    Destination(("url",), text_of, text=True),
    Destination(("event_types",), event_types_of, judges_empty=True, structured=True),
    Destination(("secret",), secret_of, text=True, structured=True),
    Destination(("disabled",), disabled_of),
)

_CALLS = (
    Destination(("method",), method_of, text=True),
    Destination(("path",), text_of, text=True),
)

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


def check_constant(stream: str, key: str, destination: Destination, value: Any) -> None:
    """Makes sure that a destination can take a constant.

    Raises:
        ConfigurationError: It cannot: no record would have a valid request.
    """
    structured = isinstance(value, dict | list) and not destination.structured
    if value is None or structured or value == "":
        raise config_error(stream, key, f"{destination.name} cannot be {value!r}")
    try:
        converted = destination.convert(value)
    except Rejection as rejection:
        raise config_error(stream, key, rejection.message) from None
    if converted is None:
        raise config_error(stream, key, f"{destination.name} cannot be {value!r}")
