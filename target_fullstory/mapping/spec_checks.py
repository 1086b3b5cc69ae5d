"""What can be wrong with a mapping before any SCHEMA is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.kinds import Kind
from target_fullstory.mapping.calls.call_checks import check_keys
from target_fullstory.mapping.plan.json_form import read_json_form
from target_fullstory.mapping.plan.json_properties import plan_json
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import Const
from target_fullstory.mapping.plan.written_conversions import OPTIONS
from target_fullstory.mapping.plan.written_sources import ORIGINS, names_in, written_source, zone_of
from target_fullstory.mapping.rules.destinations import DESTINATIONS, GROUPS, check_constant
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, property_name
from target_fullstory.mapping.rules.property_values import LEFT_OUT, leaf_of
from target_fullstory.mapping.spec import MappingOptions, MappingSpec, Mark


def check_spec(stream: str, spec: MappingSpec) -> None:
    """Finds the mistakes in a mapping that show without a SCHEMA.

    Raises:
        ConfigurationError: An unknown kind or destination, a source that is no source, a malformed
            template, a constant its destination cannot take, names given twice or both sent and
            excluded, keys of a sync mode that do not go together. The message names the key and the nearest
            valid name.
    """
    if spec.kind not in get_args(Kind):
        problem = f"unknown kind {spec.kind!r}{did_you_mean(spec.kind, get_args(Kind))}"
        raise config_error(stream, "kind", problem)
    check_keys(stream, spec)
    _check_sync(stream, spec)
    zone_of(stream, spec)
    if spec.json is not None and spec.kind in ("users", "events"):
        _check_json(stream, spec)
        return
    for name, source in spec.fields.items():
        _check_field(stream, spec, name, source)
    _check_properties(stream, spec)


def _check_sync(stream: str, spec: MappingSpec) -> None:
    if spec.sync != "all" and spec.kind not in ("users", "events"):
        problem = f"{spec.sync!r} is for kinds 'users' and 'events'; of {spec.kind!r} every record is sent"
        raise config_error(stream, "sync", problem)
    if spec.sync == "mirror" and spec.kind != "users":
        raise config_error(stream, "sync", f"'mirror' is for kind 'users'; {spec.kind} take 'changed'")
    if spec.sync == "mirror" and spec.vanished is None:
        problem = "'mirror' needs vanished, too: delete, or {mark: {property: value}}"
        raise config_error(stream, "sync", problem)
    for key in ("vanished", "full_table"):
        if spec.sync != "mirror" and getattr(spec, key):
            raise config_error(stream, key, f"goes with sync: mirror, and sync is {spec.sync!r}")
    if isinstance(spec.vanished, Mark):
        _check_mark(stream, spec.vanished.mark)
    if spec.identity is not None:
        _check_identity(stream, spec, spec.identity)


def _check_mark(stream: str, properties: Mapping[str, Any]) -> None:
    if not properties:
        raise config_error(stream, "vanished.mark", "takes at least one property and its value")
    for path, value in _leaves(properties):
        key = f"vanished.mark.{'.'.join(path):.80}"
        for name in path:
            if property_name(name) != name:
                hint = f"{property_name(name)!r} would do"
                raise config_error(stream, key, f"Fullstory takes no property name {name!r:.80}; {hint}")
        if len(".".join(path)) > MAX_NAME_LENGTH:
            raise config_error(stream, key, f"the name has more than {MAX_NAME_LENGTH} characters")
        if value is None or leaf_of(value) != value:
            raise config_error(stream, key, f"a property cannot be {value!r:.80}")


def _leaves(
    properties: Mapping[str, Any], parents: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value with the names that lead to it."""
    for name, value in properties.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*parents, name))
        else:
            yield (*parents, name), value


def _check_identity(stream: str, spec: MappingSpec, columns: list[str]) -> None:
    if spec.kind != "events" or spec.sync != "changed":
        problem = f"goes with kind 'events' and sync: changed; here are {spec.kind!r} and {spec.sync!r}"
        raise config_error(stream, "identity", problem)
    if not columns:
        problem = "names no column; leave it out, and an event is known by its request and its key properties"
        raise config_error(stream, "identity", problem)
    for index, column in enumerate(columns):
        if not column:
            raise config_error(stream, f"identity.{index}", "the column's name is empty")
        if column in columns[:index]:
            raise config_error(stream, f"identity.{index}", f"{column!r} is given twice")


def _check_json(stream: str, spec: MappingSpec) -> None:
    nothing_told = Shape()
    try:
        form = read_json_form(stream, spec, nothing_told)
        plan_json(stream, spec, form, nothing_told, MappingOptions())
    except RecursionError:
        raise config_error(stream, "json", "the template is nested too deeply") from None


def _check_field(stream: str, spec: MappingSpec, name: str, source: Any) -> None:
    key = f"fields.{name}"
    known = DESTINATIONS[spec.kind]
    groups = GROUPS[spec.kind]
    written = written_source(stream, key, source, zone_of(stream, spec))
    if name in groups:
        if not isinstance(written, str):
            problem = f"takes an object column; set {name}.… one by one for constants and templates"
            raise config_error(stream, key, problem)
        inner = [other for other in spec.fields if other.startswith(f"{name}.")]
        if inner:
            raise config_error(stream, key, f"contradicts fields.{inner[0]}: map the whole or its parts")
        return
    if name not in known:
        problem = f"Fullstory's {spec.kind} have no field {name!r}"
        if spec.kind == "request":
            problem = f"{name!r} is neither method nor path; members of the body are properties"
        field, _, last = name.rpartition(".")
        if field in known:  # a source with a mistyped key, which looks like a field with a part
            hint = did_you_mean(last, [*ORIGINS, *OPTIONS])
            raise config_error(stream, key, f"{last!r} is no key of a source{hint}")
        raise config_error(stream, key, problem + did_you_mean(name, [*known, *groups]))
    if isinstance(written, Const):
        check_constant(stream, f"{key}.const", known[name], written.value)


def _check_properties(stream: str, spec: MappingSpec) -> None:
    if spec.properties is None:
        return
    named = isinstance(spec.properties, dict)
    keyed: Iterable[tuple[str, Any]] = (
        spec.properties.items()
        if isinstance(spec.properties, dict)
        else ((str(index), column) for index, column in enumerate(spec.properties))
    )
    for name, source in keyed:
        key = f"properties.{name}"
        if not name or not source:
            raise config_error(stream, key, "the name is empty")
        if not named and [*spec.properties].index(source) != int(name):
            raise config_error(stream, key, f"{source!r} is given twice")
        written = written_source(stream, key, source, zone_of(stream, spec))
        for column in names_in(written):
            if column in spec.exclude:
                raise config_error(stream, key, f"{column!r} is also under exclude")
        if isinstance(written, Const) and (written.value is None or leaf_of(written.value) is LEFT_OUT):
            raise config_error(stream, key, f"a property cannot be {written.value!r:.80}")
