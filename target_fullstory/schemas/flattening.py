"""A SCHEMA with a type for each column, as singer-sdk's flattening needs one.

Flattening opens an object whose columns are known, and makes JSON text of all other objects and of arrays.
"""

from __future__ import annotations

from typing import Any

_SCALARS = ["null", "boolean", "number", "string"]
_NESTED = {"array", "object"}


def with_types(schema: dict[str, Any], levels: int) -> dict[str, Any]:
    """A repaired SCHEMA, ready to have objects opened to so many levels."""
    columns = {name: _column(column, levels) for name, column in schema["properties"].items()}
    return {**schema, "properties": columns}


def _column(schema: dict[str, Any], levels: int) -> dict[str, Any]:
    schema = _only_branch(schema)
    if "type" not in schema:
        listed = {"enum": schema["enum"]} if "enum" in schema else {}
        return {"type": _SCALARS, **listed}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "object" in types and "properties" in schema and levels > 0:
        return with_types(schema, levels - 1)
    if _NESTED & set(types):
        texts = ["string", *(name for name in types if name not in _NESTED)]
        return {"type": list(dict.fromkeys(texts))}
    return schema


def _only_branch(schema: dict[str, Any]) -> dict[str, Any]:
    """The one alternative that a schema has besides null, as a schema of its own."""
    branches = schema.get("anyOf") or schema.get("oneOf") or []
    if "type" in schema or not all(isinstance(branch, dict) for branch in branches):
        return schema
    rest = [branch for branch in branches if branch.get("type") not in ("null", ["null"])]
    if len(rest) != 1 or "type" not in rest[0]:
        return schema
    types = rest[0]["type"] if isinstance(rest[0]["type"], list) else [rest[0]["type"]]
    nullable = ["null"] if len(rest) < len(branches) and "null" not in types else []
    return {**rest[0], "type": [*types, *nullable]}
