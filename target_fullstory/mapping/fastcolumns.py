"""Columns of decoded records, read and checked a chunk at a time.

Everything here works on the values of one column over many records, in calls that stay inside the
interpreter's C code: that is where the fast path has its speed from.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import chain, compress, repeat
from operator import attrgetter, is_, not_
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.timestamps import timestamp_of
from target_fullstory.mapping.values import is_iso_8601

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_fullstory.mapping.fasttypes import Record


class NotFastError(msgspec.ValidationError):
    """A record that has to be mapped carefully."""


_ZEROES = str.maketrans("123456789", "000000000")
_MOMENT = re.compile(r"0000-00-00T00:00:00(?:\.0+)?(?:Z|[+-]00:00)")

_MOST_SCHEMAS = 4096
"""Schemas kept: one per combination of present columns seen."""


def check_dates(texts: Iterable[str]) -> None:
    """Makes sure that texts, none of them empty, have the shape of ISO 8601.

    Raises:
        NotFastError: One has not.
    """
    present = list(texts)
    if not present:
        return
    # Most columns write all their dates alike: then one comparison tells for all.
    shape = present[0].translate(_ZEROES)
    if is_iso_8601(shape) and "".join(present).translate(_ZEROES) == shape * len(present):
        return
    if not all(map(is_iso_8601, present)):
        raise NotFastError


def moments(column: list[str | None]) -> list[str | None]:
    """Timestamps, none of them empty, as the careful path writes them; null stays null.

    Raises:
        NotFastError: One is no timestamp.
    """
    present = [text for text in column if text is not None]
    if not present or _are_moments(present):
        return column
    written = [None if text is None else timestamp_of(text) for text in column]
    if written.count(None) > len(column) - len(present):
        raise NotFastError
    return written


def _are_moments(present: list[str]) -> bool:
    """Whether texts need no rewriting: all written alike, valid, offset and all."""
    shape = present[0].translate(_ZEROES)
    if not _MOMENT.fullmatch(shape):
        return False
    if "".join(present).translate(_ZEROES) != shape * len(present):
        return False
    try:
        msgspec.convert(present, list[datetime])
    except msgspec.ValidationError:
        return False
    return True


def decimals(integers: list[int]) -> list[str]:
    """Integers as text."""
    # Several times as fast as `str` on each of them.
    return msgspec.json.encode(integers).decode()[1:-1].split(",") if integers else []


def getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """An `attrgetter` that gives a tuple for a single name, too."""
    if len(names) == 1:
        single = attrgetter(names[0])
        return lambda record: (single(record),)
    return attrgetter(*names) if names else lambda _: ()


def pull(path: tuple[str, ...]) -> Callable[[list[Any]], list[Any]]:
    """Reads a column; what lies in an object that is null, is null."""
    if len(path) == 1:
        first = attrgetter(path[0])
        return lambda records: list(map(first, records))
    whole = attrgetter(".".join(path))
    steps = [attrgetter(name) for name in path]

    def read(records: list[Any]) -> list[Any]:
        try:
            return list(map(whole, records))
        except AttributeError:
            values = records
        for get in steps:
            values = [None if value is None else get(value) for value in values]
        return values

    return read


def field_path(record: Record | None, steps: tuple[str, ...]) -> tuple[str, ...] | None:
    """The Struct fields that lead to a column; None where no record of the fast path has it."""
    path: list[str] = []
    for step in steps:
        if record is None or step not in record.fields:
            return None
        path.append(record.fields[step])
        record = record.parts.get(step)
    return tuple(path)


class Declared:
    """The `schema` of each request: which declared properties it has.

    Attributes:
        names: The declared properties, in the order they are declared.
    """

    def __init__(self, slots: list[tuple[tuple[str, ...], str, str]]) -> None:
        """Takes the Struct fields, the full name and the type of each declared property."""
        self.names = [(name, declared) for _, name, declared in slots]
        self._columns = [pull(path) for path, _, _ in slots]
        self._dates = [at for at, (_, declared) in enumerate(self.names) if declared == "date"]
        self._lists = [at for at, (_, declared) in enumerate(self.names) if declared == "dates"]
        self._schemas = _Schemas(self.names)
        self._all = self._schemas[(False,) * len(slots)]

    def schemas(self, records: list[Any]) -> Iterable[msgspec.Raw | None]:
        """One schema per record, None where it declares nothing.

        Raises:
            NotFastError: A value of a date column is no date.
        """
        if not self.names:
            return repeat(None)
        columns = [read(records) for read in self._columns]
        for index in self._dates:
            check_dates(filter(None, columns[index]))
        for index in self._lists:
            check_dates(chain.from_iterable(filter(None, columns[index])))
        partial = [None in column for column in columns]
        if not any(partial):
            return repeat(self._all)
        absent = [
            map(is_, column, repeat(None)) if has_null else repeat(False)
            for column, has_null in zip(columns, partial, strict=True)
        ]
        return map(self._schemas.__getitem__, zip(*absent))  # noqa: B905 - some repeat


class _Schemas(dict[tuple[bool, ...], "msgspec.Raw | None"]):
    """The schemas made so far, by which of the declared properties are absent."""

    def __init__(self, names: list[tuple[str, str]]) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, absent: tuple[bool, ...]) -> msgspec.Raw | None:
        if len(self) >= _MOST_SCHEMAS:
            self.clear()
        declared = dict(compress(self._names, map(not_, absent)))
        made = msgspec.Raw(msgspec.json.encode({"properties": declared})) if declared else None
        self[absent] = made
        return made
