"""What a mapping writes beside a column: casts and small transforms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any, Final

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.sources import Conversion
from target_fullstory.mapping.rules.casts import CASTS, Cast, trouble_with_format
from target_fullstory.mapping.rules.property_values import LEFT_OUT
from target_fullstory.mapping.rules.time_zones import time_zone

OPTIONS: Final = ("as", "format", "timezone", "map", "default", "lower", "upper", "trim")
"""The keys of a source beside the one that says where its value comes from."""


def read_conversion(stream: str, key: str, written: dict[str, Any], zone: tzinfo | None) -> Conversion:
    """Reads the options of a source; `zone` is that of the stream's dates."""
    flags = [name for name in ("lower", "upper", "trim") if _flag(stream, f"{key}.{name}", written.get(name))]
    if "lower" in flags and "upper" in flags:
        raise config_error(stream, f"{key}.upper", "contradicts lower")
    cast = _cast(stream, key, written, zone)
    for name in ("lower", "upper"):
        if name in flags and cast is not None and cast.type != "str":
            raise config_error(stream, f"{key}.{name}", f"is for text, and the value is cast to {cast.type}")
    entries = written.get("map")
    if entries is not None:
        if cast is not None and cast.type == "date":
            raise config_error(stream, f"{key}.map", "gives no dates: leave out as, format and timezone")
        entries = dict(_entries(stream, f"{key}.map", "", entries))
        entries = {name: _constant(stream, f"{key}.map.{name}", one, cast) for name, one in entries.items()}
    default = written.get("default")
    return Conversion(
        trim="trim" in flags,
        case="lower" if "lower" in flags else "upper" if "upper" in flags else None,
        # What is listed is cast already.
        entries=entries,
        cast=cast if entries is None else None,
        default=None if default is None else _constant(stream, f"{key}.default", default, cast),
    )


def _flag(stream: str, key: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise config_error(stream, key, "is true or false")
    return bool(value)


def _cast(stream: str, key: str, written: dict[str, Any], zone: tzinfo | None) -> Cast | None:
    type_name, form, name = (written.get(option) for option in ("as", "format", "timezone"))
    if type_name is not None and type_name not in CASTS:
        raise config_error(
            stream, f"{key}.as", f"{type_name!r} is no type{did_you_mean(str(type_name), CASTS)}"
        )
    for option, value in (("format", form), ("timezone", name)):
        if value is not None and type_name not in (None, "date"):
            raise config_error(
                stream, f"{key}.{option}", f"is for dates, and the value is cast to {type_name}"
            )
    if form is not None:
        trouble = trouble_with_format(form) if isinstance(form, str) else "it is no text"
        if trouble is not None:
            problem = f"{form!r} is no format of dates such as '%d.%m.%Y %H:%M': {trouble}"
            raise config_error(stream, f"{key}.format", problem)
    if form is None and name is None:
        if type_name is None:
            return None
        return Cast(type_name, zone=zone) if type_name == "date" else Cast(type_name)
    if name is not None:
        zone = time_zone(stream, f"{key}.timezone", name)
    return Cast("date", format=form, zone=zone, midnight=name is not None)


def _entries(stream: str, key: str, prefix: str, entries: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a `map`; Meltano splits names at their dots."""
    if not isinstance(entries, dict) or not entries:
        raise config_error(stream, key, "takes {value: what is sent for it}")
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _entries(stream, f"{key}.{name}", f"{prefix}{name}.", value)
        elif value is not None:
            yield f"{prefix}{name}", value


def _constant(stream: str, key: str, value: Any, cast: Cast | None) -> Any:
    """What a mapping gives in place of a value, cast as the value would be."""
    if not isinstance(value, (str, int, float)):
        raise config_error(stream, key, "takes text, a number, true or false")
    made = value if cast is None else LEFT_OUT if value == "" else cast.apply(value)
    if made is LEFT_OUT and cast is not None:
        raise config_error(stream, key, f"{value!r} cannot be cast to {cast.type}")
    return made
