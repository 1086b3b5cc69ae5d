"""How a plan uses the columns of a SCHEMA, for their types."""

from __future__ import annotations

from typing import Any

from target_fullstory.mapping.plan.json_form import members_of
from target_fullstory.mapping.plan.property_plan import Node
from target_fullstory.mapping.plan.schema_shapes import Shape, is_index, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column, ObjectOf, Source, columns_in
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.record_type import UntypedError, Use, use_at


def uses_of(plan: StreamPlan) -> Use:
    """The uses of the SCHEMA's columns.

    Raises:
        UntypedError: A group of fields may be an item of an array.
    """
    root, shape = Use(parts={}), shape_of(plan.schema)
    for field in plan.fields:
        for column in columns_in(field.source):
            use_at(root, plan.schema, column.steps).plain = True
    for entry in plan.properties.entries:
        if entry.node is not None:
            _use_property(root, plan.schema, entry.source, entry.node)
        elif entry.spread is not None and isinstance(entry.source, Column):
            use = use_at(root, plan.schema, entry.source.steps)
            # Whatever the object holds, even nothing, a record may have it.
            use.parts = use.parts or {}
            for name, node in entry.spread.nodes.items():
                column = Column((*entry.source.steps, name))
                _use_property(root, plan.schema, column, node)
    for group in plan.groups:
        if any(map(is_index, group.column.steps[1:])):
            raise UntypedError
        use = use_at(root, plan.schema, group.column.steps)
        _use_group(use, group.known, shape_of(schema_at(shape, group.column.steps)))
    return root


def _use_property(root: Use, schema: Any, source: Source, node: Node) -> None:
    if isinstance(source, Column):
        shape = shape_of(schema_at(shape_of(schema), source.steps))
        _use_node(use_at(root, schema, source.steps), node, shape)
    elif isinstance(source, ObjectOf) and node.scope is not None:
        for name, member in members_of(source):
            _use_property(root, schema, member, node.scope.nodes[name])
    else:
        for column in columns_in(source):
            use_at(root, schema, column.steps).plain = True


def _use_node(use: Use, node: Node, shape: Shape) -> None:
    if shape.only != "object" or node.scope is None:
        use.plain = True
        return
    use.parts = use.parts or {}
    for column, child in node.scope.nodes.items():
        _use_node(use.part(column), child, shape_of((shape.columns or {}).get(column)))


def _use_group(use: Use, known: dict[str, Any], shape: Shape) -> None:
    """Note the keys of an object that is a whole group of fields; those without a place must be null."""
    if shape.only != "object":
        use.void = True
        return
    use.parts = use.parts or {}
    for column, schema in (shape.columns or {}).items():
        if column not in known:
            use.part(column).void = True
        elif known[column]:
            _use_group(use.part(column), known[column], shape_of(schema))
