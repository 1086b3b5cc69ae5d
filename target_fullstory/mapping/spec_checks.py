"""What can be wrong with a mapping before any SCHEMA is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.kinds import Kind
from target_fullstory.mapping.calls.call_checks import check_keys
from target_fullstory.mapping.plan.json_form import read_json_form
from target_fullstory.mapping.plan.json_properties import plan_json
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import Const
from target_fullstory.mapping.plan.written_sources import written_source
from target_fullstory.mapping.rules.destinations import DESTINATIONS, GROUPS, check_constant
from target_fullstory.mapping.spec import MappingOptions, MappingSpec


def check_spec(stream: str, spec: MappingSpec) -> None:
    """Finds the mistakes in a mapping that show without a SCHEMA.

    Raises:
        ConfigurationError: An unknown kind or destination, a source that is no source, a malformed
            template, a constant its destination cannot take, names given twice or both sent and
            excluded. The message names the key and the nearest valid name.
    """
    if spec.kind not in get_args(Kind):
        problem = f"unknown kind {spec.kind!r}{did_you_mean(spec.kind, get_args(Kind))}"
        raise config_error(stream, "kind", problem)
    check_keys(stream, spec)
    if spec.json is not None and spec.kind in ("users", "events"):
        _check_json(stream, spec)
        return
    for name, source in spec.fields.items():
        _check_field(stream, spec, name, source)
    _check_properties(stream, spec)


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
    written = written_source(stream, key, source)
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
        raise config_error(stream, key, problem + did_you_mean(name, [*known, *groups]))
    if isinstance(written, Const):
        check_constant(stream, f"{key}.const", known[name], written.value)


def _check_properties(stream: str, spec: MappingSpec) -> None:
    excluded = set(spec.exclude)
    if spec.properties is None:
        return
    if isinstance(spec.properties, dict):
        keyed: Iterable[tuple[str, str]] = spec.properties.items()
    else:
        keyed = [(str(index), column) for index, column in enumerate(spec.properties)]
        for index, column in keyed:
            if spec.properties.index(column) != int(index):
                raise config_error(stream, f"properties.{index}", f"{column!r} is given twice")
    for name, column in keyed:
        if not column or not name:
            raise config_error(stream, f"properties.{name}", "the name is empty")
        if column in excluded:
            raise config_error(stream, f"properties.{name}", f"{column!r} is also under exclude")
