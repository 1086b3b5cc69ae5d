"""Time zones by name."""

from __future__ import annotations

from datetime import tzinfo

from target_fullstory.errors import config_error, did_you_mean


def time_zone(stream: str, key: str, name: object) -> tzinfo:
    """The time zone of a name such as `Europe/Berlin`.

    Raises:
        ConfigurationError: There is none; the message has the nearest name.
    """
    # Most mappings have none: the import would delay each start.
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415

    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        hint = did_you_mean(str(name), sorted(available_timezones()))
        raise config_error(stream, key, f"{name!r} is no time zone{hint}") from None
