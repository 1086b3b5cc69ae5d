"""Where a value comes from: a column, a constant, or what is made of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from target_fullstory.mapping.plan.schema_shapes import is_index
from target_fullstory.mapping.rules.property_values import LEFT_OUT, text_of
from target_fullstory.mapping.rules.timestamps import unix_seconds_of, written_seconds


class Missing:
    """The type of `MISSING`."""


MISSING: Final = Missing()
"""What reading a column gives where the record does not have it; null is None."""


class Column(msgspec.Struct, frozen=True):
    """A column, or a value inside a nested object or array."""

    # The keys that lead to it, for an array's items `0`, `1` and so on; one in a free-form object may itself
    # be a path, see `steps_to`.
    steps: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...] | None:
        """The keys of objects that lead to it; None where a step may be a path or the item of an array."""
        odd = any("." in step for step in self.steps) or any(map(is_index, self.steps[1:]))
        return None if odd else self.steps

    def read(self, record: dict[str, Any]) -> Any:
        """The column's value, `MISSING` where the record has none."""
        node: Any = record
        for step in self.steps:
            node = node[step] if type(node) is dict and step in node else _find(node, step)
        return node


def _find(node: Any, name: str) -> Any:
    """Looks a name up in an object, as it stands first, then as a path, or in an array."""
    head, dot, tail = name.partition(".")
    if isinstance(node, dict):
        if name in node:
            return node[name]
        return _find(node.get(head, MISSING), tail) if dot else MISSING
    if isinstance(node, (list, tuple)) and is_index(head) and int(head) < len(node):
        return _find(node[int(head)], tail) if dot else node[int(head)]
    return MISSING


class Const(msgspec.Struct, frozen=True):
    """The same value for every record."""

    value: Any

    def read(self, record: dict[str, Any]) -> Any:  # noqa: ARG002 - sources are read alike
        """The value."""
        return self.value


class UnixSeconds(msgspec.Struct, frozen=True):
    """A moment in whole seconds since 1970, those begun not counted."""

    moment: Column | Template  # where the moment comes from, in any form that `timestamp_of` takes
    # Whether the seconds are written as ISO 8601, for a field that takes a moment: as a number those of a
    # distant year would be taken for milliseconds.
    written: bool = False

    def read(self, record: Any) -> Any:
        """The seconds; `MISSING` where there is no value, `LEFT_OUT` where it is no moment."""
        value = self.moment.read(record)
        if value is None or value is MISSING:
            return MISSING
        seconds = unix_seconds_of(value)
        if seconds is None:
            return LEFT_OUT
        return (written_seconds(seconds) or LEFT_OUT) if self.written else seconds


class Template(msgspec.Struct, frozen=True):
    """Text with columns in it."""

    parts: tuple[str | Column | UnixSeconds, ...]  # literal texts and sources, in order

    def read(self, record: Any) -> Any:
        """The text.

        Returns:
            `MISSING` where one of the columns is absent, null or empty, `LEFT_OUT` where one has a
            value that cannot be written as text.
        """
        texts: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            value = part.read(record)
            if value is None or value is MISSING or value == "":
                return MISSING
            text = text_of(value)
            if text is None:
                return LEFT_OUT
            texts.append(text)
        return "".join(texts)


class ListOf(msgspec.Struct, frozen=True):
    """A list with one item per source."""

    items: tuple[Source, ...]

    def read(self, record: Any) -> list[Any]:
        """The list, without what is absent or null."""
        values = [item.read(record) for item in self.items]
        return [value for value in values if value is not None and value is not MISSING]


class ObjectOf(msgspec.Struct, frozen=True):
    """An object with one member per source."""

    members: tuple[tuple[str, Source], ...]  # key and source, in order

    def read(self, record: Any) -> dict[str, Any]:
        """The object, without the members that are absent or null."""
        values = [(key, source.read(record)) for key, source in self.members]
        return {key: value for key, value in values if value is not None and value is not MISSING}


Source: TypeAlias = Column | Const | Template | UnixSeconds | ListOf | ObjectOf


def columns_in(source: Source) -> list[Column]:
    """The columns that a source reads."""
    found: list[Column] = []

    def note(column: Column) -> Column:
        found.append(column)
        return column

    with_columns(source, note)
    return found


def with_columns(source: Any, swap: Callable[[Column], Any]) -> Any:
    """The source with something else that is read in place of each of its columns."""
    if isinstance(source, Column):
        return swap(source)
    if isinstance(source, UnixSeconds):
        return UnixSeconds(with_columns(source.moment, swap), source.written)
    if isinstance(source, Template):
        return Template(tuple(with_columns(part, swap) for part in source.parts))
    if isinstance(source, ListOf):
        return ListOf(tuple(with_columns(item, swap) for item in source.items))
    if isinstance(source, ObjectOf):
        return ObjectOf(tuple((key, with_columns(one, swap)) for key, one in source.members))
    return source
