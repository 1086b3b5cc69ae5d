"""Methods and paths of calls: what may be sent, and what a record's values become in them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.plan.sources import MISSING, Column
from target_fullstory.mapping.plan.written_sources import parse_template
from target_fullstory.mapping.rules.path_values import path_value
from target_fullstory.mapping.rules.property_values import text_of

_KEPT = "/?:@!$&'()*+,;=-._~%"
_BROKEN_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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


class PathTemplate(msgspec.Struct, frozen=True):
    """A path with columns in it."""

    parts: tuple[str | Column, ...]  # literal texts, encoded, and columns, in order

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in it."""
        return tuple(part for part in self.parts if not isinstance(part, str))

    def read(self, record: dict[str, Any]) -> str:
        """The path of a record."""
        return "".join(
            part if isinstance(part, str) else path_value(part.path, part.read(record)) for part in self.parts
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
            raise Rejection("missing_path_value", "the record has no path", self.source.path)
        text = value if isinstance(value, str) and text_of(value) else None
        trouble = "it is no text" if text is None else trouble_with(text)
        if text is None or trouble is not None:
            raise Rejection("invalid_path", f"the record's path cannot be sent: {trouble}", self.source.path)
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
