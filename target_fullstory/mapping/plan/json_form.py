"""The `json` form of a mapping: the whole request of a user or an event as one template."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, NoReturn

import msgspec

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.kinds import Kind
from target_fullstory.mapping.plan.json_functions import compile_template, compile_value, is_call
from target_fullstory.mapping.plan.schema_shapes import Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column, Const, ObjectOf, Source, UnixSeconds
from target_fullstory.mapping.plan.written_sources import zone_of
from target_fullstory.mapping.rules.declared_types import TYPES
from target_fullstory.mapping.rules.destinations import DESTINATIONS, GROUPS, check_constant
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, MAX_USER_PROPERTIES, property_name
from target_fullstory.mapping.rules.property_values import LEFT_OUT, leaf_of
from target_fullstory.mapping.rules.timestamps import written_seconds
from target_fullstory.mapping.spec import MappingSpec


class JsonForm(msgspec.Struct, frozen=True):
    """A `json` template, taken apart."""

    fields: dict[str, Source] = {}  # destination to source
    # Destinations that hold others, such as `context`, to the object column that is to be the whole of them.
    groups: dict[str, Column] = {}
    # Name to source, or the object column whose parts are the properties.
    properties: dict[str, Source] | Column = {}
    # Property to the type that the template declares, the property as the template names it, with its parents
    # and dots.
    declared: dict[str, str] = {}


def read_json_form(stream: str, spec: MappingSpec, shape: Shape) -> JsonForm:
    """Takes the `json` of a mapping of users or events apart."""
    for key in ("fields", "properties", "exclude"):
        if getattr(spec, key):
            raise config_error(stream, key, "json is the whole request: leave out one of the two")
    if not isinstance(spec.json, dict):
        raise config_error(stream, "json", "takes an object, the whole request")
    return _Reader(stream, spec.kind, shape, zone_of(stream, spec)).read(spec.json)


class _Reader:
    def __init__(self, stream: str, kind: Kind, shape: Shape, zone: tzinfo | None) -> None:
        self._stream = stream
        self._kind: Kind = kind
        self._shape = shape
        self._zone = zone
        self._known = DESTINATIONS[kind]
        self._form = JsonForm()
        self._constants = 0

    def read(self, template: dict[str, Any]) -> JsonForm:
        properties: Any = None
        schema: Any = None
        for name, inner in template.items():
            if name == "properties":
                properties = inner
            elif name == "schema":
                schema = inner
            elif inner is not None:
                self._add(name, inner)
        self._check_required()
        self._check_identity()
        form = self._form
        if properties is not None:
            form = msgspec.structs.replace(form, properties=self._properties(properties))
        if schema is not None:
            form = msgspec.structs.replace(form, declared=self._declared(schema))
        return form

    def _add(self, name: str, template: Any) -> None:
        """Adds what stands under a destination, or under one that holds others."""
        key = f"json.{name}"
        if name in self._known:
            source = compile_value(self._stream, key, template, self._shape, self._zone)
            if name == "timestamp" and is_call(template, "toUnixTimestamp"):
                source = _written(source)
            self._add_field(name, source)
        elif not any(known.startswith(f"{name}.") for known in self._known):
            valid = [*self._known, *GROUPS[self._kind], "properties", "schema"]
            problem = f"Fullstory's {self._kind} have no field {name!r}"
            self._fail(key, problem + did_you_mean(name, valid))
        elif isinstance(template, dict):
            for inner, value in template.items():
                if value is not None:
                    self._add(f"{name}.{inner}", value)
        else:
            self._form.groups[name] = self._object_column(key, template)

    def _add_field(self, name: str, source: Source) -> None:
        key = f"json.{name}"
        if name in self._form.fields:
            self._fail(key, "is given twice")
        destination = self._known[name]
        if isinstance(source, Const):
            check_constant(self._stream, key, destination, source.value)
        self._form.fields[name] = source

    def _object_column(self, key: str, template: Any) -> Column:
        """The column of a call that stands where an object is to be."""
        expected = "takes an object, or ['var', …] of an object column"
        if not is_call(template):
            self._fail(key, expected)
        source = compile_template(self._stream, key, template, self._shape)
        if not isinstance(source, Column):
            self._fail(key, expected)
        if not shape_of(schema_at(self._shape, source.steps)).may_be_object:
            self._fail(key, f"{expected}; {'.'.join(source.steps)!r} is none")
        return source

    def _check_required(self) -> None:
        required = ("uid", "id") if self._kind == "users" else ("name",)
        if not any(name in self._form.fields for name in required):
            self._fail("json", f"has no {' or '.join(required)}, which Fullstory requires")

    def _check_identity(self) -> None:
        """Refuses what would never be sent, for an event is identified in one way only."""
        given = [name for name in _IDENTITIES if name in self._form.fields]
        for index, name in enumerate(given):
            if not isinstance(self._form.fields[name], Const):
                continue
            session = name.startswith("session.")
            never = [other for other in given[index + 1 :] if session or other in _USERS]
            never += [group for group in self._form.groups if session and group == "user"]
            if never:
                problem = f"is never sent: {name} is a constant, and Fullstory takes one of them"
                self._fail(f"json.{never[0]}", problem)

    def _properties(self, template: Any) -> dict[str, Source] | Column:
        if not isinstance(template, dict):
            return self._object_column("json.properties", template)
        nested: dict[str, Any] = {}
        for name, inner in template.items():
            self._put("json.properties", nested, name, inner)
        properties: dict[str, Source] = {}
        for name, inner in nested.items():
            key = f"json.properties.{name}"
            source = compile_template(self._stream, key, inner, self._shape, self._zone)
            self._check_property(key, name, property_name(name), source)
            properties[name] = source
        if self._kind == "users" and self._constants > MAX_USER_PROPERTIES:
            problem = f"{self._constants} constants, Fullstory takes {MAX_USER_PROPERTIES} properties"
            self._fail("json.properties", problem)
        return properties

    def _put(self, key: str, node: dict[str, Any], name: str, template: Any) -> None:
        """Puts a property into its object; dots in its name nest, as on a way through Meltano."""
        first, dot, rest = name.partition(".")
        key = f"{key}.{first}"
        if dot:
            template = {rest: template}
        if isinstance(template, dict):
            inner = node.setdefault(first, {})
            if not isinstance(inner, dict):
                self._fail(key, "is given twice")
            for member, value in template.items():
                self._put(key, inner, member, value)
        elif template is not None:
            if first in node:
                self._fail(key, "is given twice")
            node[first] = template

    def _check_property(self, key: str, name: str, path: str, source: Source) -> None:
        """Refuses names and constants that Fullstory does not take."""
        if not name:
            self._fail(key, "the name is empty")
        if len(path) > MAX_NAME_LENGTH:
            problem = f"the property's name has {len(path)} characters, Fullstory takes"
            self._fail(key[:80] + "…", f"{problem} {MAX_NAME_LENGTH}")
        for inner, member in members_of(source):
            self._check_property(f"{key}.{inner}", inner, f"{path}.{property_name(inner)}", member)
        if isinstance(source, Const) and not isinstance(source.value, dict):
            self._constants += 1
            if leaf_of(source.value) is LEFT_OUT:
                self._fail(key, "Fullstory cannot take this value: it is over 8,192 bytes, or no text")

    def _declared(self, template: Any) -> dict[str, str]:
        if not isinstance(template, dict) or template.keys() - {"properties"}:
            self._fail("json.schema", "takes {properties: {name: type}} and nothing else")
        declared: dict[str, str] = {}
        self._declare("", template.get("properties") or {}, declared)
        return declared

    def _declare(self, prefix: str, types: Any, declared: dict[str, str]) -> None:
        if not isinstance(types, dict):
            self._fail(f"json.schema.properties{prefix}", "takes {name: type}")
        for name, declared_type in types.items():
            path = f"{prefix}.{name}"
            if isinstance(declared_type, dict):
                # Names of nested properties have dots, at which Meltano splits them.
                self._declare(path, declared_type, declared)
                continue
            if declared_type not in TYPES:
                problem = f"{declared_type!r} is no type{did_you_mean(str(declared_type), TYPES)}"
                self._fail(f"json.schema.properties{path}", problem)
            declared[path[1:]] = declared_type

    def _fail(self, key: str, problem: str) -> NoReturn:
        raise config_error(self._stream, key, problem)


def _written(seconds: Source) -> Source:
    """Seconds as a moment: the number, of a distant year, would be taken for milliseconds."""
    if isinstance(seconds, UnixSeconds):
        return msgspec.structs.replace(seconds, written=True)
    return Const(written_seconds(seconds.value)) if isinstance(seconds, Const) else seconds


_USERS = ("user.uid", "user.id")
_IDENTITIES = ("session.id", "session.uid", *_USERS, "session.use_most_recent")
"""From the one that is sent in place of all others on."""


def members_of(source: Source) -> list[tuple[str, Source]]:
    """The members of an object that a template spells out."""
    if isinstance(source, ObjectOf):
        return list(source.members)
    if isinstance(source, Const) and isinstance(source.value, dict):
        return [(name, Const(value)) for name, value in source.value.items()]
    return []
