"""Columns of decoded records, read and checked a chunk at a time.

Everything here works on the values of one column over many records, in calls that stay inside the
interpreter's C code: that is where the fast path has its speed from.
"""

from __future__ import annotations

from itertools import chain, compress, repeat
from operator import attrgetter, is_, not_
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.rules.property_values import is_iso_8601

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_fullstory.mapping.fast.types import Path


class NotFastError(msgspec.ValidationError):
    """A record that has to be mapped carefully."""


_ZEROES = str.maketrans("123456789", "000000000")

_MOST_SCHEMAS = 4096
"""Schemas kept: one per combination of present columns seen."""


def check_dates(texts: Iterable[str]) -> None:
    """Makes sure that texts, none of them empty, have the shape of ISO 8601.

    Raises:
        NotFastError: One has not.
    """
    present = list(texts)
    # Most columns write all their dates alike: then one comparison tells for all.
    shape = written_alike(present)
    if not is_iso_8601(shape) and not all(map(is_iso_8601, present)):
        raise NotFastError


def written_alike(texts: list[str]) -> str | None:
    """The texts' common shape, each of their digits 0; None where they have several, or none is there."""
    if not texts:
        return None
    shape = texts[0].translate(_ZEROES)
    if "".join(texts).translate(_ZEROES) != shape * len(texts):
        return None
    return shape if set(map(len, texts)) == {len(shape)} else None


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


def pull(path: Path) -> Callable[[list[Any]], list[Any]]:
    """Reads a column; what lies in an object that is null, is null, and so is an item that lacks."""
    if len(path) == 1:
        first = attrgetter(str(path[0]))
        return lambda records: list(map(first, records))
    names = [step for step in path if isinstance(step, str)]
    whole = attrgetter(".".join(names)) if len(names) == len(path) else None
    steps = [attrgetter(step) if isinstance(step, str) else _item(step) for step in path]

    def read(records: list[Any]) -> list[Any]:
        if whole is not None:
            try:
                return list(map(whole, records))
            except AttributeError:
                pass
        values = records
        for get in steps:
            values = [None if value is None else get(value) for value in values]
        return values

    return read


def _item(position: int) -> Callable[[list[Any]], Any]:
    return lambda array: array[position] if position < len(array) else None


class Declared:
    """The `schema` of each request: which declared properties it has.

    Attributes:
        names: The declared properties with their types, in the order they are declared.
    """

    def __init__(self, names: list[tuple[str, str]]) -> None:
        """Takes the full name and the type of each declared property."""
        self.names = names
        self._dates = [at for at, (_, declared) in enumerate(self.names) if declared == "date"]
        self._lists = [at for at, (_, declared) in enumerate(self.names) if declared == "dates"]
        self._schemas = _Schemas(self.names)
        self._all = self._schemas[(False,) * len(names)]

    def schemas(self, columns: list[Sequence[Any]]) -> Iterable[msgspec.Raw | None]:
        """One schema per record, None where it declares nothing.

        Args:
            columns: The values of each declared property; none for one that is always there.

        Raises:
            NotFastError: A value of a date column is no date.
        """
        if not self.names:
            return repeat(None)
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
