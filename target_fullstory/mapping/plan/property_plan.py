"""Custom properties: planned from the SCHEMA once, read from each record."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from target_fullstory.mapping.plan.column_types import fitting
from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH
from target_fullstory.mapping.plan.sources import MISSING, Source
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, NameScope
from target_fullstory.mapping.rules.property_values import (
    INT64_MAX,
    INT64_MIN,
    LEFT_OUT,
    MAX_VALUE_BYTES,
    leaf_of,
)
from target_fullstory.mapping.rules.rejection import Rejection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MAX_USER_PROPERTIES = 500
"""Unique properties of a user, those within objects counted each."""


class Scope(msgspec.Struct, frozen=True):
    """One level of properties: the columns the SCHEMA tells, and the names they took.

    Attributes:
        nodes: Column to property, in the order sent.
        skipped: Columns of this level that are no properties.
        names: The names taken; columns the SCHEMA does not tell take theirs after these.
    """

    nodes: dict[str, Node]
    skipped: frozenset[str]
    names: NameScope

    def all_nodes(self) -> Iterator[Node]:
        """The properties of this level, and those within their objects."""
        for node in self.nodes.values():
            yield from node.all_nodes()

    def further(self, value: dict[str, Any]) -> list[tuple[str, Any]]:
        """An object's columns that are none of these."""
        if value.keys() <= self.nodes.keys():
            return []
        return _unplanned(value, self.nodes.keys() | self.skipped)


class Node(msgspec.Struct, frozen=True):
    """A property.

    Attributes:
        name: Its name at its level.
        path: Its full name, with its parents' and dots.
        declared: The type to declare where a value fits it.
        scope: What is known of the objects it may hold; None where that is nothing.
    """

    name: str
    path: str
    declared: str | None = None
    scope: Scope | None = None

    def all_nodes(self) -> Iterator[Node]:
        """The property itself, and those within its objects."""
        yield self
        if self.scope is not None:
            yield from self.scope.all_nodes()


class Entry(msgspec.Struct, frozen=True):
    """A top-level property and its source, or an object column whose parts are top-level.

    Attributes:
        source: Where the value comes from.
        node: The property; None for a spread column.
        spread: The parts of a spread column.
        key: The source as a key of the record; None where it has to be asked for its value.
    """

    source: Source
    node: Node | None = None
    spread: Scope | None = None
    key: str | None = None

    def all_nodes(self) -> Iterator[Node]:
        """The properties, and those within their objects."""
        if self.node is not None:
            yield from self.node.all_nodes()
        elif self.spread is not None:
            yield from self.spread.all_nodes()


class Properties(msgspec.Struct):
    """A record's properties, as far as they have been read.

    Attributes:
        dropped: Takes the names of those that are left out.
        send_nulls: Whether a top-level null is sent.
        values: The request's `properties`.
        declared: The request's `schema.properties`: full name, with dots for what is nested, to
            type.
        leaves: How many properties there are, counting each value within objects.
    """

    dropped: list[str]
    send_nulls: bool
    values: dict[str, Any] = {}
    declared: dict[str, str] = {}
    leaves: int = 0

    def top(self, node: Node, value: Any) -> None:
        """Writes a top-level property, be it null."""
        if value is not None:
            self.write(self.values, node, value, 1)
        elif self.send_nulls:
            if len(node.path) > MAX_NAME_LENGTH:
                raise _too_long(node.path)
            self.values[node.name] = None
            self.leaves += 1

    def write(self, target: dict[str, Any], node: Node, value: Any, depth: int) -> None:
        """Writes a value other than null to an object of the request."""
        path, declared = node.path, node.declared
        if len(path) > MAX_NAME_LENGTH:
            raise _too_long(path)
        # What most values are comes first, without a call.
        if type(value) is not str or len(value) > MAX_VALUE_BYTES or not value.isascii():
            if isinstance(value, dict):
                if depth >= MAX_DEPTH:
                    self.dropped.append(path)
                else:
                    target[node.name] = self._object(node, value, depth)
                return
            value = leaf_of(value)
            if value is LEFT_OUT:
                self.dropped.append(path)
                return
        self.leaves += 1
        if declared is not None:
            value, fitted = fitting(declared, value)
            if fitted is not None:
                self.declared[path] = fitted
        target[node.name] = value

    def _object(self, node: Node, value: dict[str, Any], depth: int) -> dict[str, Any]:
        """An object without its nulls; an empty one stays, and is sent as such."""
        scope = node.scope or Scope({}, frozenset(), NameScope())
        inner: dict[str, Any] = {}
        for column, child in scope.nodes.items():
            part = value.get(column)
            if part is not None:
                self.write(inner, child, part, depth + 1)
        further = scope.further(value)
        names = NameScope(scope.names) if further else scope.names
        for column, part in further:
            name = names.take(column)
            if part is not None:
                self.write(inner, Node(name, f"{node.path}.{name}"), part, depth + 1)
        return inner


