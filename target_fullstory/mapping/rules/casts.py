"""Casts: a value as text, a number, a boolean or a date."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone, tzinfo
from typing import Any, Final

import msgspec

from target_fullstory.mapping.rules.property_values import (
    INT64_MAX,
    INT64_MIN,
    LEFT_OUT,
    json_text,
    number_of,
    text_of,
)
from target_fullstory.mapping.rules.timestamps import moment_of, timestamp_of

CASTS: Final = ("str", "int", "real", "bool", "date")
"""The types that a value can be cast to."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_MOST_DIGITS = 400
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, "": False}
_SAMPLE = datetime(2026, 1, 25, 13, 45, 59, 250_000, tzinfo=timezone.utc)
_MIDNIGHT = datetime(2026, 1, 25, tzinfo=timezone.utc)


class Cast(msgspec.Struct, frozen=True):
    """What a value is cast to, and how."""

    type: str  # one of `CASTS`
    each: bool = False  # whether each item of a list is cast, rather than the value as a whole
    joined: bool = False  # whether a list of plain values becomes text joined with commas, rather than JSON
    format: str | None = None  # how a date is written, as of `strptime`; None for ISO 8601 and Unix time
    zone: tzinfo | None = None  # the time zone of a date that has none; None for UTC
    midnight: bool = False  # whether a day without a time becomes its midnight in that zone

    def apply(self, value: Any) -> Any:
        """The value, which is neither null nor empty text, cast; `LEFT_OUT` where it cannot be."""
        if not self.each:
            return self._one(value)
        values = value if isinstance(value, (list, tuple)) else [value]
        blank = () if self.type in ("str", "bool") else ("",)
        made = [self._one(item) for item in values if item is not None and item not in blank]
        return LEFT_OUT if any(item is LEFT_OUT for item in made) else made

    def _one(self, value: Any) -> Any:
        if self.type == "str":
            return self._text(value)
        if self.type == "bool":
            return _boolean(value)
        made = self._date(value) if self.type == "date" else _number(value)
        if self.type == "int" and made is not None:
            made = int(made) if made == int(made) and INT64_MIN <= made <= INT64_MAX else None
        return LEFT_OUT if made is None else made

    def _text(self, value: Any) -> Any:
        if value == "":
            return value
        made = json_text(value) if isinstance(value, (dict, list, tuple)) else text_of(value)
        if self.joined and isinstance(value, (list, tuple)):
            texts = [self._text(item) for item in value if item is not None]
            nested = any(isinstance(item, (dict, list, tuple)) for item in value)
            made = made if nested else None if LEFT_OUT in texts else ", ".join(texts)
        return LEFT_OUT if made is None else made

    def _date(self, value: Any) -> str | None:
        day = value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
        if self.format is not None:
            try:
                value = _parsed((text_of(value) or "").strip(), self.format)
            except ValueError:
                return None
            day = value.date().isoformat() if _tells_day_alone(self.format) else None
        if isinstance(day, str) and not self.midnight:
            made = moment_of(day.strip(), self.zone)
            if made is not None:
                return made
        return timestamp_of(value, self.zone)


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), LEFT_OUT)
    number = _number(value)
    return bool(number) if number in (0, 1) else LEFT_OUT


def _number(value: Any) -> int | float | None:
    """A number, be it written as text; true is 1, false is 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _MOST_DIGITS or _NUMBER.fullmatch(text) is None:
            return None
        value = int(text) if text.lstrip("+-").isdecimal() else float(text)
    return number_of(value)


def _parsed(text: str, written: str) -> datetime:
    return datetime.strptime(text, written)  # noqa: DTZ007 - the source or its stream has the time zone


def _tells_day_alone(written: str) -> bool:
    """Whether a format tells no time."""
    return _MIDNIGHT.strftime(written) == _SAMPLE.strftime(written)


def trouble_with_format(written: str) -> str | None:
    """Why dates cannot be read by a format; None where they can."""
    try:
        found = _parsed(_SAMPLE.strftime(written), written)
    except ValueError as error:
        return str(error) if "directive" in str(error) else "no date can be read by it"
    return None if found.date() == _SAMPLE.date() else "it does not tell year, month and day"
