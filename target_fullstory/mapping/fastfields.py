"""Fullstory's own fields of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from target_fullstory.mapping.fastcolumns import (
    NotFastError,
    decimals,
    field_path,
    moments,
    pull,
)
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
    parts = (source,) if isinstance(source, Column) else source.parts
    columns = [part for part in parts if isinstance(part, Column)]
    paths = [field_path(record, column.steps) for column in columns]
    if None in paths:
        if required:
            raise Uncovered
        return lambda records: [None] * len(records)
    known = [path for path in paths if path is not None]
    shapes = [shape_at(shape, column.steps) for column in columns]
    if isinstance(source, Template):
        read = _template(source, list(map(_texts, known, shapes)))
    else:
        read = _column(field, known[0], shapes[0])
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
    if field.destination.text:
        return _texts(path, shape)
    read = pull(path)
    if field.destination.path == ("timestamp",) and shape.only == "string":
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


def _texts(path: tuple[str, ...], shape: Shape) -> Reader:
    """Reads a column as text."""
    read = pull(path)
    if shape.only == "string":
        return read
    write = decimals if shape.only == "integer" else _strings

    def texts(records: list[Any]) -> list[Any]:
        values = read(records)
        if None not in values:
            return write(values)
        return [None if value is None else str(value) for value in values]

    return texts


def _strings(values: list[Any]) -> list[str]:
    return list(map(str, values))


def _template(source: Template, columns: list[Reader]) -> Reader:
    first, *rest = source.parts
    if isinstance(first, str) and len(rest) == 1:
        return _prefixed(first, columns[0])
    text = "".join(
        part.replace("%", "%%") if isinstance(part, str) else "%s" for part in source.parts
    )

    def filled(records: list[Any]) -> list[Any]:
        read = [column(records) for column in columns]
        rows = zip(*read, strict=True)
        if not any(None in column for column in read):
            return list(map(text.__mod__, rows))
        return [None if None in row else text % row for row in rows]

    return filled


def _prefixed(prefix: str, column: Reader) -> Reader:
    def prefixed(records: list[Any]) -> list[Any]:
        texts = column(records)
        if None not in texts:
            return list(map(prefix.__add__, texts))
        return [None if text is None else prefix + text for text in texts]

    return prefixed
