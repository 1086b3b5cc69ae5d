"""Properties of a record in a dictionary, as far as they are not written by generated code."""

from __future__ import annotations

from typing import Any

from target_fullstory.mapping.plan.property_plan import Node, PropertyPlan, Scope
from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH
from target_fullstory.mapping.rules.declared_types import fitting
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, NameScope, name_too_long
from target_fullstory.mapping.rules.property_values import LEFT_OUT, leaf_of

_NOTHING_KNOWN = Scope({}, frozenset(), NameScope())


class PropertyWriter:
    """Writes one record's properties.

    Attributes:
        values: The request's `properties`.
        declared: The request's `schema.properties`: full name, with dots for what is nested, to type.
        nested: How many properties there are beyond the names in `values`, those within objects counted each.
    """

    __slots__ = ("_dropped", "_names", "_plan", "_undeclared", "declared", "nested", "values")

    def __init__(self, plan: PropertyPlan, dropped: list[str], undeclared: list[str]) -> None:
        self.values: dict[str, Any] = {}
        self.declared: dict[str, str] = {}
        self.nested = 0
        self._plan = plan
        self._dropped = dropped
        self._undeclared = undeclared
        self._names: NameScope | None = None

    def top(self, node: Node, value: Any) -> None:
        """Write a top-level property, be it null."""
        if value is not None:
            self.write(self.values, node, value, 1)
        elif self._plan.send_nulls:
            if len(node.path) > MAX_NAME_LENGTH:
                raise name_too_long(node.path)
            self.values[node.name] = None

    def write(self, target: dict[str, Any], node: Node, value: Any, depth: int) -> None:
        """Write a value other than null to an object of the request."""
        path = node.path
        if len(path) > MAX_NAME_LENGTH:
            raise name_too_long(path)
        if isinstance(value, dict):
            if depth >= MAX_DEPTH:
                self._dropped.append(path)
            else:
                target[node.name] = self._object(node, value, depth)
            return
        value = leaf_of(value)
        if value is LEFT_OUT:
            self._dropped.append(path)
            return
        if node.declared is not None:
            value, fitted = fitting(node.declared, value, self._plan.zone)
            if fitted is None:
                self._undeclared.append(path)
            elif not node.silent:
                self.declared[path] = fitted
        target[node.name] = value

    def spread(self, scope: Scope, value: Any) -> None:
        """Write the parts of an object as top-level properties; what is no object, under its name."""
        if not isinstance(value, dict):
            if value is not None:
                self._further("properties", value)
            return
        for column, node in scope.nodes.items():
            if column in value:
                self.top(node, value[column])
        for column, part in scope.further(value):
            self._further(column, part)

    def rest(self, record: dict[str, Any], planned: frozenset[str]) -> None:
        """Write the columns that are not in the SCHEMA."""
        for column in [name for name in record if name not in planned]:
            if column == "properties":
                self.spread(_NOTHING_KNOWN, record[column])
            elif not str(column).startswith("_sdc_"):
                self._further(str(column), record[column])

    def _further(self, column: str, value: Any) -> None:
        """Write a column whose name is taken record by record."""
        if self._names is None:
            self._names = NameScope(self._plan.names)
        name = self._names.take(column)
        self.top(Node(name, name), value)

    def _object(self, node: Node, value: dict[str, Any], depth: int) -> dict[str, Any]:
        """An object without its nulls; an empty one stays, and is sent as such."""
        scope = node.scope or _NOTHING_KNOWN
        inner: dict[str, Any] = {}
        for column, child in scope.nodes.items():
            part = value.get(column)
            if part is not None:
                self.write(inner, child, part, depth + 1)
        self.further(inner, node, value, depth)
        self.nested += len(inner) - 1
        return inner

    def further(self, inner: dict[str, Any], node: Node, value: dict[str, Any], depth: int) -> None:
        """Write the columns of an object that are not in the SCHEMA."""
        scope = node.scope or _NOTHING_KNOWN
        names: NameScope | None = None
        for column, part in scope.further(value):
            names = names or NameScope(scope.names)
            name = names.take(column)
            if part is not None:
                self.write(inner, Node(name, f"{node.path}.{name}"), part, depth + 1)
