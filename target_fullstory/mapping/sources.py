"""Where a value comes from: a column, a constant or a template over columns."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import msgspec

from target_fullstory.mapping.values import text_of


class Missing:
    """The type of `MISSING`."""


MISSING: Final = Missing()
"""What reading a column gives where the record does not have it; null is None."""


class Column(msgspec.Struct, frozen=True):
    """A column, or a value inside a nested object.

    Attributes:
        steps: The keys that lead to it; one in a free-form object may itself be a path, see
            `steps_to`.
    """

    steps: tuple[str, ...]

    def read(self, record: dict[str, Any]) -> Any:
        """The column's value, `MISSING` where the record has none."""
        node: Any = record
        for step in self.steps:
            node = node[step] if type(node) is dict and step in node else _find(node, step)
        return node


def _find(node: Any, name: str) -> Any:
    """Looks a name up in an object: as it stands first, then as a path."""
    if not isinstance(node, dict):
        return MISSING
    if name in node:
        return node[name]
    head, dot, tail = name.partition(".")
    return _find(node.get(head, MISSING), tail) if dot else MISSING


def key_of(source: Source) -> str | None:
    """A column's key within the object that holds it; None for what may be a path, and no column."""
    if not isinstance(source, Column) or "." in source.steps[-1]:
        return None
    return source.steps[-1]


class Const(msgspec.Struct, frozen=True):
    """The same value for every record."""

    value: Any

    def read(self, record: dict[str, Any]) -> Any:  # noqa: ARG002 - sources are read alike
        """The value."""
        return self.value


class Template(msgspec.Struct, frozen=True):
    """Text with columns in it.

    Attributes:
        parts: Literal texts and columns, in order.
    """

    parts: tuple[str | Column, ...]

    def read(self, record: dict[str, Any]) -> Any:
        """The text; `MISSING` where one of the columns has nothing to write."""
        texts: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            value = part.read(record)
            text = None if value is MISSING else text_of(value)
            if text is None:
                return MISSING
            texts.append(text)
        return "".join(texts)


Source: TypeAlias = Column | Const | Template

_TOKEN = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<column>[^{}]+)\}|(?P<text>[^{}]+)")


class TemplateText(msgspec.Struct, frozen=True):
    """A template as written: literal texts, and columns still by name.

    Attributes:
        parts: `(text, None)` for literal text, `("", column name)` for a column.
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> list[str]:
        """The names of the columns it uses."""
        return [column for _, column in self.parts if column is not None]


def parse_template(text: str) -> TemplateText:
    """Takes a template such as `user_{id}` apart; `{{` and `}}` are literal braces.

    Raises:
        ValueError: A brace without its counterpart, or no column at all.
    """
    parts: list[tuple[str, str | None]] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            message = f"unmatched {text[position]!r} at character {position + 1}"
            raise ValueError(message)
        if token["column"] is not None:
            parts.append(("", token["column"]))
        else:
            literal = token["text"] if token["brace"] is None else token["brace"][0]
            if parts and parts[-1][1] is None:
                literal = parts.pop()[0] + literal
            parts.append((literal, None))
        position = token.end()
    template = TemplateText(tuple(parts))
    if not template.columns:
        message = "no column in it (use const for a fixed text)"
        raise ValueError(message)
    return template
