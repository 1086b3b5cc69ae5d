"""The `json` form of the kinds that are calls: their fields, or the body of a request."""

from __future__ import annotations

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.json_functions import compile_template, compile_value
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import Const, Source
from target_fullstory.mapping.rules.destinations import DESTINATIONS, check_constant
from target_fullstory.mapping.spec import MappingSpec


def check_json(stream: str, spec: MappingSpec) -> None:
    """Finds the mistakes in a template that show without a SCHEMA."""
    replaced = ("properties", "exclude") if spec.kind == "request" else ("fields",)
    for key in replaced:
        if getattr(spec, key):
            raise config_error(stream, key, "contradicts json: leave out one of the two")
    if spec.kind == "request":
        compile_template(stream, "json", spec.json, Shape())
    else:
        json_fields(stream, spec, Shape())


def json_fields(stream: str, spec: MappingSpec, shape: Shape) -> dict[str, Source]:
    """The sources of the fields in a template, by destination."""
    if not isinstance(spec.json, dict):
        raise config_error(stream, "json", "takes an object, the fields")
    known = DESTINATIONS[spec.kind]
    sources: dict[str, Source] = {}
    for name, template in spec.json.items():
        key = f"json.{name}"
        if name not in known:
            problem = f"Fullstory's {spec.kind} have no field {name!r}"
            raise config_error(stream, key, problem + did_you_mean(name, known))
        if template is None:
            continue
        structured = known[name].structured and name != "secret"
        compile_source = compile_template if structured else compile_value
        source = compile_source(stream, key, template, shape)
        if isinstance(source, Const):
            check_constant(stream, key, known[name], source.value)
        sources[name] = source
    required = ("uid", "id") if spec.kind == "user_deletions" else ("action",)
    if not any(name in sources for name in required):
        raise config_error(stream, "json", f"has no {' or '.join(required)}, which each record needs")
    return sources
