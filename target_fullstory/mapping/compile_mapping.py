"""From a mapping and a SCHEMA to a stream's compiled mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.errors import config_error
from target_fullstory.mapping.calls.call_plan import COMPILERS
from target_fullstory.mapping.calls.deletions import DELETED_AT, Deletions
from target_fullstory.mapping.plan.field_plan import Field, Group, group_of, runs_of
from target_fullstory.mapping.plan.json_form import read_json_form
from target_fullstory.mapping.plan.json_properties import plan_json
from target_fullstory.mapping.plan.property_planner import (
    Planner,
    find_column,
    has,
    is_object,
    whole_column,
)
from target_fullstory.mapping.plan.schema_shapes import Shape, shape_of
from target_fullstory.mapping.plan.source_columns import bind, columns_of
from target_fullstory.mapping.plan.sources import Column, Source
from target_fullstory.mapping.rules.destinations import DESTINATIONS, GROUPS
from target_fullstory.mapping.spec_checks import WrittenSource, check_spec, written_source
from target_fullstory.mapping.stream_mapping import StreamMapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_fullstory.mapping.calls.server_call import CallMapping
    from target_fullstory.mapping.plan.property_plan import PropertyPlan
    from target_fullstory.mapping.spec import MappingOptions, MappingSpec


def compile_mapping(
    stream: str,
    spec: MappingSpec,
    schema: dict[str, Any],
    key_properties: Sequence[str],
    options: MappingOptions,
) -> StreamMapping | CallMapping:
    """Holds a mapping against a stream's SCHEMA and makes it ready for records.

    A column that a field or a template takes as a whole is no property by default; one of which
    they take a part (`contact.email`) stays a property in full.

    Args:
        stream: The stream's name.
        spec: Its mapping.
        schema: The SCHEMA message's `schema`.
        key_properties: The SCHEMA message's `key_properties`.
        options: The settings that bear on every mapping.

    Raises:
        ConfigurationError: What `check_spec` finds, a column the SCHEMA lacks, a required field
            without a source. The message names the key and the nearest valid name.
    """
    check_spec(stream, spec)
    shape = shape_of(schema)
    compile_calls = COMPILERS.get(spec.kind)
    if compile_calls is not None:
        return compile_calls(stream, spec, shape, key_properties, options)
    plan = _planned_json if spec.json is not None else _planned
    parts = plan(stream, spec, shape, key_properties, options)
    fields = tuple(
        Field(destination, parts.sources[name])
        for name, destination in DESTINATIONS[spec.kind].items()
        if name in parts.sources
    )
    return StreamMapping(
        stream=stream,
        kind=spec.kind,
        notices=tuple(parts.notices),
        fields=fields,
        runs=runs_of(fields),
        groups=tuple(parts.groups),
        properties=parts.properties,
        schema=schema,
        key_properties=tuple(key_properties),
        deletions=_deletions(spec, shape, fields) if options.hard_delete else None,
    )


class _Parts(msgspec.Struct, frozen=True):
    """What is planned of a stream's requests: the sources by field, and what goes with them."""

    sources: dict[str, Source]
    groups: list[Group]
    properties: PropertyPlan
    notices: list[str]


def _planned(
    stream: str,
    spec: MappingSpec,
    shape: Shape,
    key_properties: Sequence[str],
    options: MappingOptions,
) -> _Parts:
    sources = _Sources(stream, spec, shape)
    sources.add_defaults(key_properties)
    sources.check_required()
    planner = Planner(stream, spec, shape, options)
    properties = planner.plan(frozenset(sources.used))
    return _Parts(sources.by_name, sources.groups, properties, planner.notices)


def _planned_json(
    stream: str,
    spec: MappingSpec,
    shape: Shape,
    key_properties: Sequence[str],  # noqa: ARG001 - a template has no defaults
    options: MappingOptions,
) -> _Parts:
    form = read_json_form(stream, spec, shape)
    sources = dict(form.fields)
    groups = []
    for name, column in form.groups.items():
        group, parts = group_of(spec.kind, name, column)
        groups.append(group)
        sources |= parts
    properties, notices = plan_json(stream, spec, form, shape, options)
    return _Parts(sources, groups, properties, notices)


def _deletions(spec: MappingSpec, shape: Shape, fields: tuple[Field, ...]) -> Deletions | None:
    if spec.kind != "users" or not has(shape, DELETED_AT):
        return None
    return Deletions(runs_of(tuple(f for f in fields if f.destination.name in ("uid", "id"))))


class _Sources:
    """The sources of a stream's fields: those written, then the defaults."""

    def __init__(self, stream: str, spec: MappingSpec, shape: Shape) -> None:
        self.by_name: dict[str, Source] = {}
        self.groups: list[Group] = []
        self.used: set[str] = set()
        self._stream = stream
        self._spec = spec
        self._shape = shape
        for name, source in spec.fields.items():
            key = f"fields.{name}"
            written = written_source(stream, key, source)
            if name in GROUPS[spec.kind]:
                self._add_group(name, find_column(stream, key, shape, str(written)))
            else:
                self.by_name[name] = self._bind(key, written)

    def add_defaults(self, key_properties: Sequence[str]) -> None:
        if self._spec.kind == "users":
            self._default_user(key_properties)
            return
        self._default("name")
        if "timestamp" not in self._spec.exclude:
            self._default("timestamp")
        for name in GROUPS["events"]:
            mapped = any(field.split(".")[0] == name for field in self._spec.fields)
            if not mapped and name not in self._withheld() and is_object(self._shape, name):
                self._add_group(name, Column((name,)))

    def check_required(self) -> None:
        """Raises ConfigurationError where a required field has no source."""
        required = ("uid", "id") if self._spec.kind == "users" else ("name",)
        if any(name in self.by_name for name in required):
            return
        hint = " or a single key property" if self._spec.kind == "users" else ""
        problem = (
            f"no source for {' or '.join(required)}, which Fullstory requires, and the SCHEMA of "
            f"stream {self._stream!r} has no column {required[0]!r}{hint}"
        )
        raise config_error(self._stream, f"fields.{required[0]}", problem)

    def _default_user(self, key_properties: Sequence[str]) -> None:
        key = key_properties[0] if len(key_properties) == 1 else None
        # A SCHEMA without columns cannot tell whether there is a `uid`; the key is sure to be.
        if "uid" not in self.used and (self._shape.columns is not None or key is None):
            self._default("uid")
        if key is not None and "uid" not in self.by_name and "id" not in self.by_name:
            self.by_name["uid"] = Column((key,))
            self.used.add(key)
        for name in ("email", "display_name"):
            if name not in self._spec.exclude:
                self._default(name)

    def _withheld(self) -> set[str]:
        return self.used.union(self._spec.exclude)

    def _default(self, name: str) -> None:
        if name not in self.by_name and has(self._shape, name):
            self.by_name[name] = Column((name,))
            self.used.add(name)

    def _add_group(self, name: str, column: Column) -> None:
        self._use(column)
        group, sources = group_of(self._spec.kind, name, column, self._spec.exclude)
        self.groups.append(group)
        self.by_name |= sources

    def _bind(self, key: str, written: WrittenSource) -> Source:
        source = bind(self._stream, key, self._shape, written)
        for column in columns_of(source):
            self._use(column)
        return source

    def _use(self, column: Column) -> Column:
        name = whole_column(self._shape, column)
        if name is not None:
            self.used.add(name)
        return column
