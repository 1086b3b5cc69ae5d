"""Moments of many records at once, for the fast path: as they are sent, and as Unix seconds.

Columns here have no nulls and no empty texts: see `present_only`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import repeat
from operator import floordiv, itemgetter, methodcaller
from typing import TYPE_CHECKING, Any, Final

import msgspec

from target_fullstory.mapping.fast.columns import NotFastError, written_alike
from target_fullstory.mapping.rules.timestamps import (
    MILLISECONDS_FROM,
    timestamp_of,
    unix_seconds_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MOMENT = re.compile(r"0000-00-00T00:00:00(?:\.0+)?(?:Z|[+-]00:00)")
_DAY: Final = "0000-00-00"
_to_second = itemgetter(slice(len("0000-00-00T00:00:00")))

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic in UTC, the offset is written as `Z`
_FIRST_SECOND, _LAST_MILLISECOND = -62_135_596_800, 253_402_300_799_999
"""The beginning of the year 1 and the end of 9999."""


def moments(texts: list[str]) -> list[str]:
    """Timestamps as the careful path writes them.

    Raises:
        NotFastError: One is no timestamp.
    """
    return texts if _are_moments(texts) else each(timestamp_of, texts)


def _are_moments(texts: list[str]) -> bool:
    """Whether texts need no rewriting: all written alike, valid, offset and all."""
    shape = written_alike(texts)
    if shape is None or not _MOMENT.fullmatch(shape):
        return False
    try:
        _moments_of(texts)
    except NotFastError:
        return False
    return True


def seconds_of_texts(texts: list[str]) -> list[int]:
    """The Unix seconds of moments.

    Raises:
        NotFastError: One is none.
    """
    whole = _in_whole_seconds(texts)
    if whole is None:
        return each(unix_seconds_of, texts)
    return list(map(int, map(datetime.timestamp, _moments_of(whole))))


def written_seconds_of_texts(texts: list[str]) -> list[str]:
    """Moments without fractions of a second, in UTC.

    Raises:
        NotFastError: One is none.
    """
    whole = _in_whole_seconds(texts)
    if whole is None:
        return written(each(unix_seconds_of, texts))
    _moments_of(whole)
    return whole


def _in_whole_seconds(texts: list[str]) -> list[str] | None:
    """Moments without fractions, where all are days or all in UTC, and written alike."""
    shape = written_alike(texts)
    if shape == _DAY:
        return list(map("%sT00:00:00Z".__mod__, texts))
    if shape is None or not _MOMENT.fullmatch(shape):
        return None
    if shape[-1] != "Z" and not all(map(str.endswith, texts, repeat("+00:00"))):
        return None
    return list(map("%sZ".__mod__, map(_to_second, texts)))


def _moments_of(texts: list[str]) -> list[datetime]:
    try:
        return msgspec.convert(texts, list[datetime])
    except msgspec.ValidationError as error:
        raise NotFastError(str(error)) from error


def seconds_of_integers(integers: list[int]) -> list[int]:
    """Unix seconds from seconds or milliseconds.

    Raises:
        NotFastError: One is out of range.
    """
    unit = _unit_of(integers)
    if unit is None:
        return each(unix_seconds_of, integers)
    return integers if unit == 1 else list(map(floordiv, integers, repeat(unit)))


def seconds_of_values(values: list[Any]) -> list[int]:
    """The Unix seconds of texts and numbers.

    Raises:
        NotFastError: One is no moment.
    """
    return each(unix_seconds_of, values)


def written(seconds: list[int]) -> list[str]:
    """Unix seconds as moments, as `written_seconds` writes each.

    Raises:
        NotFastError: One is out of range.
    """
    try:
        found = map(_EPOCH.__add__, map(timedelta, repeat(0), seconds))
        return list(map("%sZ".__mod__, map(datetime.isoformat, found)))
    except OverflowError as error:
        raise NotFastError(str(error)) from error


def moments_of_integers(integers: list[int]) -> list[str]:
    """Unix seconds or milliseconds as the careful path writes them.

    Raises:
        NotFastError: One is out of range.
    """
    unit = _unit_of(integers)
    if unit is None:
        return each(timestamp_of, integers)
    if unit == 1:
        return written(integers)
    found = map(_EPOCH.__add__, map(timedelta, repeat(0), repeat(0), repeat(0), integers))
    texts = map(datetime.isoformat, found, repeat("T"), repeat("milliseconds"))
    return list(map("%sZ".__mod__, map(methodcaller("replace", ".000", ""), texts)))


def _unit_of(integers: list[int]) -> int | None:
    """Parts of a second that all integers surely count: 1 or 1000; None where that is unclear."""
    low, high = min(integers), max(integers)
    if low >= _FIRST_SECOND and high < MILLISECONDS_FROM:
        return 1
    return 1000 if low >= MILLISECONDS_FROM and high <= _LAST_MILLISECOND else None


def each(convert: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    """Converts value by value.

    Raises:
        NotFastError: One of them becomes None.
    """
    converted = list(map(convert, values))
    if None in converted:
        raise NotFastError
    return converted


def present_only(convert: Callable[[list[Any]], list[Any]], column: list[Any]) -> list[Any]:
    """Converts what of a column is not null; null stays null."""
    if None not in column:
        return convert(column) if column else column
    present = [value for value in column if value is not None]
    converted = iter(convert(present) if present else present)
    return [None if value is None else next(converted) for value in column]
