"""From a mapping and a SCHEMA to the plan of a stream's properties."""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.errors import config_error
from target_fullstory.mapping.plan.column_types import declared_type, may_fit, schema_of
from target_fullstory.mapping.plan.property_plan import Entry, Node, PropertyPlan, Scope
from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH, Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column, Source
from target_fullstory.mapping.plan.written_sources import (
    bind,
    check_not_excluded,
    find_column,
    written_source,
    zone_of,
)
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, NameScope, property_name
from target_fullstory.mapping.spec import MappingOptions, MappingSpec


def shape_at(shape: Shape, steps: tuple[str, ...]) -> Shape:
    """The shape of the value the keys lead to."""
    return shape_of(schema_at(shape, steps)) if steps else shape


class _Exclusions(msgspec.Struct, frozen=True):
    """The columns under `exclude`, as keys from the level at hand on."""

    paths: frozenset[tuple[str, ...]]

    @property
    def here(self) -> frozenset[str]:
        return frozenset(path[0] for path in self.paths if len(path) == 1)

    def within(self, column: str) -> _Exclusions:
        return _Exclusions(frozenset(path[1:] for path in self.paths if len(path) > 1 and path[0] == column))

    def joined(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The columns, and those not in the SCHEMA of which a part is excluded."""
        heads = sorted(path[0] for path in self.paths if len(path) > 1)
        return columns | {head: None for head in heads if head not in columns}


_NO_EXCLUSIONS = _Exclusions(frozenset())


class _Level(msgspec.Struct, frozen=True):
    """Where in a request's properties a column goes."""

    names: NameScope
    parent: str
    depth: int


class Planner:
    """Plans one stream's properties.

    Attributes:
        notices: One sentence per column that is not sent under its own name.
    """

    def __init__(
        self,
        stream: str,
        spec: MappingSpec,
        shape: Shape,
        options: MappingOptions,
        declared: dict[str, str] | None = None,
    ) -> None:
        """Take a stream's mapping and SCHEMA, and types by property that go before the SCHEMA's."""
        self.notices: list[str] = []
        self._stream = stream
        self._spec = spec
        self._shape = shape
        self._options = options
        self._names = NameScope()
        self._zone = zone_of(stream, spec)
        self._declared = declared or {}
        paths: list[tuple[str, ...]] = []
        for index, name in enumerate(spec.exclude):
            steps = find_column(stream, f"exclude.{index}", shape, name).steps
            paths.append(steps)
            if "." in steps[-1] and name not in (shape.columns or {}):
                # The SCHEMA cannot tell whether this is one key or a path: neither is to be sent.
                paths.append((*steps[:-1], *steps[-1].split(".")))
        self._excluded = _Exclusions(frozenset(paths))

    def plan(self, used: frozenset[str]) -> PropertyPlan:
        """Plan the properties."""
        properties = self._spec.properties
        skipped: frozenset[str] | None = None
        if properties is None:
            columns = [
                column
                for column in self._excluded.joined(self._shape.columns or {})
                if column not in used and column not in self._excluded.here and not column.startswith("_sdc_")
            ]
            entries = [self._entry(Column((column,)), column) for column in columns]
            skipped = used | self._excluded.here | frozenset(columns)
        elif isinstance(properties, dict):
            entries = [self._named(name, source) for name, source in properties.items()]
        else:
            entries = [
                self._entry(self._column(str(index), name), name) for index, name in enumerate(properties)
            ]
        return self._made(entries, skipped)

    def plan_sources(self, properties: list[tuple[str, Source, Shape]]) -> PropertyPlan:
        """Plan properties of any source."""
        top = _Level(self._names, "", 1)
        entries = []
        for name, source, shape in properties:
            entries.append(Entry(source, node=self._node(name, shape, _NO_EXCLUSIONS, top)))
        return self._made(entries)

    def plan_spread(self, column: Column, shape: Shape) -> PropertyPlan:
        """Plan the parts of an object column as the properties."""
        scope = self._scope(shape, _NO_EXCLUSIONS, _Level(self._names, "", 1))
        return self._made([Entry(column, spread=scope)])

    def _made(self, entries: list[Entry], skipped: frozenset[str] | None = None) -> PropertyPlan:
        return PropertyPlan(
            entries=tuple(entries),
            names=self._names,
            skipped=skipped,
            send_nulls=self._options.null_values == "send",
            zone=self._zone,
        )

    def _named(self, name: str, written: Any) -> Entry:
        """A property that the mapping gives a source."""
        key = f"properties.{name}"
        source = bind(self._stream, key, self._shape, written_source(self._stream, key, written, self._zone))
        if isinstance(source, Column):
            return self._entry(source, name, renamed=True)
        check_not_excluded(self._stream, key, source, self._excluded.paths)
        shape = shape_of(schema_of(source, self._shape))
        return Entry(source, node=self._node(name, shape, _NO_EXCLUSIONS, _Level(self._names, "", 1)))

    def _column(self, key: str, name: str) -> Column:
        return find_column(self._stream, f"properties.{key}", self._shape, name)

    def _entry(self, source: Column, wanted: str, *, renamed: bool = False) -> Entry:
        shape = shape_at(self._shape, source.steps)
        excluded = self._excluded
        for step in source.steps:
            excluded = excluded.within(step)
        top = _Level(self._names, "", 1)
        if source.steps == ("properties",) and not renamed and shape.may_be_object:
            return Entry(source, spread=self._scope(shape, excluded, top))
        return Entry(source, node=self._node(wanted, shape, excluded, top))

    def _scope(self, shape: Shape, excluded: _Exclusions, level: _Level) -> Scope:
        nodes = {
            column: self._node(column, shape_of(schema), excluded.within(column), level)
            for column, schema in excluded.joined(shape.columns or {}).items()
            if column not in excluded.here
        }
        return Scope(nodes, excluded.here, level.names)

    def _node(self, column: str, shape: Shape, excluded: _Exclusions, level: _Level) -> Node:
        name = level.names.take(column)
        path = f"{level.parent}{name}"
        if not level.parent and len(path) > MAX_NAME_LENGTH:
            problem = (
                f"the property name made of column {column[:60]!r}… has {len(path)} characters, "
                f"Fullstory takes {MAX_NAME_LENGTH}; exclude it or give it a name under properties"
            )
            raise config_error(self._stream, "properties", problem)
        if name != column:
            self._note(f"{level.parent}{column}", path, collided=name != property_name(column))
        scope = None
        if shape.may_be_object and (shape.columns or excluded.paths) and level.depth < MAX_DEPTH:
            inner = _Level(NameScope(), f"{path}.", level.depth + 1)
            scope = self._scope(shape, excluded, inner)
        type_name, is_declared = self._type(path, shape)
        return Node(name, path, type_name, not is_declared, scope)

    def _type(self, path: str, shape: Shape) -> tuple[str | None, bool]:
        """The type of a property's values, None for any, and whether it is to be declared."""
        declared = self._declared.get(path)
        if declared is None:
            return declared_type(shape, self._options)
        if not may_fit(declared, shape):
            problem = f"the property is never of type {declared!r}, but of {sorted(shape.types)}"
            raise config_error(self._stream, f"json.schema.properties.{path}", problem)
        return declared, True

    def _note(self, column: str, path: str, *, collided: bool) -> None:
        reason = "that name was taken" if collided else "Fullstory does not take its own name"
        self.notices.append(f"Stream {self._stream!r}: {column!r} is sent as property {path!r}: {reason}.")
