"""Where the references of a SCHEMA lead, of whatever draft."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

NOWHERE = object()
"""Where a reference leads that leads nowhere."""

_DEEPEST = 100


class References:
    """The places in one SCHEMA that references name: by path, by anchor, by an `$id` of their own."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._named: dict[str, Any] = {}
        self._note_names(root, 0)

    def target(self, reference: str) -> Any:
        """What it refers to; `NOWHERE` where that is not in the SCHEMA."""
        if reference in self._named:
            return self._named[reference]
        address, _, pointer = reference.partition("#")
        start = self._named.get(address, NOWHERE) if address else self._root
        return start if not pointer else _followed(start, pointer)

    def _note_names(self, schema: Any, depth: int) -> None:
        if depth > _DEEPEST:
            return
        if isinstance(schema, list):
            for inner in schema:
                self._note_names(inner, depth + 1)
        if not isinstance(schema, dict):
            return
        for keyword, prefix in (("$id", ""), ("id", ""), ("$anchor", "#"), ("$dynamicAnchor", "#")):
            name = schema.get(keyword)
            if isinstance(name, str) and name:
                self._named.setdefault(f"{prefix}{name}", schema)
                self._named.setdefault(f"{prefix}{name}".rstrip("#"), schema)
        for inner in schema.values():
            self._note_names(inner, depth + 1)


def _followed(start: Any, pointer: str) -> Any:
    if not pointer.startswith("/"):
        return NOWHERE
    found = start
    for step in pointer[1:].split("/"):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdecimal() and int(name[:9]) < len(found):
            found = found[int(name[:9])]
        else:
            return NOWHERE
    return found
