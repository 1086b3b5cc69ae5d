"""A source as written in a mapping, and its columns found in the SCHEMA."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.schema_shapes import Shape, known_paths, schema_at, shape_of, steps_to
from target_fullstory.mapping.plan.sources import Column, Const, Source, Template

_TOKEN = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<column>[^{}]+)\}|(?P<text>[^{}]+)")
_FORMS = {"const", "template"}


class TemplateText(msgspec.Struct, frozen=True):
    """A template as written: literal texts, and columns still by name."""

    # `(text, None)` for literal text, `("", column name)` for a column.
    parts: tuple[tuple[str, str | None], ...]


WrittenSource: TypeAlias = str | Const | TemplateText
"""A source as written: a column's name, a constant, a template."""


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
    if all(column is None for _, column in parts):
        message = "no column in it (use const for a fixed text)"
        raise ValueError(message)
    return TemplateText(tuple(parts))


def written_source(stream: str, key: str, source: Any) -> WrittenSource:
    """Reads a source as written in `fields`."""
    if isinstance(source, str):
        if not source:
            raise config_error(stream, key, "the column's name is empty")
        return source
    if not isinstance(source, dict) or len(source) != 1 or not source.keys() <= _FORMS:
        problem = "a source is a column's name, {const: …} or {template: …}, one of them"
        raise config_error(stream, key, problem)
    if "const" in source:
        return Const(source["const"])
    template = source["template"]
    if not isinstance(template, str):
        raise config_error(stream, f"{key}.template", "a template is text such as 'user_{id}'")
    try:
        return parse_template(template)
    except ValueError as error:
        raise config_error(stream, f"{key}.template", f"malformed template: {error}") from None


def bind(stream: str, key: str, shape: Shape, written: WrittenSource) -> Source:
    """Finds the columns of a source."""
    if isinstance(written, Const):
        return written
    if isinstance(written, str):
        return find_column(stream, key, shape, written, may_be_const=True)
    return Template(
        tuple(
            literal if name is None else find_column(stream, key, shape, name)
            for literal, name in written.parts
        )
    )


def find_column(stream: str, key: str, shape: Shape, name: str, *, may_be_const: bool = False) -> Column:
    """The column a mapping names; those of the SDK's record metadata are always there.

    With `may_be_const`, a name that is no column's may have been meant as a fixed text.
    """
    steps = steps_to(shape, name)
    if steps is None and name.startswith("_sdc_"):
        steps = (name,)
    if steps is None:
        problem = f"the SCHEMA of stream {stream!r} has no column {name!r}"
        problem += did_you_mean(name, known_paths(shape))
        if may_be_const:
            problem += f"{'' if problem.endswith('?') else '.'} A fixed text is written {{const: {name}}}."
        raise config_error(stream, key, problem)
    return Column(steps)


def whole_column(shape: Shape, column: Column) -> str | None:
    """The top-level column a source uses up: none for a path into an object."""
    if len(column.steps) > 1:
        return None
    name = column.steps[0]
    return None if shape.columns is None and "." in name else name


def is_object(shape: Shape, name: str) -> bool:
    """Whether the SCHEMA has, or may have, an object column of that name."""
    return has(shape, name) and shape_of(schema_at(shape, (name,))).may_be_object


def has(shape: Shape, name: str) -> bool:
    """Whether the SCHEMA has, or for all it says may have, a column of that name."""
    return shape.columns is None or name in shape.columns
