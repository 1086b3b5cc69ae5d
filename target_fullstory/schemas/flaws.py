"""What is wrong with a tap's SCHEMA, and how a warning says it."""

from __future__ import annotations

import msgspec

_MOST_NAMED = 10


class Flaw(msgspec.Struct, frozen=True):
    """Something in a SCHEMA that was repaired."""

    column: str  # the column's path; empty for the SCHEMA as a whole
    problem: str  # what is wrong


def in_one_line(flaws: list[Flaw]) -> str:
    """What was wrong, in one line; empty where nothing was."""
    columns: dict[str, list[str]] = {}
    for flaw in flaws:
        columns.setdefault(flaw.problem, []).append(flaw.column)
    return "; ".join(f"{problem}{_of(names)}" for problem, names in columns.items())


def _of(columns: list[str]) -> str:
    names = [repr(name)[1:-1] for name in columns if name]
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f" (column{'s' if len(names) > 1 else ''} {', '.join(names[:_MOST_NAMED])}{more})"
