"""The properties of many records at once, for the fast path."""

from __future__ import annotations

from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.fastcolumns import Declared, field_path, getter
from target_fullstory.mapping.fasttypes import Record, Uncovered, Use
from target_fullstory.mapping.fastvalues import Want
from target_fullstory.mapping.names import MAX_NAME_LENGTH
from target_fullstory.mapping.planning import shape_at
from target_fullstory.mapping.schemas import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_fullstory.mapping.properties import Node, PropertyPlan

_NONE = Want(types=frozenset())
_ANY = Want(lists=True)
_DECLARED = {
    "int": Want(types=frozenset({"integer"}), lists=True),
    "real": Want(types=frozenset({"number"}), lists=True),
    "bool": Want(types=frozenset({"boolean"}), lists=True),
    "str": Want(types=frozenset({"string"}), lists=True),
    "date": Want(types=frozenset({"string"}), lists=True, shortest=1),
}


def _planned(plan: PropertyPlan) -> Iterator[tuple[tuple[str, ...], Node]]:
    """The top-level properties with the keys that lead to their columns, in the order sent."""
    for entry in plan.entries:
        if entry.node is not None:
            yield entry.source.steps, entry.node
        elif entry.spread is not None:
            for column, node in entry.spread.nodes.items():
                yield (*entry.source.steps, column), node


def use_properties(plan: PropertyPlan, root: Use, shape: Shape) -> None:
    """Notes how the properties use the columns of a SCHEMA."""
    for entry in plan.entries:
        if entry.spread is not None:
            # Whatever the object holds, even nothing, a record may have it and be fast.
            spread = root.at(entry.source.steps)
            spread.parts = spread.parts or {}
    for steps, node in _planned(plan):
        use = root.at(steps)
        if plan.send_nulls:
            use.null = False
        _use_node(use, node, shape_at(shape, steps))


def _use_node(use: Use, node: Node, shape: Shape) -> None:
    if len(node.path) > MAX_NAME_LENGTH:
        use.take(_NONE)
    elif shape.only != "object":
        declared = node.declared or ""
        use.take(_DECLARED.get(declared) or _DECLARED.get(declared.removesuffix("s"), _ANY))
    elif node.scope is None:
        use.take(_NONE)
    else:
        use.parts = use.parts or {}
        for column, child in node.scope.nodes.items():
            _use_node(use.part(column), child, shape_of((shape.columns or {}).get(column)))


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
        slots: list[tuple[tuple[str, ...], str, str]] = []
        self._converters: dict[int, Callable[[Any], Any]] = {}
        for steps, node in _planned(plan):
            path = field_path(record, steps)
            if path is None:
                continue
            part = record.at(steps)
            converter = None if part is None else _converter(node, part)
            if converter is not None:
                self._converters[len(names)] = converter
            paths.append(".".join(path))
            names.append(node.name)
            slots += _declared(node, path, part)
            self.leaves += _leaves(node, part)
        self._count = len(names)
        self._read = getter(paths)
        self._struct = _struct(names)
        self._declared = Declared(slots)

    def properties(self, records: list[Any]) -> Iterable[Any]:
        """One `properties` per record.

        Raises:
            AttributeError: An object that is spread, or of which a part is a property, is null.
        """
        if not self._count:
            return self._always
        rows = map(self._read, records)
        if not self._converters:
            return starmap(self._struct, rows)
        columns: list[Iterable[Any]] = list(zip(*rows, strict=True))
        for index, converter in self._converters.items():
            columns[index] = map(converter, columns[index])
        return map(self._struct, *columns)

    def schemas(self, records: list[Any]) -> Iterable[msgspec.Raw | None]:
        """One `schema` per record, None where it declares nothing."""
        return self._declared.schemas(records)


def _struct(names: list[str]) -> type[msgspec.Struct]:
    """A Struct of properties, to be made from their values in order."""
    fields = [f"f{index}" for index in range(len(names))]
    return msgspec.defstruct(
        "Properties",
        [(field, Any, None) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        omit_defaults=True,
        gc=False,
    )


def _converter(node: Node, record: Record) -> Callable[[Any], Any] | None:
    """From a decoded object to the one sent; None where they are the same."""
    if node.scope is None:
        raise Uncovered
    children = {
        column: child for column, child in node.scope.nodes.items() if column in record.fields
    }
    converters = {
        index: made
        for index, (column, child) in enumerate(children.items())
        if column in record.parts and (made := _converter(child, record.parts[column])) is not None
    }
    same = list(children) == list(record.fields) and not converters
    if same and all(child.name == column for column, child in children.items()):
        return None
    read = getter([record.fields[column] for column in children])
    struct = _struct([child.name for child in children.values()])

    def convert(value: Any) -> Any:
        if value is None:
            return None
        values = list(read(value))
        for index, converter in converters.items():
            values[index] = converter(values[index])
        return struct(*values)

    return convert


def _declared(
    node: Node, path: tuple[str, ...], record: Record | None
) -> list[tuple[tuple[str, ...], str, str]]:
    """The fields, full name and type of each property to declare, in the order sent."""
    if record is None:
        return [] if node.declared is None else [(path, node.path, node.declared)]
    found = []
    for column, child in (node.scope.nodes if node.scope else {}).items():
        if column in record.fields:
            inner = (*path, record.fields[column])
            found += _declared(child, inner, record.parts.get(column))
    return found


def _leaves(node: Node, record: Record | None) -> int:
    if record is None or node.scope is None:
        return 1
    return sum(
        _leaves(child, record.parts.get(column))
        for column, child in node.scope.nodes.items()
        if column in record.fields
    )
