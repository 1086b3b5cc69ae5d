"""The properties of many records at once, for the fast path."""

from __future__ import annotations

from collections import deque
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import msgspec

from target_fullstory.mapping.fast.columns import Declared, getter, pull
from target_fullstory.mapping.fast.types import Path, Record, Uncovered, Use
from target_fullstory.mapping.fast.values import Want
from target_fullstory.mapping.plan.property_planner import shape_at
from target_fullstory.mapping.plan.schema_shapes import Shape, is_index, shape_of
from target_fullstory.mapping.plan.sources import Column
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from target_fullstory.mapping.plan.property_plan import Node, PropertyPlan

Made: TypeAlias = "tuple[Iterable[Any], Iterable[msgspec.Raw | None]]"
"""One `properties` and one `schema` per record, null for a schema that declares nothing."""

_NONE = Want(types=frozenset())
_ANY = Want(lists=True)
FITTING = {
    "int": Want(types=frozenset({"integer"})),
    "real": Want(types=frozenset({"number", "integer"})),
    "bool": Want(types=frozenset({"boolean"})),
    "str": Want(types=frozenset({"string"})),
    "date": Want(types=frozenset({"string"}), shortest=1),
}
"""What fits a declared type; of texts, the shape of a date is looked at where they are read."""


def _planned(plan: PropertyPlan) -> Iterator[tuple[tuple[str, ...], Node]]:
    """The top-level properties with the keys that lead to their columns, in the order sent.

    Raises:
        Uncovered: A property is made by a function.
    """
    for entry in plan.entries:
        if not isinstance(entry.source, Column):
            raise Uncovered
        if entry.node is not None:
            yield entry.source.steps, entry.node
        elif entry.spread is not None:
            for column, node in entry.spread.nodes.items():
                yield (*entry.source.steps, column), node


def use_properties(plan: PropertyPlan, root: Use, shape: Shape) -> None:
    """Notes how properties that are columns use a SCHEMA's."""
    for entry in plan.entries:
        if entry.spread is not None and isinstance(entry.source, Column):
            # Whatever the object holds, even nothing, a record may have it and be fast.
            spread = root.at(entry.source.steps, shape)
            spread.parts = spread.parts or {}
    for steps, node in _planned(plan):
        use = root.at(steps, shape)
        if plan.send_nulls:
            use.null = False
        use_node(use, node, shape_at(shape, steps))


def are_columns(plan: PropertyPlan) -> bool:
    """Whether every property is a column, or lies in objects alone."""
    return all(
        isinstance(entry.source, Column) and not any(map(is_index, entry.source.steps[1:]))
        for entry in plan.entries
    )


def sent_as_decoded(plan: PropertyPlan) -> tuple[str, ...] | None:
    """The columns that could be sent as they are decoded, in the order sent.

    Returns:
        None where some property has another name than its column, or is inside another column.
    """
    planned = list(_planned(plan))
    if all(steps == (node.name,) for steps, node in planned):
        return tuple(node.name for _, node in planned)
    return None


def use_node(use: Use, node: Node, shape: Shape) -> None:
    """Notes how a property uses its column.

    Args:
        use: The column's uses.
        node: The property.
        shape: The column's shape.
    """
    if len(node.path) > MAX_NAME_LENGTH:
        use.take(_NONE)
    elif shape.only != "object":
        use.take(_fitting(node.declared, shape))
    elif node.scope is None:
        use.take(_NONE)
    else:
        use.parts = use.parts or {}
        for column, child in node.scope.nodes.items():
            use_node(use.part(column), child, shape_of((shape.columns or {}).get(column)))


def _fitting(declared: str | None, shape: Shape) -> Want:
    """What can be sent as it is, and fits the declared type."""
    if declared is None:
        return _ANY
    if declared in FITTING:
        return FITTING[declared]
    if shape.only != "array":
        return _NONE
    return msgspec.structs.replace(FITTING[declared[:-1]], lists=True)


