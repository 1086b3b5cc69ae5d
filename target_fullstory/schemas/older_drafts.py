"""Keywords of JSON Schema's older drafts, and of OpenAPI, as draft 2020-12 writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def in_draft_2020(schema: dict[str, Any], flaw: Callable[[str], None]) -> dict[str, Any]:
    """A schema whose own keywords are those of draft 2020-12; `flaw` is called with what was wrong."""
    made = dict(schema)
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(exclusive), bool):
            flaw(f"`{exclusive}` is of draft 4")
            if made.pop(exclusive) and bound in made:
                made[exclusive] = made.pop(bound)
    if isinstance(made.get("items"), list):
        flaw("`items` is a list, as in older drafts")
        items = made.pop("items")
        if items:
            made.setdefault("prefixItems", items)
        if "additionalItems" in made:
            made["items"] = made["additionalItems"]
    if isinstance(made.get("required"), bool):
        flaw("`required` is of draft 3")
        del made["required"]
    types = made["type"] if isinstance(made.get("type"), list) else [made.get("type", "null")]
    if made.get("nullable") is True and "null" not in types:
        flaw("`nullable` is of OpenAPI")
        made["type"] = [*types, "null"]
        if isinstance(made.get("enum"), list):
            made["enum"] = [*made["enum"], None]
    return made
