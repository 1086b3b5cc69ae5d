"""Settings in environment variables, and in a file `.env`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from singer_sdk.configuration._dict_config import parse_environment_config

from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.model import JSON_SCHEMA, Settings

_PREFIX = "TARGET_FULLSTORY_"
_SWITCH = {"yes": True, "on": True, "no": False, "off": False}
_DOT = re.compile(r"(?<!\\)\.")
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def from_environment(singer_sdk_settings: dict[str, Any]) -> dict[str, Any]:
    """The settings in the environment, by name; given the JSON Schema of singer-sdk's own settings."""
    ours = JSON_SCHEMA["properties"]
    theirs = {k: v for k, v in singer_sdk_settings["properties"].items() if k not in ours}
    try:
        # Reads `.env` as well.
        config = parse_environment_config({"properties": theirs}, _PREFIX)
    except ValueError:
        raise ConfigurationError(
            f"A variable of singer-sdk's settings, {_PREFIX}…, has a value that is not valid."
        ) from None
    for name, schema in ours.items():
        if text := os.environ.get(_PREFIX + name.upper()):
            config |= _read_variable(name, schema, text)
    return {k: unflatten(v) if isinstance(v, dict) else v for k, v in config.items()}


def _read_variable(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    """The setting of one variable, by its name; empty where it has none."""
    is_object = "object" in schema["type"]
    if text == "null" and "null" in schema["type"]:
        return {name: None}
    try:
        if is_object:
            # Meltano writes null for what is not set.
            given = {k: v for k, v in _decode_object(text).items() if v is not None}
            return {name: given} if given else {}
        value = _SWITCH.get(text.lower(), text) if schema["type"] == "boolean" else text
        return {name: getattr(msgspec.convert({name: value}, Settings, strict=False), name)}
    except msgspec.DecodeError as error:
        reason = "not JSON" if is_object else str(error).split(" - at ")[0]
        shown = "" if schema.get("secret") else f": {reason}"
        raise ConfigurationError(
            f"Variable {_PREFIX}{name.upper()} has a value that is not valid{shown}."
        ) from None


def unflatten(members: Mapping[str, Any]) -> dict[str, Any]:
    """Bring back the levels of an object that Meltano has flattened, its keys joined by dots.

    `{"orders.kind": "events"}` becomes `{"orders": {"kind": "events"}}`; a dot after a backslash is part of
    its name. An object with levels of its own is left as it is.
    """
    flat = {key for key, value in members.items() if value is not None and not isinstance(value, Mapping)}
    if not any(map(_DOT.search, flat)):
        return dict(members)
    whole: dict[str, Any] = {}
    for key, value in members.items():
        *parents, name = (step.replace("\\.", ".") for step in _DOT.split(key))
        place = whole
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                # Both `a` and `a.b` have a value: no flattened object. The setting's own check says more.
                return dict(members)
            place = inner
        place[name] = value
    return whole
