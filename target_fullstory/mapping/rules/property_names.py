"""Names and number of properties: from any column name to one that Fullstory takes."""

from __future__ import annotations

import re
from functools import lru_cache

from target_fullstory.mapping.outcome import Rejection

MAX_NAME_LENGTH = 512
"""Characters in a property name, a nested one counted with its parents and dots."""

MAX_USER_PROPERTIES = 500
"""Unique properties of a user, those within objects counted each."""

_INVALID = re.compile(r"[^A-Za-z0-9_]")


@lru_cache(maxsize=4096)
def property_name(column: str) -> str:
    """The valid property name nearest to a column's.

    Invalid characters become underscores, leading underscores go, a leading digit gets `p_`; a name
    of which nothing is left becomes `p`.
    """
    name = _INVALID.sub("_", column).lstrip("_")
    if not name:
        return "p"
    return f"p_{name}" if name[0].isdigit() else name


_NO_NAMES: dict[str, int] = {}


class NameScope:
    """The names taken at one level of a request's properties."""

    __slots__ = ("_planned", "_taken")

    def __init__(self, planned: NameScope | None = None) -> None:
        """Takes the names that are taken from the start; they stay as they are."""
        self._taken: dict[str, int] = {}
        self._planned = _NO_NAMES if planned is None else planned._taken  # noqa: SLF001 - its own

    def take(self, column: str) -> str:
        """A name for the column that no other column of this level has.

        A name met again gets `_2`, then `_3` and so on: the first to come keeps the plain one.
        """
        wanted = property_name(column)
        name = wanted
        while name in self._taken or name in self._planned:
            count = self._taken.get(wanted) or self._planned[wanted]
            self._taken[wanted] = count + 1
            name = f"{wanted}_{count + 1}"
        self._taken[name] = 1
        return name


def name_too_long(path: str) -> Rejection:
    """Why a record with a property of this full name is rejected."""
    message = f"a property name has {len(path)} characters, Fullstory takes {MAX_NAME_LENGTH}: {path[:60]}…"
    return Rejection("property_name_too_long", message)


def too_many_properties(properties: int) -> Rejection:
    """Why a user with so many properties is rejected."""
    message = (
        f"the record has {properties} properties, those within objects counted; "
        f"Fullstory takes {MAX_USER_PROPERTIES} on a user"
    )
    return Rejection("too_many_properties", message)
