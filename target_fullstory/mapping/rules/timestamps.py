"""Timestamps: from what taps send to RFC 3339."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import msgspec

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

_DAY = "0000-00-00"
_ZEROES = str.maketrans("123456789", "000000000")
_LONGEST_MOMENT = 64
"""Characters in a property's moment, so that what is added to it cannot exceed a property's limit."""

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


def timestamp_of(value: Any, zone: tzinfo | None = None) -> str | None:
    """A moment as RFC 3339, with an offset.

    Text is taken as ISO 8601, basic form or extended; what it lacks is added: `T00:00:00` to a date,
    minutes, seconds, the `T`, and where there is no offset that of the time zone, by default UTC. A number,
    or text that is one and no date, is Unix seconds or milliseconds and is written with milliseconds where
    it is not whole.

    Returns:
        The moment, or None where the value is none: wrong form, no such day, out of range.
    """
    if isinstance(value, str):
        return value if _is_whole(value) else _from_text(value.strip(), zone)
    if isinstance(value, date):
        return _from_date(value, zone)
    number = number_of(value)
    return None if number is None else _from_unix(Decimal(number))


def moment_of(text: str, zone: tzinfo | None = None) -> str | None:
    """As `timestamp_of`, for a property: a day without a time stays one, and a number is no moment."""
    if len(text) > _LONGEST_MOMENT:
        return None
    if _is_whole(text):
        return text
    found = _iso_8601(text)
    if found is None:
        return None
    if found["hour"] is not None:
        return _from_iso(found, zone)
    midnight = _from_iso(found, None)
    return midnight and midnight[: len(_DAY)]


def are_sent_unchanged(texts: list[str | None]) -> bool:
    """Whether `timestamp_of` would give all of these back as they are; a False may be wrong."""
    present = [text for text in texts if text is not None] if None in texts else texts
    shape = _common_shape(present)
    if shape is None or _WHOLE.fullmatch(shape) is None:
        return not present
    return _all_are(list[datetime], present)


def are_moments(texts: list[str | None]) -> bool:
    """Whether `moment_of` would give all of these back as they are; a False may be wrong."""
    present = [text for text in texts if text is not None] if None in texts else texts
    shape = _common_shape(present)
    if shape == _DAY:
        return _all_are(list[date], present)
    if shape is None or len(shape) > _LONGEST_MOMENT or _WHOLE.fullmatch(shape) is None:
        return not present
    return _all_are(list[datetime], present)


def _common_shape(texts: list[Any]) -> str | None:
    """The texts' common shape, each of their digits 0; None where they have several, or none is there."""
    if not texts:
        return None
    shape: str = texts[0].translate(_ZEROES)
    # Most columns write all their moments alike: then one comparison is enough for all.
    if "".join(texts).translate(_ZEROES) != shape * len(texts):
        return None
    return shape if set(map(len, texts)) == {len(shape)} else None


def _all_are(kind: Any, texts: list[Any]) -> bool:
    try:
        msgspec.convert(texts, kind)
    except msgspec.ValidationError:
        return False
    return True


def _from_date(moment: date, zone: tzinfo | None) -> str | None:
    """A date or a moment as RFC 3339, in the time zone where it has none of its own."""
    if not isinstance(moment, datetime):
        return _in_zone(datetime.combine(moment, time()), "", zone)
    fraction = f".{moment.microsecond:06}" if moment.microsecond else ""
    return _in_zone(moment.replace(microsecond=0, tzinfo=None), fraction, moment.tzinfo or zone)


def _in_zone(clock: datetime, fraction: str, zone: tzinfo | None) -> str | None:
    """What a clock shows in a time zone, with that zone's offset; None outside the years 1 to 9999.

    Of an hour that the clock shows twice it is the first.
    """
    offset = None if zone is None else clock.replace(tzinfo=zone).utcoffset()
    if not offset:
        return f"{clock.isoformat()}{fraction}Z"
    minutes, rest = divmod(abs(offset), timedelta(minutes=1))
    if rest:
        # The mean time of a place, before there were zones: RFC 3339 has no seconds in an offset.
        try:
            return f"{(clock - offset).isoformat()}{fraction}Z"
        except OverflowError:
            return None
    sign = "-" if offset < timedelta() else "+"
    return f"{clock.isoformat()}{fraction}{sign}{minutes // 60:02}:{minutes % 60:02}"


def unix_seconds_of(value: Any, zone: tzinfo | None = None) -> int | None:
    """A moment in Unix seconds, those begun not counted; None where `timestamp_of` gives None."""
    text = timestamp_of(value, zone)
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


def _iso_8601(text: str) -> re.Match[str] | None:
    return _EXTENDED.fullmatch(text) or _BASIC.fullmatch(text)


def _from_text(text: str, zone: tzinfo | None) -> str | None:
    found = _iso_8601(text)
    moment = None if found is None else _from_iso(found, zone)
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


def _from_iso(found: re.Match[str], zone: tzinfo | None) -> str | None:
    part = found.groupdict(default="00")
    if int(part["hours"]) > 23 or int(part["minutes"]) > 59:
        return None
    try:
        clock = datetime(  # noqa: DTZ001 - what the clock shows
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
    if found["offset"] is None:
        return _in_zone(clock, fraction, zone)
    if found["hours"] is None:
        return f"{clock.isoformat()}{fraction}Z"
    return f"{clock.isoformat()}{fraction}{part['offset'][0]}{part['hours']}:{part['minutes']}"
