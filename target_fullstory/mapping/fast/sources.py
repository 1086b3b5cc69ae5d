"""Columns, and texts and Unix seconds made of them, of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from target_fullstory.mapping.fast.columns import decimals, pull
from target_fullstory.mapping.fast.moments import (
    each,
    present_only,
    seconds_of_integers,
    seconds_of_texts,
    seconds_of_values,
    written,
    written_seconds_of_texts,
)
from target_fullstory.mapping.fast.types import Path, Record, Uncovered, Use
from target_fullstory.mapping.fast.values import SAFE_CHARACTERS, Want
from target_fullstory.mapping.plan.property_planner import shape_at
from target_fullstory.mapping.plan.sources import Column, Template, UnixSeconds
from target_fullstory.mapping.rules.property_values import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_fullstory.mapping.plan.schema_shapes import Shape

Reader: TypeAlias = "Callable[[list[Any]], list[Any]]"
"""Reads the values of one destination from many records, null where one has none."""

TEXTS = frozenset({"string", "integer"})
"""What is soon written as text."""
VALUES = frozenset({"string", "integer", "number", "boolean"})
"""What can be written as text at all."""
_MOMENTS = frozenset({"string", "integer", "number"})

_INT64_DIGITS, _DOUBLE_DIGITS = 20, 310


def use_template(template: Template, root: Use, shape: Shape, longest: int, empty: Want) -> None:
    """Notes how a template uses the columns of a SCHEMA.

    Args:
        template: The template.
        root: The uses of the SCHEMA's columns.
        shape: The SCHEMA's shape.
        longest: The most characters that the text may have.
        empty: What its columns may be beside texts: whether null, and the fewest characters.

    Raises:
        Uncovered: The text could be too long.
    """
    literal = sum(len(part) for part in template.parts if isinstance(part, str))
    seconds = [part for part in template.parts if isinstance(part, UnixSeconds)]
    columns = [part for part in template.parts if isinstance(part, Column)]
    left = longest - literal - _INT64_DIGITS * len(seconds)
    share = left // max(len(columns), 1)
    if left < 0 or (columns and share < _INT64_DIGITS):
        raise Uncovered
    for part in seconds:
        use_seconds(part, root, shape, null=empty.null)
    types = VALUES if share >= _DOUBLE_DIGITS else TEXTS
    for column in columns:
        root.at(column.steps, shape).take(empty.and_also(Want(types=types, longest=share)))


def use_seconds(source: UnixSeconds, root: Use, shape: Shape, *, null: bool) -> None:
    """Notes how Unix seconds use the columns of a SCHEMA; arguments and errors as above."""
    if isinstance(source.moment, Template):
        use_template(source.moment, root, shape, SAFE_CHARACTERS, Want(shortest=1, null=null))
    else:
        want = Want(types=_MOMENTS, shortest=1, null=null)
        root.at(source.moment.steps, shape).take(want)


def columns_in(source: Column | Template | UnixSeconds) -> list[Column]:
    """The columns that a source reads."""
    if isinstance(source, Column):
        return [source]
    if isinstance(source, UnixSeconds):
        return columns_in(source.moment)
    return [
        column for part in source.parts if not isinstance(part, str) for column in columns_in(part)
    ]


def nothing(records: list[Any]) -> list[Any]:
    """Null for each record."""
    return [None] * len(records)


def texts(
    source: Column | Template | UnixSeconds, record: Record, shape: Shape, *, blanks: bool = False
) -> Reader:
    """Reads a source as text, null where there is none.

    Args:
        source: The source; one of which no record of the fast path has all columns, reads as null.
        record: The Struct of the records.
        shape: The SCHEMA's shape.
        blanks: Whether a template's columns may hold empty text, with which there is none.
    """
    if isinstance(source, UnixSeconds):
        read_seconds = seconds(source, record, shape)
        return lambda records: present_only(decimals, read_seconds(records))
    paths = _paths(source, record)
    if paths is None:
        return nothing
    if isinstance(source, Template):
        parts = [part for part in source.parts if not isinstance(part, str)]
        read_parts = [texts(part, record, shape) for part in parts]
        if blanks:
            read_parts = [_without_blanks(read) for read in read_parts]
        return _template(source, read_parts)
    read = pull(paths[0])
    only = shape_at(shape, source.steps).only
    if only == "string":
        return read
    write = decimals if only == "integer" else _texts_of
    return lambda records: present_only(write, read(records))


def seconds(source: UnixSeconds, record: Record, shape: Shape) -> Reader:
    """Reads moments in Unix seconds, null where there is none; as above."""
    paths = _paths(source, record)
    if paths is None:
        return nothing
    if isinstance(source.moment, Template):
        read, only = texts(source.moment, record, shape), "string"
    else:
        read, only = pull(paths[0]), shape_at(shape, source.moment.steps).only or ""
    if source.written and only == "string":
        return lambda records: present_only(written_seconds_of_texts, read(records))
    convert = _SECONDS.get(only, seconds_of_values)
    if source.written:
        return lambda records: present_only(written, present_only(convert, read(records)))
    return lambda records: present_only(convert, read(records))


_SECONDS: dict[str, Callable[[list[Any]], list[int]]] = {
    "string": seconds_of_texts,
    "integer": seconds_of_integers,
}


def _paths(source: Column | Template | UnixSeconds, record: Record) -> list[Path] | None:
    """What leads to the source's columns; None where no record of the fast path has them all."""
    found = [record.find(column.steps) for column in columns_in(source)]
    paths = [place[0] for place in found if place is not None]
    return paths if len(paths) == len(found) else None


def _texts_of(values: list[Any]) -> list[str]:
    if set(map(type, values)) <= {str, int}:
        return list(map(str, values))
    return each(text_of, values)


def _without_blanks(read: Reader) -> Reader:
    def without_blanks(records: list[Any]) -> list[Any]:
        column = read(records)
        return [text or None for text in column] if "" in column else column

    return without_blanks


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
        read = column(records)
        if None not in read:
            return list(map(prefix.__add__, read))
        return [None if text is None else prefix + text for text in read]

    return prefixed
