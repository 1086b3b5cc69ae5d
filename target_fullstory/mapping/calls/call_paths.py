"""Methods and paths of calls: what may be sent, and what a record's values become in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import msgspec

from target_fullstory.mapping.plan.sources import MISSING, parse_template
from target_fullstory.mapping.rules.property_values import text_of
from target_fullstory.mapping.rules.rejection import Rejection

if TYPE_CHECKING:
    from target_fullstory.mapping.plan.sources import Column

METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "GET")
"""The methods of calls."""

_KEPT = "/?:@!$&'()*+,;=-._~%"
_BROKEN_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def method_of(value: Any) -> str:
    """An HTTP method as it is sent.

    Raises:
        Rejection: It is none of `METHODS`.
    """
    method = "" if value is MISSING else (text_of(value) or "").strip().upper()
    if method not in METHODS:
        raise Rejection("invalid_method", f"the method is absent or none of {', '.join(METHODS)}")
    return method


def trouble_with(path: str, *, has_values: bool = False) -> str | None:
    """What keeps a path from being sent, None where nothing does.

    It must stay on the API's host and mean what it says: no other host, no way up.

    Args:
        path: The path with its query.
        has_values: Whether encoded values stand in it already, which may hold anything.
    """
    place = path.partition("?")[0]
    decoded = path if has_values else unquote(path)
    steps = map(unquote, place.split("/")) if has_values else unquote(place).split("/")
    troubles = {
        "it is to begin with /; the host is that of api_url": not path.startswith("/"),
        "it has two slashes in a row": "//" in place,
        "it has a backslash or a control character": "\\" in decoded or _CONTROL.search(decoded),
        "it has a fragment (#)": "#" in path,
        "it has a step . or ..": any(step in {".", ".."} for step in steps),
        "it has a % that encodes nothing (write %25)": _BROKEN_ENCODING.search(path),
    }
    return next((trouble for trouble, found in troubles.items() if found), None)


def encoded(path: str) -> str:
    """A path with what a URL cannot hold encoded; what is encoded already stays."""
    return quote(path, safe=_KEPT)


def path_value(name: str, value: Any) -> str:
    """A record's value as part of a path, URL-encoded.

    Args:
        name: What it is, for the message.
        value: The value.

    Raises:
        Rejection: `missing_path_value` for null and what cannot be written as text; `invalid_path`
            for `.` and `..`, which are no names in a path.
    """
    text = None if value is MISSING else text_of(value)
    if text is None:
        message = f"{name} is absent, null, empty or no plain value, and stands in the path"
        raise Rejection("missing_path_value", message)
    if text in {".", ".."}:
        raise Rejection("invalid_path", f"{name} is {text!r}, which is no name in a path")
    return quote(text, safe="")


def check_id(text: str) -> None:
    """Makes sure that an id of Fullstory's can be a step of a path.

    Raises:
        Rejection: `invalid_path` for `.` and `..`, which are no names in a path, and for what has
            a `/`.
    """
    # Front ends decode %2F before they look for the step: the call would go to another path.
    if text in {".", ".."} or "/" in text:
        problem = "has a /" if "/" in text else f"is {text!r}"
        raise Rejection("invalid_path", f"id {problem}, which is no name in a path")


def id_step(text: str) -> str:
    """An id of Fullstory's as a step of a path, URL-encoded; raises as `check_id`."""
    check_id(text)
    return quote(text, safe="")


class PathTemplate(msgspec.Struct, frozen=True):
    """A path with columns in it.

    Attributes:
        parts: Literal texts, encoded, and columns, in order.
    """

    parts: tuple[str | Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in it."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    def read(self, record: dict[str, Any]) -> str:
        """The path of a record.

        Raises:
            Rejection: One of the values cannot stand in a path.
        """
        return "".join(
            part
            if isinstance(part, str)
            else path_value(f"column {'.'.join(part.steps)!r}", part.read(record))
            for part in self.parts
        )


class PathValue(msgspec.Struct, frozen=True):
    """A whole path given by the record."""

    source: Column

    @property
    def columns(self) -> tuple[Column, ...]:
        """The column that gives it."""
        return (self.source,)

    def read(self, record: dict[str, Any]) -> str:
        """The path of a record.

        Raises:
            Rejection: There is none (`missing_path_value`), or it may not be sent (`invalid_path`).
        """
        value = self.source.read(record)
        if value is None or value is MISSING or value == "":
            raise Rejection("missing_path_value", "the record has no path")
        text = value if isinstance(value, str) and text_of(value) else None
        trouble = "it is no text" if text is None else trouble_with(text)
        if text is None or trouble is not None:
            raise Rejection("invalid_path", f"the record's path cannot be sent: {trouble}")
        return encoded(text)


def parts_of(path: str) -> tuple[tuple[str, str | None], ...]:
    """Takes a path apart: `(text, None)` for text, `("", column name)` for a placeholder.

    Raises:
        ValueError: It cannot be sent, whatever the record; or its braces do not match.
    """
    braces = "{" in path or "}" in path
    parts = parse_template(path).parts if braces else ((path, None),)
    trouble = trouble_with("".join(text if name is None else "x" for text, name in parts))
    if trouble is not None:
        raise ValueError(trouble)
    return tuple((encoded(text), name) for text, name in parts)
