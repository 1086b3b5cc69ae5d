"""Columns of decoded records, read and checked a chunk at a time.

Everything here works on the values of one column over many records, in calls that stay inside the
interpreter's C code: that is where the fast path has its speed from.
"""

from __future__ import annotations

import re
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.timestamps import timestamp_of
from target_fullstory.mapping.values import is_iso_8601

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_fullstory.mapping.fasttypes import Record


class NotFastError(msgspec.ValidationError):
    """A record that has to be mapped carefully."""


_ZEROES = str.maketrans("123456789", "000000000")
_DAYS = frozenset(
    f"{month:02}-{day:02}"
    for month in range(1, 13)
    for day in range(1, 29 if month == 2 else 31 if month in (4, 6, 9, 11) else 32)
)
"""Every day of every year, without the 29th of February."""
_ONE_OR_TWO, _UP_TO_FIVE = frozenset("12"), frozenset("012345")
_HOURS = frozenset(f"{hour:02}" for hour in range(24))
_MOMENT = re.compile(r"0000-00-00T00:00:00(?:\.0+)?(?:Z|[+-]00:00)")

_MOST_SCHEMAS = 4096
"""Schemas kept: one per combination of present columns seen."""

_day, _hour = itemgetter(slice(5, 10)), itemgetter(slice(11, 13))


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


def moments(texts: Iterable[str | None]) -> list[str | None]:
    """Timestamps, none of them empty, as the careful path writes them; null stays null.

    Raises:
        NotFastError: One is no timestamp.
    """
    column = list(texts)
    present = [text for text in column if text is not None]
    if not present or _are_moments(present):
        return column
    written = [None if text is None else timestamp_of(text) for text in column]
    if written.count(None) > len(column) - len(present):
        raise NotFastError
    return written


def _are_moments(present: list[str]) -> bool:
    """Whether texts need no rewriting: all written alike, valid, offset and all.

    A moment of the 29th of February or with an offset of ten hours passes for one that does.
    """
    shape = present[0].translate(_ZEROES)
    width = len(shape)
    joined = "".join(present)
    return (
        _MOMENT.fullmatch(shape) is not None
        and joined.translate(_ZEROES) == shape * len(present)
        and _ONE_OR_TWO.issuperset(joined[::width])
        and _DAYS.issuperset(map(_day, present))
        and _HOURS.issuperset(map(_hour, present))
        and _UP_TO_FIVE.issuperset(joined[14::width])
        and _UP_TO_FIVE.issuperset(joined[17::width])
        and (
            shape[-1] == "Z"
            or (
                not joined[width - 5 :: width].strip("0")
                and _UP_TO_FIVE.issuperset(joined[width - 2 :: width])
            )
        )
    )


def getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """An `attrgetter` that gives a tuple for a single name, too."""
    if len(names) == 1:
        single = attrgetter(names[0])
        return lambda record: (single(record),)
    return attrgetter(*names) if names else lambda _: ()


def pull(path: tuple[str, ...]) -> Callable[[list[Any]], Iterable[Any]]:
    """Reads a column; what lies in an object that is null, is null."""
    first = attrgetter(path[0])
    if len(path) == 1:
        return lambda records: map(first, records)
    rest = [attrgetter(name) for name in path[1:]]

    def read(records: list[Any]) -> list[Any]:
        values: Iterable[Any] = map(first, records)
        for get in rest:
            values = [None if value is None else get(value) for value in values]
        return list(values)

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
        self._read, order = _presence([path for path, _, _ in slots])
        self._order = order
        self._dates = [i for i, at in enumerate(order) if self.names[at][1] == "date"]
        self._date_lists = [i for i, at in enumerate(order) if self.names[at][1] == "dates"]
        self._nulls = [None] * len(slots)
        self._made: dict[tuple[bool, ...], msgspec.Raw | None] = {}
        self._all = self._schema((False,) * len(slots))

    def schemas(self, records: list[Any]) -> Iterable[msgspec.Raw | None]:
        """One schema per record, None where it declares nothing.

        Raises:
            NotFastError: A value of a date column is no date.
        """
        if not self.names:
            return repeat(None)
        rows = list(map(self._read, records))
        columns = list(zip(*rows, strict=True))
        for index in self._dates:
            check_dates(filter(None, columns[index]))
        for index in self._date_lists:
            check_dates(chain.from_iterable(filter(None, columns[index])))
        if not any(None in column for column in columns):
            return repeat(self._all)
        return self._partial(rows)

    def _partial(self, rows: list[tuple[Any, ...]]) -> Iterator[msgspec.Raw | None]:
        made = self._made
        for row in rows:
            absent = tuple(map(is_, row, self._nulls))
            if absent not in made:
                if len(made) >= _MOST_SCHEMAS:
                    made.clear()
                made[absent] = self._schema(absent)
            yield made[absent]

    def _schema(self, absent: tuple[bool, ...]) -> msgspec.Raw | None:
        missing = {self._order[index] for index, is_absent in enumerate(absent) if is_absent}
        declared = {name: kind for at, (name, kind) in enumerate(self.names) if at not in missing}
        return msgspec.Raw(msgspec.json.encode({"properties": declared})) if declared else None


def _presence(
    paths: list[tuple[str, ...]],
) -> tuple[Callable[[Any], tuple[Any, ...]], list[int]]:
    """Reads the values at the paths as one row, whose order is given by position in `paths`."""
    plain = [index for index, path in enumerate(paths) if len(path) == 1]
    objects: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        if len(path) > 1:
            objects.setdefault(path[0], []).append(index)
    read_plain = getter([paths[index][0] for index in plain])
    order = list(plain)
    inner: list[tuple[Any, Any, tuple[None, ...]]] = []
    for name, indexes in objects.items():
        read, inner_order = _presence([paths[index][1:] for index in indexes])
        order += [indexes[position] for position in inner_order]
        inner.append((attrgetter(name), read, (None,) * len(indexes)))
    if not inner:
        return read_plain, order

    def row(record: Any) -> tuple[Any, ...]:
        values = read_plain(record)
        for get, read, nothing in inner:
            part = get(record)
            values += nothing if part is None else read(part)
        return values

    return row, order