class PropertyPlan(msgspec.Struct, frozen=True):
    """How a stream's records give properties.

    Attributes:
        entries: The planned properties, in the order sent.
        ways: The same, as they are read: `ways_of(entries)`.
        names: The names they took.
        skipped: Columns that are no properties, or planned ones; None where columns that the
            SCHEMA does not tell are not sent.
        send_nulls: Whether a top-level null is sent.
    """

    entries: tuple[Entry, ...]
    ways: tuple[Way, ...]
    names: NameScope
    skipped: frozenset[str] | None
    send_nulls: bool

    @property
    def produces(self) -> bool:
        """Whether any record could have properties."""
        return bool(self.entries) or self.skipped is not None

    def read(self, record: dict[str, Any], dropped: list[str]) -> Properties:
        """The record's properties; the names of those left out are added to `dropped`.

        Raises:
            Rejection: A property's name, known only from the record, is over `MAX_NAME_LENGTH`.
        """
        made = Properties(dropped, self.send_nulls)
        values = made.values
        # Names of columns that only the record tells are taken record by record.
        names: NameScope | None = None
        for key, name, declared, entry in self.ways:
            value: Any = entry.source.read(record) if key is None else record.get(key, MISSING)
            kind = type(value)
            # What most values are comes first, without a call.
            if name is not None and (
                (kind is str and len(value) <= MAX_VALUE_BYTES and value.isascii())
                or kind is bool
                or (kind is int and INT64_MIN <= value <= INT64_MAX)
                or (kind is float and isfinite(value))
            ):
                made.leaves += 1
                if declared is not None:
                    value, fitted = fitting(declared, value)
                    if fitted is not None:
                        made.declared[name] = fitted
                values[name] = value
            elif value is MISSING:
                continue
            elif entry.node is not None:
                made.top(entry.node, value)
            elif entry.spread is not None:
                names = names or NameScope(self.names)
                _spread(made, entry.spread, value, names)
        if self.skipped is not None and not record.keys() <= self.skipped:
            names = names or NameScope(self.names)
            for column, value in _unplanned(record, self.skipped):
                if column.startswith("_sdc_"):
                    continue
                if column == "properties":
                    _spread(made, Scope({}, frozenset(), self.names), value, names)
                else:
                    name = names.take(column)
                    made.top(Node(name, name), value)
        return made


Way: TypeAlias = "tuple[str | None, str | None, str | None, Entry]"
"""How an entry is read: its source as a key of the record (None where it has to be asked for its value),
its property's name and the type to declare (both None for a column that is spread), and the entry."""


def ways_of(entries: tuple[Entry, ...]) -> tuple[Way, ...]:
    """What is needed of each entry for most values."""
    return tuple(
        (entry.key, entry.node.name, entry.node.declared, entry)
        if entry.node
        else (entry.key, None, None, entry)
        for entry in entries
    )


def _unplanned(holder: dict[str, Any], planned: Collection[str]) -> list[tuple[str, Any]]:
    return [(str(key), value) for key, value in holder.items() if key not in planned]


def _spread(made: Properties, scope: Scope, value: Any, names: NameScope) -> None:
    """Writes the parts of an object as top-level properties; what is no object, under its name."""
    if not isinstance(value, dict):
        if value is not None:
            name = names.take("properties")
            made.top(Node(name, name), value)
        return
    for column, node in scope.nodes.items():
        if column in value:
            made.top(node, value[column])
    for column, inner in scope.further(value):
        name = names.take(column)
        made.top(Node(name, name), inner)


def _too_long(path: str) -> Rejection:
    message = (
        f"a property name has {len(path)} characters, Fullstory takes {MAX_NAME_LENGTH}: "
        f"{path[:60]}…"
    )
    return Rejection("property_name_too_long", message)