class FastProperties:
    """Makes the `properties` and the `schema` of many records' requests.

    Attributes:
        leaves: The most properties a record can have, those within objects counted.
    """

    def __init__(self, plan: PropertyPlan, record: Record) -> None:
        self.leaves = 0
        self._always = repeat(msgspec.Raw(b"{}") if plan.produces else None)
        paths: list[str] = []
        names: list[str] = []
        slots: list[tuple[Path, str, str]] = []
        self._converters: dict[int, Callable[[Any], Any]] = {}
        for steps, node in _planned(plan):
            found = record.find(steps)
            if found is None:
                continue
            path, part = found
            converter = None if part is None else converter_of(node, part)
            if converter is not None:
                self._converters[len(names)] = converter
            paths.append(".".join(map(str, path)))
            names.append(node.name)
            slots += declared_within(node, path, part)
            self.leaves += leaves_of(node, part)
        self._count = len(names)
        self._read = getter(paths)
        self._struct = object_of(names)
        self._declared = Declared([(name, declared) for _, name, declared in slots])
        self._columns = [pull(path) for path, _, _ in slots]
        self._others = None if self._converters else _others(plan, record)

    def read(self, records: list[Any]) -> Made:
        """Makes the properties; to be asked last, the records may be used up by it.

        Raises:
            NotFastError: A value of a date column is no date.
            AttributeError: An object that is spread, or of which a part is a property, is null.
        """
        schemas = self._declared.schemas([read(records) for read in self._columns])
        return self._values(records), schemas

    def _values(self, records: list[Any]) -> Iterable[Any]:
        if not self._count:
            return self._always
        if self._others is not None:
            for field in self._others:
                deque(map(setattr, records, repeat(field), repeat(msgspec.UNSET)), maxlen=0)
            return records
        rows = map(self._read, records)
        if not self._converters:
            return starmap(self._struct, rows)
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for index, converter in self._converters.items():
            columns[index] = map(converter, columns[index])
        return map(self._struct, *columns)


def _others(plan: PropertyPlan, record: Record) -> list[str] | None:
    """The fields to unset so that a decoded record is the `properties` that are sent.

    Returns:
        None where that cannot be, or would take longer than making another object.
    """
    columns = sent_as_decoded(plan)
    if columns is None:
        return None
    sent = [record.fields[column] for column in columns if column in record.fields]
    fields = msgspec.structs.fields(record.type)
    if [field.name for field in fields if field.name in sent] != sent:
        return None
    if any(field.required and _takes_null(field.type) for field in fields if field.name in sent):
        return None  # it would be sent as null
    others = [name for name in record.fields.values() if name not in sent]
    return others if len(others) <= len(sent) else None


def _takes_null(kind: Any) -> bool:
    return kind is Any or type(None) in (kind, *get_args(kind))


def object_of(names: Sequence[str]) -> type[msgspec.Struct]:
    """A Struct of these members, to be made from their values in order; null is not sent."""
    fields = [f"f{index}" for index in range(len(names))]
    return msgspec.defstruct(
        "Properties",
        [(field, Any, None) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        omit_defaults=True,
        gc=False,
    )


def converter_of(node: Node, record: Record) -> Callable[[Any], Any] | None:
    """From a decoded object to the one sent; None where they are the same."""
    if node.scope is None:
        raise Uncovered
    children = {
        column: child for column, child in node.scope.nodes.items() if column in record.fields
    }
    converters = {
        index: made
        for index, (column, child) in enumerate(children.items())
        if column in record.parts
        and (made := converter_of(child, record.parts[column])) is not None
    }
    same = list(children) == list(record.fields) and not converters
    if same and all(child.name == column for column, child in children.items()):
        return None
    read = getter([record.fields[column] for column in children])
    struct = object_of([child.name for child in children.values()])

    def convert(value: Any) -> Any:
        if value is None:
            return None
        values = list(read(value))
        for index, converter in converters.items():
            values[index] = converter(values[index])
        return struct(*values)

    return convert


def declared_within(node: Node, path: Path, record: Record | None) -> list[tuple[Path, str, str]]:
    """The path, full name and type of each property to declare, in the order sent."""
    if record is None:
        return [] if node.declared is None else [(path, node.path, node.declared)]
    found = []
    for column, child in (node.scope.nodes if node.scope else {}).items():
        if column in record.fields:
            inner = (*path, record.fields[column])
            found += declared_within(child, inner, record.parts.get(column))
    return found


def leaves_of(node: Node, record: Record | None) -> int:
    """The most properties that a column gives, those within its objects counted."""
    if record is None or node.scope is None:
        return 1
    return sum(
        leaves_of(child, record.parts.get(column))
        for column, child in node.scope.nodes.items()
        if column in record.fields
    )
