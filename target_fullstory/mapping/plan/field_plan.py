"""Fullstory's own fields and their sources."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec

from target_fullstory.kinds import Kind
from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.plan.sources import MISSING, Column, Source, column_of
from target_fullstory.mapping.rules.destinations import DESTINATIONS, Destination, in_zone
from target_fullstory.mapping.rules.property_names import property_name


class Field(msgspec.Struct, frozen=True):
    """A destination and its source."""

    destination: Destination
    source: Source

    @property
    def column(self) -> str | None:
        """The path of the column that it comes from; None where that is no single one."""
        return column_of(self.source)

    def take(self, value: Any, dropped: list[str]) -> Any:
        """As `Destination.take`; a rejection names the column."""
        try:
            return self.destination.take(value, dropped)
        except Rejection as rejection:
            raise rejection.in_column(self.column) from None


def fields_of(kind: Kind, sources: dict[str, Source], zone: tzinfo | None = None) -> tuple[Field, ...]:
    """The fields of the sources by destination, in the order of the request; `zone` is that of moments."""
    known = DESTINATIONS[kind].items()
    return tuple(Field(in_zone(field, zone), sources[name]) for name, field in known if name in sources)


def column_for(fields: Sequence[Field], *names: str) -> str | None:
    """The path of the column that the first of these fields comes from, as of `Field.column`."""
    return next((field.column for name in names for field in fields if field.destination.name == name), None)


def read_fields(fields: tuple[Field, ...], record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
    """The values of fields that lie in no object; the names of those left out are added to `dropped`."""
    found = {}
    for field in fields:
        value = field.source.read(record)
        if value is not MISSING:
            value = field.take(value, dropped)
            if value is not None:
                found[field.destination.name] = value
    return found


class Group(msgspec.Struct, frozen=True):
    """An object column that is a whole group of fields, such as `context`.

    Its known keys are fields of their own; this finds what else the object holds, which has no
    place in a request.
    """

    name: str  # the group, such as `context`
    column: Column  # the column
    known: dict[str, Any]  # the keys that have a place, with theirs in turn
    withheld: frozenset[str]  # dotted names under `exclude`: not sent, and not counted as left out

    def note_unknown(self, record: dict[str, Any], dropped: list[str]) -> None:
        """Add the dotted names of what is left out to `dropped`."""
        value = self.column.read(record)
        unknown: list[str] = []
        if value is not MISSING:
            _note_unknown(self.name, value, self.known, unknown)
        dropped += [name for name in unknown if name not in self.withheld]


def group_of(
    kind: Kind, name: str, column: Column, exclude: Sequence[str] = ()
) -> tuple[Group, dict[str, Column]]:
    """A group of fields that is read from one object column, and the source of each of the fields."""
    known: dict[str, Any] = {}
    sources: dict[str, Column] = {}
    inner = len(name.split("."))
    for destination in DESTINATIONS[kind].values():
        if not destination.name.startswith(f"{name}."):
            continue
        # An application's own session id seldom matches: it has to be asked for.
        if destination.name == "session.uid":
            continue
        steps = (*column.steps, *destination.path[inner:])
        if any(".".join(steps[:end]) in exclude for end in range(len(column.steps) + 1, len(steps) + 1)):
            continue
        node = known
        for key in destination.path[inner:]:
            node = node.setdefault(key, {})
        sources[destination.name] = Column(steps)
    source = ".".join(column.steps)
    withheld = frozenset(
        name + path.removeprefix(source) for path in exclude if path.startswith(f"{source}.")
    )
    return Group(name, column, known, withheld), sources


def _note_unknown(name: str, value: Any, known: dict[str, Any], dropped: list[str]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        dropped.append(name)
        return
    for key, inner in value.items():
        deeper = known.get(key)
        if deeper:
            _note_unknown(f"{name}.{key}", inner, deeper, dropped)
        elif deeper is None and inner is not None:
            dropped.append(f"{name}.{property_name(str(key))}")
