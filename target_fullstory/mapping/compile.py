"""From a mapping and a SCHEMA to a stream's compiled mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_fullstory.mapping.checks import WrittenSource, check_spec, written_source
from target_fullstory.mapping.destinations import DESTINATIONS, GROUPS
from target_fullstory.mapping.fields import Field, Group, runs_of
from target_fullstory.mapping.mistakes import mistake
from target_fullstory.mapping.planning import (
    Planner,
    find_column,
    has,
    is_object,
    whole_column,
)
from target_fullstory.mapping.schemas import Shape, shape_of
from target_fullstory.mapping.sources import Column, Const, Source, Template
from target_fullstory.mapping.stream import StreamMapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_fullstory.mapping.spec import MappingOptions, MappingSpec


def compile_mapping(
    stream: str,
    spec: MappingSpec,
    schema: dict[str, Any],
    key_properties: Sequence[str],
    options: MappingOptions,
) -> StreamMapping:
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
    sources = _Sources(stream, spec, shape)
    sources.add_defaults(key_properties)
    sources.check_required()
    planner = Planner(stream, spec, shape, options)
    properties = planner.plan(frozenset(sources.used))
    fields = tuple(
        Field(destination, sources.by_name[name])
        for name, destination in DESTINATIONS[spec.kind].items()
        if name in sources.by_name
    )
    return StreamMapping(
        stream=stream,
        kind=spec.kind,
        notices=tuple(planner.notices),
        fields=fields,
        runs=runs_of(fields),
        groups=tuple(sources.groups),
        properties=properties,
        schema=schema,
        key_properties=tuple(key_properties),
    )


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
        raise mistake(self._stream, f"fields.{required[0]}", problem)

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
        known: dict[str, Any] = {}
        for destination in DESTINATIONS[self._spec.kind].values():
            if destination.path[0] != name:
                continue
            steps = (*column.steps, *destination.path[1:])
            if any(
                ".".join(steps[:end]) in self._spec.exclude
                for end in range(len(column.steps) + 1, len(steps) + 1)
            ):
                continue
            node = known
            for key in destination.path[1:]:
                node = node.setdefault(key, {})
            self.by_name[destination.name] = Column(steps)
        if name == "session":
            # An application's own session id seldom matches: it has to be asked for.
            self.by_name.pop("session.uid", None)
            known.pop("uid", None)
        source = ".".join(column.steps)
        withheld = frozenset(
            name + path.removeprefix(source)
            for path in self._spec.exclude
            if path.startswith(f"{source}.")
        )
        self.groups.append(Group(name, column, known, withheld))

    def _bind(self, key: str, written: WrittenSource) -> Source:
        if isinstance(written, Const):
            return written
        if isinstance(written, str):
            return self._use(find_column(self._stream, key, self._shape, written))
        return Template(
            tuple(
                literal
                if name is None
                else self._use(find_column(self._stream, key, self._shape, name))
                for literal, name in written.parts
            )
        )

    def _use(self, column: Column) -> Column:
        name = whole_column(self._shape, column)
        if name is not None:
            self.used.add(name)
        return column
