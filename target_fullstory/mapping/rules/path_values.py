"""What a record's values become in the method and the path of a call."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.rules.property_values import text_of

METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "GET")


def method_of(value: Any) -> str:
    """An HTTP method as it is sent."""
    method = (text_of(value) or "").strip().upper()
    if method not in METHODS:
        raise Rejection("invalid_method", f"the method is absent or none of {', '.join(METHODS)}")
    return method


def path_value(column: str, value: Any) -> str:
    """A column's value as part of a path, URL-encoded.

    Raises:
        Rejection: `missing_path_value` for null and what cannot be written as text; `invalid_path`
            for `.` and `..`, which are no names in a path.
    """
    text = text_of(value)
    if text is None:
        message = f"column {column!r} is absent, null, empty or no plain value, and stands in the path"
        raise Rejection("missing_path_value", message, column)
    if text in {".", ".."}:
        raise Rejection("invalid_path", f"column {column!r} is {text!r}, which is no name in a path", column)
    return quote(text, safe="")


def check_id(text: str, column: str | None = None) -> None:
    """Makes sure that an id of Fullstory's, which comes from the column, can be a step of a path."""
    # Front ends decode %2F before they look for the step: the call would go to another path.
    if text in {".", ".."} or "/" in text:
        problem = "has a /" if "/" in text else f"is {text!r}"
        raise Rejection("invalid_path", f"id {problem}, which is no name in a path", column)


def id_step(text: str, column: str | None = None) -> str:
    """An id of Fullstory's as a step of a path, URL-encoded; raises as `check_id`."""
    check_id(text, column)
    return quote(text, safe="")
