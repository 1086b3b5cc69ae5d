"""The plan that is made of the mapping of a stream of users or events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from target_fullstory.errors import config_error
from target_fullstory.kinds import Kind
from target_fullstory.mapping.plan.field_plan import Field, Group, fields_of, group_of
from target_fullstory.mapping.plan.json_form import read_json_form
from target_fullstory.mapping.plan.json_properties import plan_json
from target_fullstory.mapping.plan.property_plan import PropertyPlan
from target_fullstory.mapping.plan.property_planner import Planner
from target_fullstory.mapping.plan.schema_shapes import Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column, Source, columns_in
from target_fullstory.mapping.plan.written_sources import (
    bind,
    find_column,
    has,
    is_object,
    whole_column,
    written_source,
    zone_of,
)
from target_fullstory.mapping.rules.destinations import GROUPS
from target_fullstory.mapping.spec import MappingOptions, MappingSpec

_DELETED_AT: Final = "_sdc_deleted_at"
"""The column in which a tap says that a record is no longer in its source."""


class StreamPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the records of a stream become requests."""

    kind: Kind  # what they become
    fields: tuple[Field, ...]  # Fullstory's own fields, in the order of the request
    groups: tuple[Group, ...]  # object columns that are whole groups of fields
    properties: PropertyPlan  # how the record gives custom properties
    # One sentence per column whose property has another name, and for a `soft_delete` without effect.
    notices: tuple[str, ...]
    deleted: Column | None  # the column in which a record says that its user is gone; None for none
    schema: dict[str, Any]  # the SCHEMA it was made for
    key_properties: tuple[str, ...]  # the columns every record of the stream has

    @property
    def deletes_by_flag(self) -> bool:
        """Whether a boolean column of the record's own says that its user is gone."""
        if self.deleted is None or len(self.deleted.steps) > 1:
            return False
        return shape_of(schema_at(shape_of(self.schema), self.deleted.steps)).only == "boolean"


def plan_stream(
    stream: str,
    spec: MappingSpec,
    schema: dict[str, Any],
    key_properties: Sequence[str],
    options: MappingOptions,
) -> StreamPlan:
    """Plan a mapping of users or events for the stream's SCHEMA.

    A column that a field or a template takes as a whole is no property by default; one of which
    they take a part (`contact.email`) stays a property in full.
    """
    shape, zone = shape_of(schema), zone_of(stream, spec)
    if spec.json is not None:
        form = read_json_form(stream, spec, shape)
        by_name = dict(form.fields)
        groups = []
        for name, column in form.groups.items():
            group, parts = group_of(spec.kind, name, column)
            groups.append(group)
            by_name |= parts
        properties, notices = plan_json(stream, spec, form, shape, options)
    else:
        sources = _Sources(stream, spec, shape)
        sources.add_defaults(key_properties)
        sources.check_required()
        by_name, groups = sources.by_name, sources.groups
        planner = Planner(stream, spec, shape, options)
        properties, notices = planner.plan(frozenset(sources.used)), planner.notices
    deleted, deletion_notices = _deletion_column(stream, spec, shape, options)
    return StreamPlan(
        kind=spec.kind,
        fields=fields_of(spec.kind, by_name, zone),
        groups=tuple(groups),
        properties=properties,
        notices=(*notices, *deletion_notices),
        deleted=deleted,
        schema=schema,
        key_properties=tuple(key_properties),
    )


def _deletion_column(
    stream: str, spec: MappingSpec, shape: Shape, options: MappingOptions
) -> tuple[Column | None, list[str]]:
    """The column by which `hard_delete` knows whom to delete, None for none; and notices about it."""
    if spec.soft_delete is not None:
        column = find_column(stream, "soft_delete.column", shape, spec.soft_delete.column)
        if options.hard_delete:
            return column, []
        return None, [f"Stream {stream!r}: soft_delete has no effect while hard_delete is false."]
    there = spec.kind == "users" and options.hard_delete and has(shape, _DELETED_AT)
    return (Column((_DELETED_AT,)) if there else None), []


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
            written = written_source(stream, key, source, zone_of(stream, spec))
            if name in GROUPS[spec.kind]:
                self._add_group(name, find_column(stream, key, shape, str(written)))
            else:
                self.by_name[name] = bound = bind(stream, key, shape, written)
                for column in columns_in(bound):
                    self._use(column)
        if spec.soft_delete is not None:
            self._use(find_column(stream, "soft_delete.column", shape, spec.soft_delete.column))

    def add_defaults(self, key_properties: Sequence[str]) -> None:
        if self._spec.kind == "users":
            self._default_user(key_properties)
            return
        self._default("name")
        if "timestamp" not in self._spec.exclude:
            self._default("timestamp")
        for name in GROUPS["events"]:
            mapped = any(field.split(".")[0] == name for field in self._spec.fields)
            withheld = self.used.union(self._spec.exclude)
            if not mapped and name not in withheld and is_object(self._shape, name):
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

    def _default(self, name: str) -> None:
        if name not in self.by_name and has(self._shape, name):
            self.by_name[name] = Column((name,))
            self.used.add(name)

    def _add_group(self, name: str, column: Column) -> None:
        self._use(column)
        group, sources = group_of(self._spec.kind, name, column, self._spec.exclude)
        self.groups.append(group)
        self.by_name |= sources

    def _use(self, column: Column) -> None:
        name = whole_column(self._shape, column)
        if name is not None:
            self.used.add(name)
