"""The setting `streams`: stream name or glob to mapping, as configuration files write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from target_fullstory.errors import ConfigurationError, did_you_mean
from target_fullstory.kinds import Kind
from target_fullstory.mapping import ORIGINS, SYNC_MODES, BatchSpec, MappingSpec, check_spec
from target_fullstory.settings.environment import unflatten

_KINDS: tuple[str, ...] = get_args(Kind)
_KEYS = MappingSpec.__struct_fields__
# Keys that tell a source from a name that was split; the other ones of a source may well end a name.
_OF_SOURCES = {*ORIGINS, "as", "lower", "upper", "trim"}
_BATCH_KEYS = BatchSpec.__struct_fields__
_PLAIN_TYPES = ((" | null", ""), (" | ", " or "), ("array", "list"), ("str`", "text`"))


def read_mappings(streams: Any) -> dict[str, MappingSpec]:
    """Read the setting `streams`.

    Meltano splits keys at their dots on the way to the target: `user.uid: x` arrives as
    `user: {uid: x}`, and a stream `public.orders` as `public: {orders: …}`. Both forms mean the same here.
    """
    if not isinstance(streams, Mapping):
        raise ConfigurationError("Setting streams is to be an object: stream name to mapping.")
    return {name: _read(name, value) for name, value in _named("", streams)}


def _named(prefix: str, streams: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in streams.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and all(map(_is_split, value.items())):
            yield from _named(f"{name}.", value)
        else:
            yield name, value


def _is_split(item: tuple[str, Any]) -> bool:
    """Whether a member of a mapping is a part of a stream's name, with what belongs to it."""
    key, value = item
    return isinstance(value, Mapping) and (key not in _KEYS or "kind" in value)


def _read(stream: str, value: Any) -> MappingSpec:
    where = f"Stream {stream!r}: streams.{stream}"
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where} is to be an object with a `kind`.")
    for key in value:
        if key not in _KEYS:
            raise ConfigurationError(f"{where}.{key} is no mapping key{did_you_mean(key, _KEYS)}")
    for key in value["batch"] if isinstance(value.get("batch"), Mapping) else ():
        if key not in _BATCH_KEYS:
            raise ConfigurationError(
                f"{where}.batch.{key} is no key of batch{did_you_mean(key, _BATCH_KEYS)}"
            )
    if value.get("kind") not in _KINDS:
        hint = did_you_mean(str(value.get("kind", "")), _KINDS)
        raise ConfigurationError(f"{where}.kind is missing or unknown{hint}")
    _check_words(where, value)
    joined = dict(value)
    match joined.get("vanished"):
        case {"mark": dict(mark)}:
            joined["vanished"] = {"mark": unflatten(mark)}
    for key in ("fields", "properties"):
        if isinstance(value.get(key), Mapping):
            joined[key] = dict(_joined("", value[key]))
    try:
        spec = msgspec.convert(joined, MappingSpec)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        for found, plain in _PLAIN_TYPES:
            reason = reason.replace(found, plain)
        raise ConfigurationError(f"{where}{path.rstrip('`')} is not valid: {reason}.") from None
    check_spec(stream, spec)
    return spec


def _check_words(where: str, value: Mapping[str, Any]) -> None:
    """Name the words that `sync` and `vanished` take, where a mapping has another one."""
    sync, vanished = value.get("sync", "all"), value.get("vanished")
    if sync not in SYNC_MODES:
        hint = did_you_mean(str(sync), SYNC_MODES)
        raise ConfigurationError(f"{where}.sync is to be all, changed or mirror, not {sync!r}{hint}")
    if isinstance(vanished, Mapping):
        for key in vanished:
            if key != "mark":
                raise ConfigurationError(f"{where}.vanished.{key} is no key of vanished; its one key is mark")
    elif vanished not in (None, "delete"):
        raise ConfigurationError(
            f"{where}.vanished is to be delete, or {{mark: {{property: value}}}}, not {vanished!r}"
        )


def _joined(prefix: str, members: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in members.items():
        nested = isinstance(value, Mapping) and value and not _OF_SOURCES & set(value)
        if nested:
            yield from _joined(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value
