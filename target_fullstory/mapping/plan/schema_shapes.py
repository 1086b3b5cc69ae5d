"""What a SCHEMA message says about a column: its types, its parts, the paths that lead into it."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_DEPTH = 100
"""Levels of nesting that are followed; deeper values are left out."""


class Shape(msgspec.Struct, frozen=True):
    """A JSON Schema, reduced to what mapping needs."""

    # The JSON types a value may have besides null; empty where the schema does not say.
    types: frozenset[str] = frozenset()
    format: str | None = None  # the `format` annotation
    items: Any = None  # the schema of an array's elements; None where it does not say
    # The schemas of an object's properties; None for a free-form object.
    columns: dict[str, Any] | None = None

    @property
    def may_be_object(self) -> bool:
        """Whether a value may be an object."""
        return not self.types or "object" in self.types

    @property
    def only(self) -> str | None:
        """The one type a value has besides null; None where there are several or none."""
        return next(iter(self.types)) if len(self.types) == 1 else None


def shape_of(schema: Any) -> Shape:
    """Reads a JSON Schema; whatever it cannot interpret is "any value"."""
    if not isinstance(schema, dict):
        return Shape()
    declared = schema.get("type")
    if declared is None:
        branches = _branches(schema)
        if branches is not None:
            return branches
    names = [declared] if isinstance(declared, str) else declared
    types = frozenset(name for name in (names if isinstance(names, list) else []) if isinstance(name, str))
    columns = schema.get("properties")
    if not isinstance(columns, dict) or not columns:
        columns = None
    if not types and columns is not None:
        types = frozenset({"object"})
    text_format = schema.get("format")
    return Shape(
        types=types - {"null"},
        format=text_format if isinstance(text_format, str) else None,
        items=schema.get("items"),
        columns=columns,
    )


def _branches(schema: dict[str, Any]) -> Shape | None:
    """The shape of an `anyOf` or `oneOf`: that of its one branch besides null, else any value."""
    branches = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(branches, list):
        return None
    known = [branch for branch in branches if not _only_null(branch)]
    return shape_of(known[0]) if len(known) == 1 else Shape()


def _only_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") in ("null", ["null"])


def steps_to(shape: Shape, name: str) -> tuple[str, ...] | None:
    """The keys that lead to a column written with dots; a column of that very name comes first.

    Returns:
        The keys, for an array's items `0`, `1` and so on; the last one may still hold dots where it
        lies in a free-form object. None where the schema has no such column.
    """
    if shape.columns is None:
        return (name,)
    if name in shape.columns:
        return (name,)
    end = name.rfind(".")
    while end >= 0:
        head = name[:end]
        if head in shape.columns:
            rest = _steps_within(shape_of(shape.columns[head]), name[end + 1 :])
            if rest is not None:
                return (head, *rest)
        end = name.rfind(".", 0, end)
    return None


def _steps_within(shape: Shape, name: str) -> tuple[str, ...] | None:
    """The keys that lead on from a column's value."""
    rest = steps_to(shape, name) if shape.may_be_object else None
    if rest is not None or "array" not in shape.types:
        return rest
    index, dot, name = name.partition(".")
    if not is_index(index):
        return None
    inner = _steps_within(shape_of(shape.items), name) if dot else ()
    return None if inner is None else (index, *inner)


def is_index(step: str) -> bool:
    """Whether a step of a path can stand for an item of an array."""
    return len(step) <= _INDEX_DIGITS and step.isascii() and step.isdecimal()


_INDEX_DIGITS = 9


def schema_at(shape: Shape, steps: tuple[str, ...]) -> Any:
    """The schema of the value the keys lead to; None where it is not known."""
    schema: Any = None
    for step in steps:
        is_item = is_index(step) and "array" in shape.types
        schema = shape.items if is_item else (shape.columns or {}).get(step)
        shape = shape_of(schema)
    return schema


def known_paths(shape: Shape, depth: int = 4) -> list[str]:
    """Every column and dotted path the schema names, down to `depth` levels."""
    paths: list[str] = []
    for column, schema in (shape.columns or {}).items():
        paths.append(column)
        if depth > 1:
            paths += [f"{column}.{path}" for path in known_paths(shape_of(schema), depth - 1)]
    return paths
