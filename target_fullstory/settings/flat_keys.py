"""Objects as Meltano writes them into the environment: one level, the keys joined by dots."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DOT = re.compile(r"(?<!\\)\.")


def nested(members: Mapping[str, Any]) -> dict[str, Any]:
    """Brings back the levels of an object that Meltano has flattened.

    `{"orders.kind": "events"}` becomes `{"orders": {"kind": "events"}}`; a dot after a backslash is part of
    its name. An object with levels of its own is left as it is.

    Args:
        members: The object.
    """
    if not any(_is_flat(key, value) for key, value in members.items()):
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


def _is_flat(key: str, value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping) and bool(_DOT.search(key))
