"""Properties that templates make, of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from target_fullstory.mapping.fast.columns import Declared, pull
from target_fullstory.mapping.fast.lists import list_reader, use_list
from target_fullstory.mapping.fast.properties import (
    Made,
    converter_of,
    declared_within,
    leaves_of,
    object_of,
    use_node,
)
from target_fullstory.mapping.fast.sources import (
    Reader,
    nothing,
    seconds,
    texts,
    use_seconds,
    use_template,
)
from target_fullstory.mapping.fast.types import Record, Uncovered, Use
from target_fullstory.mapping.fast.values import SAFE_CHARACTERS, Want
from target_fullstory.mapping.plan.column_types import fitting
from target_fullstory.mapping.plan.json_form import members_of
from target_fullstory.mapping.plan.property_planner import shape_at
from target_fullstory.mapping.plan.sources import (
    Column,
    Const,
    ListOf,
    ObjectOf,
    Source,
    Template,
    UnixSeconds,
)
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH
from target_fullstory.mapping.rules.property_values import LEFT_OUT, leaf_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from target_fullstory.mapping.plan.property_plan import Node, PropertyPlan
    from target_fullstory.mapping.plan.schema_shapes import Shape


def use_templates(plan: PropertyPlan, root: Use, shape: Shape) -> None:
    """Notes how properties of any source use the columns of a SCHEMA.

    Raises:
        Uncovered: A property could be too long, or is made in a way that is not known here.
    """
    for source, node in _planned(plan):
        if plan.send_nulls and isinstance(source, Column):
            root.at(source.steps, shape).null = False
        _use(source, node, root, shape)


def _planned(plan: PropertyPlan) -> Iterator[tuple[Source, Node]]:
    for entry in plan.entries:
        if entry.node is None:
            raise Uncovered
        yield entry.source, entry.node


def _use(source: Source, node: Node, root: Use, shape: Shape) -> None:
    if isinstance(source, Column):
        use_node(root.at(source.steps, shape), node, shape_at(shape, source.steps))
    elif len(node.path) > MAX_NAME_LENGTH:
        raise Uncovered
    elif _is_object(source):
        for member, child in _members(source, node):
            _use(member, child, root, shape)
    elif isinstance(source, ListOf):
        use_list(source, node.declared, root, shape)
    elif isinstance(source, UnixSeconds):
        use_seconds(source, root, shape, null=True)
    elif isinstance(source, Template):
        use_template(source, root, shape, SAFE_CHARACTERS, Want())


def _is_object(source: Source) -> bool:
    is_constant = isinstance(source, Const) and isinstance(source.value, dict)
    return is_constant or isinstance(source, ObjectOf)


def _members(source: Source, node: Node) -> list[tuple[Source, Node]]:
    """The members of an object with their properties."""
    members = members_of(source)
    if members and node.scope is None:
        raise Uncovered  # it is nested too deeply
    nodes = {} if node.scope is None else node.scope.nodes
    return [(member, nodes[name]) for name, member in members]


class _Object(msgspec.Struct, frozen=True):
    """An object to be made: its Struct, and the column or the object of each member."""

    type: type[msgspec.Struct]
    members: list[_Value]

    def make(self, columns: list[list[Any]], count: int) -> list[Any]:
        """As many objects as there are records."""
        values = [
            member.make(columns, count) if isinstance(member, _Object) else columns[member]
            for member in self.members
        ]
        if not values:
            return [self.type()] * count
        return list(map(self.type, *values))


_Value: TypeAlias = int | _Object
"""An object, or the number of a column."""


class TemplateProperties:
    """Makes the `properties` and the `schema` of many records' requests from templates.

    Attributes:
        leaves: The most properties a record can have, those within objects counted.
    """

    def __init__(self, plan: PropertyPlan, record: Record, shape: Shape) -> None:
        self.leaves = 0
        self._record = record
        self._shape = shape
        self._readers: list[Reader] = []
        self._slots: list[tuple[int | None, str, str]] = []
        self._whole = self._object(list(_planned(plan)))
        self._declared = Declared([(name, declared) for _, name, declared in self._slots])

    def read(self, records: list[Any]) -> Made:
        """Makes the properties.

        Raises:
            NotFastError: One of the records needs care.
        """
        columns = [read(records) for read in self._readers]
        declared: list[Sequence[Any]] = [
            () if at is None else columns[at] for at, _, _ in self._slots
        ]
        return self._whole.make(columns, len(records)), self._declared.schemas(declared)

    def _object(self, members: list[tuple[Source, Node]]) -> _Object:
        values = [self._value(source, node) for source, node in members]
        return _Object(object_of([node.name for _, node in members]), values)

    def _value(self, source: Source, node: Node) -> _Value:
        if _is_object(source):
            return self._object(_members(source, node))
        if isinstance(source, Column):
            return self._column(source, node)
        self.leaves += 1
        if isinstance(source, Const):
            return self._constant(source, node)
        if isinstance(source, ListOf):
            read, sent = list_reader(source, node.declared, self._record, self._shape)
        elif isinstance(source, UnixSeconds):
            read, sent = seconds(source, self._record, self._shape), node.declared
        elif isinstance(source, Template):
            read = texts(source, self._record, self._shape, blanks=True)
            sent = node.declared
        else:
            raise Uncovered
        return self._added(read, node.path, sent)

    def _added(self, read: Reader, path: str, declared: str | None) -> int:
        """Adds a column, and the type it is declared with."""
        at = len(self._readers)
        self._readers.append(read)
        if declared is not None:
            self._slots.append((at, path, declared))
        return at

    def _constant(self, source: Const, node: Node) -> int:
        value = leaf_of(source.value)
        if value is LEFT_OUT:
            raise Uncovered
        value, declared = fitting(node.declared, value)
        if declared is not None:
            self._slots.append((None, node.path, declared))
        if isinstance(value, list):
            value = msgspec.Raw(msgspec.json.encode(value))
        return self._added(lambda records: [value] * len(records), node.path, None)

    def _column(self, source: Column, node: Node) -> int:
        found = self._record.find(source.steps)
        if found is None:
            return self._added(nothing, node.path, None)
        path, part = found
        self.leaves += leaves_of(node, part)
        read = pull(path)
        if part is None:
            return self._added(read, node.path, node.declared)
        convert = converter_of(node, part)
        at = self._added(read if convert is None else _converted(read, convert), node.path, None)
        for inner, name, declared in declared_within(node, path, part):
            self._added(pull(inner), name, declared)
        return at


def _converted(read: Reader, convert: Callable[[Any], Any]) -> Reader:
    return lambda records: list(map(convert, read(records)))
