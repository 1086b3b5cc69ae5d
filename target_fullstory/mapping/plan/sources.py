"""Where a value comes from: a column, a constant, or what is made of these."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final, Literal, TypeAlias

import msgspec

from target_fullstory.mapping.plan.schema_shapes import is_index
from target_fullstory.mapping.rules.casts import Cast
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
    def path(self) -> str:
        """The column as a mapping names it."""
        return ".".join(self.steps)

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

    moment: Column | Template | Converted  # where the moment comes from, in a form that `timestamp_of` takes
    # Whether the seconds are written as ISO 8601, for a field that takes a moment: as a number those of a
    # distant year would be taken for milliseconds.
    written: bool = False
    zone: tzinfo | None = None  # the time zone of moments without one; None for UTC

    def read(self, record: Any) -> Any:
        """The seconds; `MISSING` where there is no value, `LEFT_OUT` where it is no moment."""
        value = self.moment.read(record)
        if value is None or value is MISSING:
            return MISSING
        seconds = unix_seconds_of(value, self.zone)
        if seconds is None:
            return LEFT_OUT
        return (written_seconds(seconds) or LEFT_OUT) if self.written else seconds


class Template(msgspec.Struct, frozen=True):
    """Text with columns in it."""

    parts: tuple[str | Column | UnixSeconds | Converted, ...]  # literal texts and sources, in order

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


class Coalesce(msgspec.Struct, frozen=True):
    """The first of several columns that has a value."""

    columns: tuple[Column, ...]
    trim: bool = False  # whether text of blanks alone is no value

    def read(self, record: Any) -> Any:
        """The value; None or `MISSING` where each of them is null, absent or empty text."""
        found: Any = MISSING
        for column in self.columns:
            value = column.read(record)
            if value is None:
                found = None
            elif (
                value is not MISSING and (value.strip() if self.trim and type(value) is str else value) != ""
            ):
                return value
        return found


class Conversion(msgspec.Struct, frozen=True):
    """What is made of a value: its parts apply in this order."""

    trim: bool = False  # text loses the blanks around it
    case: Literal["lower", "upper"] | None = None
    entries: dict[str, Any] | None = None  # by the value as text, what takes its place
    cast: Cast | None = None
    default: Any = None  # in place of what is null, absent, empty text, or has no entry

    def apply(self, value: Any) -> Any:
        """The value converted, `LEFT_OUT` where it cannot be; null and `MISSING` stay without a default."""
        if isinstance(value, str):
            value = value.strip() if self.trim else value
            value = getattr(value, self.case)() if self.case else value
        listed = self.entries is not None and value == "" and "" in self.entries
        if value is None or value is MISSING or (value == "" and not listed):
            return self._nothing(value) if self.default is None else self.default
        if value is LEFT_OUT:
            return value
        if self.entries is not None:
            text = "" if value == "" else text_of(value)
            missing = LEFT_OUT if self.default is None else self.default
            return missing if text is None else self.entries.get(text, missing)
        return value if self.cast is None else self.cast.apply(value)

    def _nothing(self, value: Any) -> Any:
        if value != "":
            return value
        if self.cast is not None and self.cast.type in ("str", "bool"):
            return self.cast.apply(value)
        return value if self.cast is None and self.entries is None else MISSING


class Converted(msgspec.Struct, frozen=True):
    """A value that is converted."""

    source: Column | Template | Coalesce | UnixSeconds | ListOf | Converted
    by: Conversion

    def read(self, record: Any) -> Any:
        """The value; see `Conversion.apply`."""
        return self.by.apply(self.source.read(record))


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


Source: TypeAlias = Column | Const | Template | UnixSeconds | Coalesce | Converted | ListOf | ObjectOf


def columns_in(source: Source) -> list[Column]:
    """The columns that a source reads."""
    found: list[Column] = []

    def note(column: Column) -> Column:
        found.append(column)
        return column

    with_columns(source, note)
    return found


def column_of(source: Source) -> str | None:
    """The path of the column that a source reads; None where that is no single one."""
    paths = {column.path for column in columns_in(source)}
    return paths.pop() if len(paths) == 1 else None


def with_columns(source: Any, swap: Callable[[Column], Any]) -> Any:
    """The source with something else that is read in place of each of its columns."""
    if isinstance(source, Column):
        return swap(source)
    if isinstance(source, tuple):
        return tuple(with_columns(part, swap) for part in source)
    if not isinstance(source, msgspec.Struct):
        return source
    parts = {name: with_columns(getattr(source, name), swap) for name in source.__struct_fields__}
    return msgspec.structs.replace(source, **parts)
