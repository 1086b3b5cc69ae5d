"""From a configuration to checked settings; only `environment` reads the configuration too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.addresses import check_address, check_snapshot_path
from target_fullstory.settings.model import API_BATCH_LIMIT, SANDBOX, SECRET_SETTINGS, Settings
from target_fullstory.settings.stream_mappings import read_mappings
from target_fullstory.settings.webhook_settings import check_header_value, read_webhook

_Number = TypeVar("_Number", int, float)

_TAPS_KEYS = {
    "bookmark",
    "bookmarks",
    "completed",
    "currently_syncing",
    "current_stream",
    "global",
    "partial_state",
    "partitions",
    "shared_state",
    "singer_state",
    "starting_replication_value",
    "state",
    "streams",
    "type",
    "value",
}
"""What taps and orchestrators have at the top of a STATE."""


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Read and check a configuration, which may hold singer-sdk's own settings beside ours."""
    try:
        msgspec.json.encode(config)
    except UnicodeEncodeError:
        raise ConfigurationError(
            "The configuration holds half a surrogate pair (\\ud800 to \\udfff), which is not Unicode text. "
            "Correct it."
        ) from None
    except (TypeError, ValueError, RecursionError):
        """Not from a file; what is wrong with it is found below."""
    known = {name: config[name] for name in Settings.__struct_fields__ if name in config}
    streams = known.pop("streams", None) or {}
    response_webhook = known.pop("response_webhook", None)
    try:
        settings = msgspec.convert(known, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`") or "configuration"
        raise ConfigurationError(
            f"Setting {name} is not valid: {reason}. Correct it in the target's configuration."
        ) from None
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"Setting {name} is {value}; it has to be a finite number. Correct it.")
    settings = msgspec.structs.replace(
        settings,
        streams=read_mappings(streams),
        response_webhook=read_webhook(response_webhook),
        # Orchestrators cannot all say null; these forms say the same.
        state_key=settings.state_key or None,
        max_rejected_records=_or_none(settings.max_rejected_records),
        max_rejected_percent=_or_none(settings.max_rejected_percent),
        max_events=_or_none(settings.max_events),
        snapshot_path=settings.snapshot_path or None,
        resend_after_days=_or_none(settings.resend_after_days),
        max_vanished_percent=_or_none(settings.max_vanished_percent),
        max_changed_percent=_or_none(settings.max_changed_percent),
    )
    _check(settings)
    return settings


def _or_none(limit: _Number | None) -> _Number | None:
    return None if limit is not None and limit < 0 else limit


def _check(settings: Settings) -> None:
    for name in ("output_dir", "snapshot_path"):
        if "\0" in (getattr(settings, name) or ""):
            raise ConfigurationError(f"Setting {name} holds a NUL character, which no path can. Correct it.")
    _check_sync(settings)
    if settings.state_key in _TAPS_KEYS:
        raise ConfigurationError(
            f"Setting state_key is {settings.state_key!r}, where taps keep their state. Take another name."
        )
    check_header_value("api_key", (settings.api_key or "").strip())
    check_header_value("integration_source", settings.integration_source.strip())
    if settings.batch_size_rows > API_BATCH_LIMIT:
        raise ConfigurationError(
            f"Setting batch_size_rows is {settings.batch_size_rows}; Fullstory takes at most "
            f"{API_BATCH_LIMIT} records in a batch job. Lower it."
        )
    if settings.snapshot_path:
        check_snapshot_path(settings.snapshot_path)
    if settings.api_url == SANDBOX:
        return
    check_address(
        "api_url",
        settings.api_url,
        wanted="an https address such as https://api.fullstory.com, or `sandbox`",
        exposed="the key",
    )
    if not settings.api_key or not settings.api_key.strip():
        raise ConfigurationError(
            "Setting api_key is missing. Set it in the configuration or in "
            "TARGET_FULLSTORY_API_KEY (with --config ENV), or try api_url: sandbox, which needs no key."
        )


def _check_sync(settings: Settings) -> None:
    if settings.resend_after_days == 0:
        raise ConfigurationError(
            "Setting resend_after_days is 0, so every user would be sent each time. For that, leave out "
            "`sync` in the mapping; else give 1 day or more, or null for never."
        )
    for name in ("max_vanished_percent", "max_changed_percent"):
        percent = getattr(settings, name)
        if percent is not None and percent > 100:
            raise ConfigurationError(
                f"Setting {name} is {percent:g}; a share is at most 100 percent. Lower it, or set null (in "
                "Meltano: -1) for no limit."
            )


def check_secrets(config: Mapping[str, Any]) -> None:
    """Check what holds secrets, without showing it, as singer-sdk's error for a wrong type would do."""
    for name in SECRET_SETTINGS:
        if not isinstance(config.get(name), str | None):
            raise ConfigurationError(f"Setting {name} is to be a string.")
    read_webhook(config.get("response_webhook"))


def batch_storage(config: Mapping[str, Any]) -> StorageTarget | None:
    """Where the files of BATCH messages are, by singer-sdk's `batch_config`; None where it does not say."""
    storage = (config.get("batch_config") or {}).get("storage")
    try:
        return StorageTarget.from_dict(storage) if storage else None
    except TypeError:
        known = ", ".join(StorageTarget.__dataclass_fields__)
        raise ConfigurationError(
            f"Setting batch_config.storage is not valid; its keys are {known}."
        ) from None
