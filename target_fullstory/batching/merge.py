"""Several updates of one user in a batch become one: the later value of a property wins."""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.batching.encoded_requests import identity, split_requests


def merge_updates(items: list[bytes]) -> list[bytes]:
    """One request per user, in the order in which the users first appear.

    Requests of users that appear once are unchanged to the byte.
    """
    updates: dict[tuple[str, str | None], list[bytes]] = {}
    for request in split_requests(items):
        uid, user_id = identity(request)
        key = ("uid", uid) if uid is not None else ("id", user_id)
        updates.setdefault(key, []).append(request)
    return [group[0] if len(group) == 1 else _merge(group) for group in updates.values()]


def _merge(group: list[bytes]) -> bytes:
    merged: dict[str, Any] = msgspec.json.decode(group[0])
    for encoded in group[1:]:
        update: dict[str, Any] = msgspec.json.decode(encoded)
        properties = update.pop("properties", {})
        types = update.pop("schema", {}).get("properties", {})
        merged.update(update)
        old = merged.setdefault("properties", {})
        _overlay(old, properties)
        declared = merged.get("schema", {}).get("properties", {})
        # A value that comes without a declaration must not inherit that of the value it replaces.
        declared = {name: kind for name, kind in declared.items() if name not in properties} | types
        if declared:
            merged["schema"] = {"properties": declared}
        else:
            merged.pop("schema", None)
    return msgspec.json.encode(merged)


def _overlay(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Later values win, name by name: Fullstory keeps nested properties each under its own name."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            _overlay(old[name], value)
        else:
            old[name] = value
