"""Custom properties: planned from the SCHEMA once, read from each record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.declarations import fitting
from target_fullstory.mapping.names import MAX_NAME_LENGTH, NameScope
from target_fullstory.mapping.result import Rejection
from target_fullstory.mapping.schemas import MAX_DEPTH
from target_fullstory.mapping.sources import MISSING, Column
from target_fullstory.mapping.values import LEFT_OUT, leaf_of

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


class Entry(msgspec.Struct, frozen=True):
    """A top-level property and its source, or an object column whose parts are top-level.

    Attributes:
        source: Where the value comes from.
        node: The property; None for a spread column.
        spread: The parts of a spread column.
    """

    source: Column
    node: Node | None = None
    spread: Scope | None = None


class Properties(msgspec.Struct):
    """A record's properties.

    Attributes:
        values: The request's `properties`.
        declared: The request's `schema.properties`: full name, with dots for what is nested, to
            type.
        leaves: How many properties there are, counting each value within objects.
    """

    values: dict[str, Any] = {}
    declared: dict[str, str] = {}
    leaves: int = 0


class PropertyPlan(msgspec.Struct, frozen=True):
    """How a stream's records give properties.

    Attributes:
        entries: The planned properties, in the order sent.
        names: The names they took.
        skipped: Columns that are no properties, or planned ones; None where columns that the
            SCHEMA does not tell are not sent.
        send_nulls: Whether a top-level null is sent.
    """

    entries: tuple[Entry, ...]
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
        writer = _Writer(Properties(), dropped, send_nulls=self.send_nulls)
        # Names of columns that only the record tells are taken record by record.
        names = _Names(self.names)
        for entry in self.entries:
            value = entry.source.read(record)
            if value is MISSING:
                continue
            if entry.node is not None:
                writer.top(entry.node, value)
            elif entry.spread is not None:
                _spread(writer, entry.spread, value, names)
        if self.skipped is not None:
            for column, value in _unplanned(record, self.skipped):
                if column.startswith("_sdc_"):
                    continue
                if column == "properties":
                    _spread(writer, Scope({}, frozenset(), self.names), value, names)
                else:
                    name = names.take(column)
                    writer.top(Node(name, name), value)
        return writer.properties


class _Names:
    """A scope's names, copied when the first further one is taken."""

    def __init__(self, planned: NameScope) -> None:
        self._planned = planned
        self._own: NameScope | None = None

    def take(self, column: str) -> str:
        if self._own is None:
            self._own = self._planned.copy()
        return self._own.take(column)


def _unplanned(holder: dict[str, Any], planned: Collection[str]) -> Iterator[tuple[str, Any]]:
    for key, value in holder.items():
        if key not in planned:
            yield str(key), value


def _spread(writer: _Writer, scope: Scope, value: Any, names: _Names) -> None:
    """Writes the parts of an object as top-level properties; what is no object, under its name."""
    if not isinstance(value, dict):
        if value is not None:
            name = names.take("properties")
            writer.top(Node(name, name), value)
        return
    for column, node in scope.nodes.items():
        if column in value:
            writer.top(node, value[column])
    for column, inner in _unplanned(value, scope.nodes.keys() | scope.skipped):
        name = names.take(column)
        writer.top(Node(name, name), inner)


class _Writer:
    """Collects one record's properties."""

    def __init__(self, properties: Properties, dropped: list[str], *, send_nulls: bool) -> None:
        self.properties = properties
        self._dropped = dropped
        self._send_nulls = send_nulls

    def top(self, node: Node, value: Any) -> None:
        if value is not None:
            self._write(self.properties.values, node, value, 1)
        elif self._send_nulls:
            _check_length(node.path)
            self.properties.values[node.name] = None
            self.properties.leaves += 1

    def _write(self, target: dict[str, Any], node: Node, value: Any, depth: int) -> None:
        _check_length(node.path)
        if isinstance(value, dict):
            if depth >= MAX_DEPTH:
                self._dropped.append(node.path)
                return
            target[node.name] = self._object(node, value, depth)
            return
        leaf = leaf_of(value)
        if leaf is LEFT_OUT:
            self._dropped.append(node.path)
            return
        leaf, declared = fitting(node.declared, leaf)
        target[node.name] = leaf
        self.properties.leaves += 1
        if declared is not None:
            self.properties.declared[node.path] = declared

    def _object(self, node: Node, value: dict[str, Any], depth: int) -> dict[str, Any]:
        """An object without its nulls; an empty one stays, and is sent as such."""
        scope = node.scope or Scope({}, frozenset(), NameScope())
        inner: dict[str, Any] = {}
        for column, child in scope.nodes.items():
            part = value.get(column)
            if part is not None:
                self._write(inner, child, part, depth + 1)
        names = _Names(scope.names)
        for column, part in _unplanned(value, scope.nodes.keys() | scope.skipped):
            name = names.take(column)
            if part is not None:
                self._write(inner, Node(name, f"{node.path}.{name}"), part, depth + 1)
        return inner


def _check_length(path: str) -> None:
    if len(path) > MAX_NAME_LENGTH:
        message = (
            f"a property name has {len(path)} characters, Fullstory takes {MAX_NAME_LENGTH}: "
            f"{path[:60]}…"
        )
        raise Rejection("property_name_too_long", message)
