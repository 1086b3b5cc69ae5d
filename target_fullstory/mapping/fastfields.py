"""Fullstory's own fields of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from target_fullstory.mapping.fastcolumns import NotFastError, field_path, moments, pull
from target_fullstory.mapping.fasttypes import Record, Uncovered, Use
from target_fullstory.mapping.fastvalues import Want
from target_fullstory.mapping.planning import shape_at
from target_fullstory.mapping.sources import Column, Const, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.mapping.fields import Field
    from target_fullstory.mapping.schemas import Shape

Reader: TypeAlias = "Callable[[list[Any]], list[Any]]"
"""Reads the values of one destination from many records, null where one has none."""

_TEXTS = frozenset({"string", "integer"})
_VALUES = frozenset({"string", "integer", "number", "boolean"})
_LONG = 2**31 - 1
_INT64_DIGITS = 20


def use_field(field: Field, root: Use, *, required: bool) -> None:
    """Notes how a field uses the columns of a SCHEMA.

    Args:
        field: The field.
        root: The uses of the SCHEMA's columns.
        required: Whether a record without the field is not fast.

    Raises:
        Uncovered: The field's text could be too long.
    """
    source = field.source
    if isinstance(source, Const):
        return
    if isinstance(source, Column):
        types = _TEXTS if field.destination.text else _VALUES
        longest = field.destination.limit or _LONG
        want = Want(types=types, shortest=1, longest=longest, null=not required)
        root.at(source.steps).take(want)
        return
    columns = [part for part in source.parts if isinstance(part, Column)]
    literal = sum(len(part) for part in source.parts if isinstance(part, str))
    longest = ((field.destination.limit or _LONG) - literal) // len(columns)
    if longest < _INT64_DIGITS:
        raise Uncovered
    for column in columns:
        want = Want(types=_TEXTS, shortest=1, longest=longest, null=not required)
        root.at(column.steps).take(want)


def reader(field: Field, record: Record, shape: Shape, *, required: bool) -> Reader:
    """Makes what reads a field's values.

    Raises:
        Uncovered: It is required, but no record of the fast path has it.
    """
    source = field.source
    if isinstance(source, Const):
        constant = field.destination.convert(source.value)
        return lambda records: [constant] * len(records)
    columns = (source,) if isinstance(source, Column) else source.parts
    paths = [field_path(record, part.steps) for part in columns if isinstance(part, Column)]
    if None in paths:
        if required:
            raise Uncovered
        return lambda records: [None] * len(records)
    known = [path for path in paths if path is not None]
    if isinstance(source, Template):
        read = _template(source, known)
    else:
        read = _column(field, known[0], shape_at(shape, source.steps))
    # A required column of the top level is there, or its record would not have been decoded.
    if not required or all(len(path) == 1 for path in known):
        return read

    def checked(records: list[Any]) -> list[Any]:
        values = read(records)
        if None in values:
            raise NotFastError
        return values

    return checked


def _column(field: Field, path: tuple[str, ...], shape: Shape) -> Reader:
    read = pull(path)
    only_text = shape.only == "string"
    if field.destination.text:
        if only_text:
            return lambda records: list(read(records))
        return lambda records: [None if value is None else str(value) for value in read(records)]
    if field.destination.path == ("timestamp",) and only_text:
        return lambda records: moments(read(records))
    convert = field.destination.convert

    def converted(records: list[Any]) -> list[Any]:
        values: list[Any] = []
        for value in read(records):
            values.append(None if value is None else convert(value))
            if values[-1] is None and value is not None:
                raise NotFastError
        return values

    return converted


def _template(source: Template, paths: list[tuple[str, ...]]) -> Reader:
    pulls = [pull(path) for path in paths]
    text = "".join(
        part.replace("%", "%%") if isinstance(part, str) else "%s" for part in source.parts
    )
    if len(pulls) == 1:
        single = pulls[0]
        return lambda records: [
            None if value is None else text % value for value in single(records)
        ]
    return lambda records: [
        None if None in values else text % values
        for values in zip(*(read(records) for read in pulls), strict=True)
    ]
