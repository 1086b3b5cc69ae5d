"""A source as written in a mapping, and its columns found in the SCHEMA."""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import Any, Final, TypeAlias

import msgspec

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.schema_shapes import Shape, known_paths, schema_at, shape_of, steps_to
from target_fullstory.mapping.plan.sources import (
    Coalesce,
    Column,
    Const,
    Conversion,
    Converted,
    Source,
    Template,
    columns_in,
)
from target_fullstory.mapping.plan.written_conversions import OPTIONS, read_conversion
from target_fullstory.mapping.rules.time_zones import time_zone
from target_fullstory.mapping.spec import MappingSpec

_TOKEN = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<column>[^{}]+)\}|(?P<text>[^{}]+)")
ORIGINS: Final = ("column", "const", "template", "coalesce")
"""The keys of a source that say where its value comes from."""
_NO_CONVERSION = Conversion()


class TemplateText(msgspec.Struct, frozen=True):
    """A template as written: literal texts, and columns still by name."""

    # `(text, None)` for literal text, `("", column name)` for a column.
    parts: tuple[tuple[str, str | None], ...]


class WrittenConversion(msgspec.Struct, frozen=True):
    """A value to be converted, its columns still by name."""

    origin: str | TemplateText | tuple[str, ...]  # a column, a template, or the columns of a `coalesce`
    by: Conversion


WrittenSource: TypeAlias = str | Const | TemplateText | WrittenConversion
"""A source as written: a column's name, a constant, a template, or what is made of one of these."""


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


def zone_of(stream: str, spec: MappingSpec) -> tzinfo | None:
    """The time zone of a stream's dates without one; None for UTC."""
    return None if spec.timezone is None else time_zone(stream, "timezone", spec.timezone)


def written_source(stream: str, key: str, source: Any, zone: tzinfo | None = None) -> WrittenSource:
    """Reads a source as written in `fields` or `properties`; `zone` is that of the stream's dates."""
    if isinstance(source, str):
        if not source:
            raise config_error(stream, key, "the column's name is empty")
        return source
    origins = [name for name in ORIGINS if isinstance(source, dict) and name in source]
    for name in source if origins else ():
        if name not in ORIGINS and name not in OPTIONS:
            hint = did_you_mean(str(name), [*ORIGINS, *OPTIONS])
            raise config_error(stream, f"{key}.{name}", f"{name!r} is no key of a source{hint}")
    if len(origins) != 1:
        problem = "a source is a column's name, or has one of column, const, template and coalesce"
        unknown = (
            next((name for name in source if name not in OPTIONS), "") if isinstance(source, dict) else ""
        )
        raise config_error(stream, key, problem + (did_you_mean(str(unknown), ORIGINS) if unknown else ""))
    if "const" in source:
        if len(source) > 1:
            raise config_error(stream, f"{key}.const", "is sent as it is: nothing can stand beside it")
        return Const(source["const"])
    by = read_conversion(stream, key, source, zone)
    origin = _origin(stream, key, source)
    if by != _NO_CONVERSION or isinstance(origin, tuple):
        return WrittenConversion(origin, by)
    return origin


def _origin(stream: str, key: str, source: dict[str, Any]) -> str | TemplateText | tuple[str, ...]:
    if "column" in source:
        if not isinstance(source["column"], str) or not source["column"]:
            raise config_error(stream, f"{key}.column", "takes a column's name")
        return str(source["column"])
    if "coalesce" in source:
        names = source["coalesce"]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise config_error(stream, f"{key}.coalesce", "takes a list of columns' names")
        return tuple(names)
    template = source["template"]
    if not isinstance(template, str):
        raise config_error(stream, f"{key}.template", "a template is text such as 'user_{id}'")
    try:
        return parse_template(template)
    except ValueError as error:
        raise config_error(stream, f"{key}.template", f"malformed template: {error}") from None


def names_in(written: WrittenSource) -> list[str]:
    """The columns that a source names."""
    if isinstance(written, WrittenConversion):
        return names_in(written.origin) if not isinstance(written.origin, tuple) else list(written.origin)
    if isinstance(written, TemplateText):
        return [name for _, name in written.parts if name is not None]
    return [written] if isinstance(written, str) else []


def bind(stream: str, key: str, shape: Shape, written: WrittenSource) -> Source:
    """Finds the columns of a source."""
    if isinstance(written, Const):
        return written
    if isinstance(written, WrittenConversion):
        return Converted(_bound_origin(stream, key, shape, written), written.by)
    return _bound(stream, key, shape, written)


def _bound(stream: str, key: str, shape: Shape, written: str | TemplateText) -> Column | Template:
    if isinstance(written, str):
        return find_column(stream, key, shape, written, may_be_const=True)
    return Template(
        tuple(
            literal if name is None else find_column(stream, key, shape, name)
            for literal, name in written.parts
        )
    )


def _bound_origin(
    stream: str, key: str, shape: Shape, written: WrittenConversion
) -> Column | Template | Coalesce:
    if not isinstance(written.origin, tuple):
        return _bound(stream, key, shape, written.origin)
    columns = [find_column(stream, f"{key}.coalesce", shape, name) for name in written.origin]
    return Coalesce(tuple(columns), written.by.trim)


def check_not_excluded(stream: str, key: str, source: Source, excluded: frozenset[tuple[str, ...]]) -> None:
    """Makes sure that nothing under `exclude` is in a column that becomes a part of something else."""
    for column in columns_in(source):
        for path in excluded:
            if path[: len(column.steps)] == column.steps:
                problem = f"{'.'.join(path)!r}, which is under exclude, is in a column that is used here"
                raise config_error(stream, key, problem)


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
