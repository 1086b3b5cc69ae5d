"""What is known of a stream's properties before its records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

import msgspec

from target_fullstory.mapping.plan.sources import Source
from target_fullstory.mapping.rules.property_names import NameScope


class Scope(msgspec.Struct, frozen=True):
    """One level of properties: the columns in the SCHEMA, and the names they took."""

    nodes: dict[str, Node]  # column to property, in the order sent
    skipped: frozenset[str]  # columns of this level that are no properties
    names: NameScope  # the names taken; columns that are not in the SCHEMA take theirs after these

    def all_nodes(self) -> Iterator[Node]:
        """The properties of this level, and those within their objects."""
        for node in self.nodes.values():
            yield from node.all_nodes()

    def further(self, value: dict[Any, Any]) -> list[tuple[str, Any]]:
        """An object's columns that are none of these."""
        if value.keys() <= self.nodes.keys():
            return []
        planned = self.nodes.keys() | self.skipped
        return [(str(key), inner) for key, inner in value.items() if key not in planned]


class Node(msgspec.Struct, frozen=True):
    """A property."""

    name: str  # its name at its level
    path: str  # its full name, with its parents' and dots
    declared: str | None = None  # the type to declare where a value fits it; None where any will do
    silent: bool = False  # whether a value that fits is sent without a declaration
    scope: Scope | None = None  # what is known of the objects it may hold; None where that is nothing

    def all_nodes(self) -> Iterator[Node]:
        """The property itself, and those within its objects."""
        yield self
        if self.scope is not None:
            yield from self.scope.all_nodes()


class Entry(msgspec.Struct, frozen=True):
    """A top-level property and its source, or an object column whose parts are top-level."""

    source: Source  # where the value comes from
    node: Node | None = None  # the property; None for a spread column
    spread: Scope | None = None  # the parts of a spread column

    def all_nodes(self) -> Iterator[Node]:
        """The properties, and those within their objects."""
        if self.node is not None:
            yield from self.node.all_nodes()
        elif self.spread is not None:
            yield from self.spread.all_nodes()


class PropertyPlan(msgspec.Struct, frozen=True):
    """How a stream's records give properties."""

    entries: tuple[Entry, ...]  # the planned properties, in the order sent
    names: NameScope  # the names they took
    # Columns that are no properties, or planned ones; None where columns that are not in the SCHEMA are not
    # sent.
    skipped: frozenset[str] | None
    send_nulls: bool  # whether a top-level null is sent
    zone: tzinfo | None = None  # the time zone of dates without an offset; None for UTC

    @property
    def produces(self) -> bool:
        """Whether any record could have properties."""
        return bool(self.entries) or self.skipped is not None

    def all_nodes(self) -> Iterator[Node]:
        """The properties, and those within their objects."""
        for entry in self.entries:
            yield from entry.all_nodes()
