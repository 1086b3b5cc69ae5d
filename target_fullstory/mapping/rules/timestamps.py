"""Timestamps: from what taps send to ISO 8601 with an offset."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec

from target_fullstory.mapping.rules.declared_types import common_shape
from target_fullstory.mapping.rules.property_values import number_of

MILLISECONDS_FROM = 10**11
"""Numbers from here on are Unix milliseconds (March 1973), smaller ones seconds (to year 5138)."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic in UTC, the offset is written as `Z`
_UTC_EPOCH = _EPOCH.replace(tzinfo=timezone.utc)
_FRACTION_OF_SECOND = re.compile(r"\.[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_WHOLE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
"""A moment written as it is sent."""

_FRACTION = r"(?:[.,](?P<fraction>[0-9]+))?"
_OFFSET = r"\x20?(?P<offset>[Zz]|UTC|[+-](?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)?"
_EXTENDED = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    rf"(?:[Tt ](?P<hour>[0-9]{{2}})(?::(?P<minute>[0-9]{{2}})(?::(?P<second>[0-9]{{2}}){_FRACTION})?)?"
    rf"{_OFFSET})?"
)
_BASIC = re.compile(
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    rf"(?:[Tt ](?P<hour>[0-9]{{2}})(?:(?P<minute>[0-9]{{2}})(?:(?P<second>[0-9]{{2}}){_FRACTION})?)?"
    rf"{_OFFSET})?"
)


def timestamp_of(value: Any) -> str | None:
    """A moment as ISO 8601 with an offset.

    Text is taken as ISO 8601, basic form or extended; what it lacks is added: `T00:00:00` to a date,
    minutes, seconds, the `T`, `Z` where there is no offset. A number, or text that is one and no
    date, is Unix seconds or milliseconds and is written with milliseconds where it is not whole.

    Returns:
        The moment, or None where the value is none: wrong form, no such day, out of range.
    """
    if isinstance(value, str):
        return value if _is_whole(value) else _from_text(value.strip())
    if isinstance(value, date):
        return _isoformat(value)
    number = number_of(value)
    return None if number is None else _from_unix(Decimal(number))


def are_sent_unchanged(texts: list[str | None]) -> bool:
    """Whether `timestamp_of` would give all of these back as they are; a False may be wrong."""
    present = [text for text in texts if text is not None] if None in texts else texts
    shape = common_shape(present)
    if shape is None or _WHOLE.fullmatch(shape) is None:
        return not present
    try:
        msgspec.convert(present, list[datetime])
    except msgspec.ValidationError:
        return False
    return True


def _isoformat(moment: date) -> str:
    """A date or a moment as ISO 8601 with an offset, UTC where it has none."""
    if not isinstance(moment, datetime):
        return f"{moment.isoformat()}T00:00:00Z"
    text = moment.isoformat()
    if moment.tzinfo is None:
        return f"{text}Z"
    return text.replace("+00:00", "Z") if text.endswith("+00:00") else text


def unix_seconds_of(value: Any) -> int | None:
    """A moment in Unix seconds, those begun not counted; None where `timestamp_of` gives None."""
    text = timestamp_of(value)
    if text is None:
        return None
    try:
        # Without its fraction: msgspec would round a long one.
        moment = msgspec.convert(_FRACTION_OF_SECOND.sub("", text), datetime)
    except msgspec.ValidationError:
        return None
    return (moment - _UTC_EPOCH) // timedelta(seconds=1)


def written_seconds(seconds: int) -> str | None:
    """Unix seconds as ISO 8601; None for those outside the years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat() + "Z"
    except OverflowError:
        return None


def _is_whole(text: str) -> bool:
    """Whether a text is sent as it is."""
    if _WHOLE.fullmatch(text) is None:
        return False
    try:
        msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return True


def _from_text(text: str) -> str | None:
    found = _EXTENDED.fullmatch(text) or _BASIC.fullmatch(text)
    moment = None if found is None else _from_iso(found)
    if moment is None and _NUMBER.fullmatch(text):
        return _from_unix(Decimal(text))
    return moment


def _from_unix(number: Decimal) -> str | None:
    milliseconds = number if abs(number) >= MILLISECONDS_FROM else number * 1000
    try:
        moment = _EPOCH + timedelta(milliseconds=round(milliseconds))
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds") + "Z"


def _from_iso(found: re.Match[str]) -> str | None:
    part = found.groupdict(default="00")
    day = f"{part['year']}-{part['month']}-{part['day']}"
    if int(part["hours"]) > 23 or int(part["minutes"]) > 59:
        return None
    try:
        datetime(  # noqa: DTZ001 - only asks whether there is such a moment
            int(part["year"]),
            int(part["month"]),
            int(part["day"]),
            int(part["hour"]),
            int(part["minute"]),
            int(part["second"]),
        )
    except ValueError:
        return None
    fraction = "" if found["fraction"] is None else f".{found['fraction']}"
    clock = f"{part['hour']}:{part['minute']}:{part['second']}{fraction}"
    if found["hours"] is None:
        return f"{day}T{clock}Z"
    return f"{day}T{clock}{part['offset'][0]}{part['hours']}:{part['minutes']}"
