"""Lists that templates make, of many records at once, for the fast path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.fast.columns import NotFastError, pull
from target_fullstory.mapping.fast.properties import FITTING, object_of
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
from target_fullstory.mapping.plan.sources import (
    Column,
    Const,
    ListOf,
    ObjectOf,
    Source,
    Template,
    UnixSeconds,
)
from target_fullstory.mapping.rules.property_values import LEFT_OUT, MAX_VALUE_BYTES, leaf_of

if TYPE_CHECKING:
    from target_fullstory.mapping.plan.schema_shapes import Shape

_ESCAPED = 6
"""The most bytes of a character in JSON."""
_NUMBER_BYTES = 32
"""More than a number takes in JSON, with its comma."""


def use_list(source: ListOf, declared: str | None, root: Use, shape: Shape) -> None:
    """Notes how a list uses the columns of a SCHEMA.

    Args:
        source: The list.
        declared: The type it is declared with.
        root: The uses of the SCHEMA's columns.
        shape: The SCHEMA's shape.

    Raises:
        Uncovered: It could be too large, or does not surely fit its declared type.
    """
    if _is_structured(source):
        _use_all(source, root, shape, Want(), SAFE_CHARACTERS)
        return
    constants = [item.value for item in source.items if isinstance(item, Const)]
    left = MAX_VALUE_BYTES - len(msgspec.json.encode(constants)) - len(source.items)
    share = left // (len(source.items) - len(constants))
    if share < _NUMBER_BYTES:
        raise Uncovered
    element = None if declared is None else declared.removesuffix("s")
    for item in source.items:
        if isinstance(item, Const):
            _fitted(item, element)
        elif element is not None and not _may_fit(item, element):
            raise Uncovered
    want = Want() if element is None else FITTING[element]
    _use_all(source, root, shape, want, share // _ESCAPED - 1)


def _is_structured(source: ListOf) -> bool:
    """Whether there are lists or objects in a list, so that it becomes a JSON text."""
    return any(
        isinstance(item, ListOf | ObjectOf)
        or (isinstance(item, Const) and isinstance(item.value, list | dict))
        for item in source.items
    )


def _may_fit(item: Source, element: str) -> bool:
    """Whether what is no constant always fits the type; a column is asked for what does."""
    if isinstance(item, UnixSeconds):
        return element in ("int", "real")
    return isinstance(item, Column) or element in ("str", "date")


def _fitted(item: Const, element: str | None) -> Any:
    """A constant as it is sent in a list."""
    value = leaf_of(item.value)
    if value is LEFT_OUT:
        raise Uncovered
    value, fitted = fitting(element, value)
    if fitted != element:
        raise Uncovered
    return value


def _use_all(source: Source, root: Use, shape: Shape, want: Want, longest: int) -> None:
    """Notes the columns of a source within a list."""
    if isinstance(source, ListOf):
        for item in source.items:
            _use_all(item, root, shape, want, longest)
    elif isinstance(source, ObjectOf):
        for _, member in source.members:
            _use_all(member, root, shape, want, longest)
    elif isinstance(source, Column):
        root.at(source.steps, shape).take(want.and_also(Want(longest=longest)))
    elif isinstance(source, UnixSeconds):
        use_seconds(source, root, shape, null=True)
    elif isinstance(source, Template):
        use_template(source, root, shape, longest, Want())


def list_reader(
    source: ListOf, declared: str | None, record: Record, shape: Shape
) -> tuple[Reader, str | None]:
    """Makes what reads a list as a property.

    Args:
        source: The list.
        declared: The type that is to be declared.
        record: The Struct of the records.
        shape: The SCHEMA's shape.

    Returns:
        The reader, and the type that is declared with its values.
    """
    if _is_structured(source):
        return _json_texts(_raw(source, record, shape)), None
    element = None if declared is None else declared.removesuffix("s")
    readers = [
        _constant(_fitted(item, element)) if isinstance(item, Const) else _raw(item, record, shape)
        for item in source.items
    ]
    return _lists(readers), declared


def _raw(source: Source, record: Record, shape: Shape) -> Reader:
    """Reads a source as it is, objects as Structs."""
    if isinstance(source, Const):
        return _constant(source.value)
    if isinstance(source, ListOf):
        return _lists([_raw(item, record, shape) for item in source.items])
    if isinstance(source, ObjectOf):
        struct = object_of([name for name, _ in source.members])
        members = [_raw(member, record, shape) for _, member in source.members]
        return lambda records: list(map(struct, *[read(records) for read in members]))
    if isinstance(source, UnixSeconds):
        return seconds(source, record, shape)
    if isinstance(source, Template):
        return texts(source, record, shape, blanks=True)
    found = record.find(source.steps)
    return nothing if found is None else pull(found[0])


def _constant(value: Any) -> Reader:
    return lambda records: [value] * len(records)


def _lists(readers: list[Reader]) -> Reader:
    """Reads lists, without the items that are null."""

    def lists(records: list[Any]) -> list[Any]:
        columns = [read(records) for read in readers]
        rows = zip(*columns, strict=True)
        if not any(None in column for column in columns):
            return list(map(list, rows))
        return [[value for value in row if value is not None] for row in rows]

    return lists


def _json_texts(read: Reader) -> Reader:
    """Reads lists as JSON.

    Raises:
        NotFastError: One is too large.
    """

    def json_texts(records: list[Any]) -> list[Any]:
        encoded = list(map(msgspec.json.encode, read(records)))
        if max(map(len, encoded)) > MAX_VALUE_BYTES:
            raise NotFastError
        return list(map(bytes.decode, encoded))

    return json_texts
