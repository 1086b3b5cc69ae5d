"""Fullstory's own fields of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_fullstory.mapping.fast.columns import NotFastError, pull
from target_fullstory.mapping.fast.moments import (
    each,
    moments,
    moments_of_integers,
    present_only,
)
from target_fullstory.mapping.fast.sources import (
    TEXTS,
    VALUES,
    Reader,
    columns_in,
    nothing,
    seconds,
    texts,
    use_seconds,
    use_template,
)
from target_fullstory.mapping.fast.types import Record, Uncovered, Use
from target_fullstory.mapping.fast.values import Want
from target_fullstory.mapping.plan.property_planner import shape_at
from target_fullstory.mapping.plan.sources import Column, Const, Template, UnixSeconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.mapping.plan.field_plan import Field
    from target_fullstory.mapping.plan.schema_shapes import Shape

_LONG = 2**31 - 1


def use_field(field: Field, root: Use, shape: Shape, *, required: bool) -> None:
    """Notes how a field uses the columns of a SCHEMA.

    Args:
        field: The field.
        root: The uses of the SCHEMA's columns.
        shape: The SCHEMA's shape.
        required: Whether a record without the field is not fast.

    Raises:
        Uncovered: The field's text could be too long, or its source is not known here.
    """
    source = field.source
    longest = field.destination.limit or _LONG
    if isinstance(source, Const):
        return
    if isinstance(source, Column):
        types = TEXTS if field.destination.text else VALUES
        want = Want(types=types, shortest=1, longest=longest, null=not required)
        root.at(source.steps, shape).take(want)
    elif isinstance(source, UnixSeconds):
        use_seconds(source, root, shape, null=not required)
    elif isinstance(source, Template):
        empty = Want(shortest=1, longest=longest, null=not required)
        use_template(source, root, shape, longest, empty)
    else:
        raise Uncovered


def reader(field: Field, record: Record, shape: Shape, *, required: bool) -> Reader:
    """Makes what reads a field's values.

    Raises:
        Uncovered: It is required, but no record of the fast path has it.
    """
    source = field.source
    if isinstance(source, Const):
        constant = field.destination.convert(source.value)
        return lambda records: [constant] * len(records)
    if not isinstance(source, Column | Template | UnixSeconds):
        raise Uncovered
    columns = columns_in(source)
    if any(record.find(column.steps) is None for column in columns):
        if required:
            raise Uncovered
        return nothing
    read = _reader(field, source, record, shape)
    # A required column of the top level is there, or its record would not have been decoded.
    if not required or all(len(column.steps) == 1 for column in columns):
        return read

    def checked(records: list[Any]) -> list[Any]:
        values = read(records)
        if None in values:
            raise NotFastError
        return values

    return checked


def _reader(
    field: Field, source: Column | Template | UnixSeconds, record: Record, shape: Shape
) -> Reader:
    destination = field.destination
    if destination.text:
        return texts(source, record, shape)
    only: str | None = "string"
    if isinstance(source, Template):
        read = texts(source, record, shape)
    elif isinstance(source, UnixSeconds):
        read = seconds(source, record, shape)
        only = "string" if source.written else "integer"
    else:
        found = record.find(source.steps)
        read = nothing if found is None else pull(found[0])
        only = shape_at(shape, source.steps).only
    if destination.path == ("timestamp",) and only in _MOMENTS:
        write = _MOMENTS[only]
        return lambda records: present_only(write, read(records))

    def convert(values: list[Any]) -> list[Any]:
        return each(destination.convert, values)

    return lambda records: present_only(convert, read(records))


_MOMENTS: dict[str | None, Callable[[list[Any]], list[str]]] = {
    "string": moments,
    "integer": moments_of_integers,
}
