"""From a source as written to one that reads records: its columns found in the SCHEMA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_fullstory.mapping.plan.property_planner import find_column
from target_fullstory.mapping.plan.sources import Column, Const, Source, Template

if TYPE_CHECKING:
    from target_fullstory.mapping.plan.schema_shapes import Shape
    from target_fullstory.mapping.spec_checks import WrittenSource


def bind(stream: str, key: str, shape: Shape, written: WrittenSource) -> Source:
    """Finds the columns of a source.

    Raises:
        ConfigurationError: The SCHEMA lacks one of them.
    """
    if isinstance(written, Const):
        return written
    if isinstance(written, str):
        return find_column(stream, key, shape, written)
    return Template(
        tuple(
            literal if name is None else find_column(stream, key, shape, name)
            for literal, name in written.parts
        )
    )


def columns_of(source: Source) -> tuple[Column, ...]:
    """The columns that a source reads."""
    if isinstance(source, Column):
        return (source,)
    if isinstance(source, Template):
        return tuple(part for part in source.parts if isinstance(part, Column))
    return ()
