"""Property names: from any column name to one that Fullstory takes."""

from __future__ import annotations

import re

MAX_NAME_LENGTH = 512
"""Characters in a property name, a nested one counted with its parents and dots."""

_INVALID = re.compile(r"[^A-Za-z0-9_]")


def property_name(column: str) -> str:
    """The valid property name nearest to a column's.

    Invalid characters become underscores, leading underscores go, a leading digit gets `p_`; a name
    of which nothing is left becomes `p`.
    """
    name = _INVALID.sub("_", column).lstrip("_")
    if not name:
        return "p"
    return f"p_{name}" if name[0].isdigit() else name


class NameScope:
    """The names taken at one level of a request's properties."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, column: str) -> str:
        """A name for the column that no other column of this level has.

        A name met again gets `_2`, then `_3` and so on: the first to come keeps the plain one.
        """
        wanted = property_name(column)
        name = wanted
        while name in self._taken:
            self._taken[wanted] += 1
            name = f"{wanted}_{self._taken[wanted]}"
        self._taken[name] = 1
        return name

    def copy(self) -> NameScope:
        """A scope of its own that starts from these names."""
        twin = NameScope()
        twin._taken = dict(self._taken)
        return twin
