"""From a mapping and a SCHEMA to the compiled mapping of the kinds that are calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from target_fullstory.errors import config_error
from target_fullstory.kinds import Kind
from target_fullstory.mapping.calls.call_checks import check_body_path, check_no_get, check_path
from target_fullstory.mapping.calls.call_paths import PathTemplate, PathValue
from target_fullstory.mapping.calls.call_templates import json_fields
from target_fullstory.mapping.calls.deletions import Deletions
from target_fullstory.mapping.calls.other_requests import BodySource, OtherCalls
from target_fullstory.mapping.calls.request_bodies import ColumnBody, TemplateBody
from target_fullstory.mapping.calls.server_call import CallMapping
from target_fullstory.mapping.calls.webhook_endpoints import Endpoints
from target_fullstory.mapping.plan.field_plan import fields_of
from target_fullstory.mapping.plan.json_functions import compile_template
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import Column, Const, Source, columns_in
from target_fullstory.mapping.plan.written_sources import (
    WrittenConversion,
    WrittenSource,
    bind,
    check_not_excluded,
    find_column,
    has,
    whole_column,
    written_source,
    zone_of,
)
from target_fullstory.mapping.rules.destinations import DESTINATIONS
from target_fullstory.mapping.spec import MappingOptions, MappingSpec

_Compiler: TypeAlias = Callable[[str, MappingSpec, Shape, Sequence[str], MappingOptions], CallMapping]


def _deletions(
    stream: str,
    spec: MappingSpec,
    shape: Shape,
    key_properties: Sequence[str],
    options: MappingOptions,  # noqa: ARG001 - compilers are called alike
) -> CallMapping:
    sources = _fields(stream, spec, shape)
    if not sources:
        # As of kind users: the same user is meant. A table's own `id` is hardly ever Fullstory's.
        key = key_properties[0] if len(key_properties) == 1 else None
        if has(shape, "uid") and (shape.columns is not None or key is None):
            sources["uid"] = Column(("uid",))
        elif key is not None:
            sources["uid"] = Column((key,))
        elif has(shape, "id"):
            sources["id"] = Column(("id",))
        else:
            problem = (
                f"no source for uid or id, and the SCHEMA of stream {stream!r} has neither a column "
                "'uid' nor a single key property"
            )
            raise config_error(stream, "fields.uid", problem)
    maker = Deletions(fields_of(spec.kind, sources))
    return CallMapping(kind=spec.kind, maker=maker)


def _endpoints(
    stream: str,
    spec: MappingSpec,
    shape: Shape,
    key_properties: Sequence[str],  # noqa: ARG001 - as above
    options: MappingOptions,  # noqa: ARG001 - as above
) -> CallMapping:
    sources = _fields(stream, spec, shape)
    for name in DESTINATIONS[spec.kind] if spec.json is None else ():
        if name not in sources and has(shape, name):
            sources[name] = Column((name,))
    if "action" not in sources:
        # No default: repeated, a create makes another endpoint each time.
        problem = (
            f"no source for action, and the SCHEMA of stream {stream!r} has no column 'action'; give "
            "a column, or {const: create}, {const: update} or {const: delete}"
        )
        raise config_error(stream, "fields.action", problem)
    secret = sources.get("secret")
    return CallMapping(
        kind=spec.kind,
        maker=Endpoints(fields_of(spec.kind, sources)),
        secrets=() if secret is None else (secret, *columns_in(secret)),
    )


def _requests(
    stream: str,
    spec: MappingSpec,
    shape: Shape,
    key_properties: Sequence[str],  # noqa: ARG001 - as above
    options: MappingOptions,
) -> CallMapping:
    method = _written(stream, spec, shape, "method")
    check_no_get(stream, spec, method)
    bound = bind(stream, "fields.method", shape, method)
    path = _path(stream, spec, shape)
    taken = (*columns_in(bound), *path.columns)
    body: BodySource = (
        _column_body(stream, spec, shape, taken, options)
        if spec.json is None
        else TemplateBody(compile_template(stream, "json", spec.json, shape, zone_of(stream, spec)))
    )
    group = None
    if spec.batch is not None and spec.batch.group_by is not None:
        group = find_column(stream, "batch.group_by", shape, spec.batch.group_by)
    maker = OtherCalls(
        method=bound,
        path=path,
        body=body,
        body_asked=any(key is not None for key in (spec.properties, spec.json, spec.batch)),
        batch=spec.batch,
        group=group,
    )
    return CallMapping(kind=spec.kind, maker=maker)


COMPILERS: Final[dict[Kind, _Compiler]] = {
    "user_deletions": _deletions,
    "webhook_endpoints": _endpoints,
    "request": _requests,
}
"""By kind; the kinds that are no calls are missing."""


def _fields(stream: str, spec: MappingSpec, shape: Shape) -> dict[str, Source]:
    if spec.json is not None:
        return json_fields(stream, spec, shape)
    return {
        name: bind(stream, key, shape, written_source(stream, key, source, zone_of(stream, spec)))
        for name, source in spec.fields.items()
        if (key := f"fields.{name}")
    }


def _written(stream: str, spec: MappingSpec, shape: Shape, name: str) -> WrittenSource:
    """The method or the path: under `fields`, as a key of its own, else the column of its name."""
    if name in spec.fields:
        return written_source(stream, f"fields.{name}", spec.fields[name], zone_of(stream, spec))
    given = getattr(spec, name)
    if given is not None:
        return Const(given)
    if not has(shape, name):
        problem = f"kind 'request' needs a {name}, and the SCHEMA of stream {stream!r} has no column {name!r}"
        raise config_error(stream, name, problem)
    return name


def _path(stream: str, spec: MappingSpec, shape: Shape) -> PathTemplate | PathValue:
    key = "fields.path" if "path" in spec.fields else "path"
    written = _written(stream, spec, shape, "path")
    if isinstance(written, str):
        return PathValue(find_column(stream, key, shape, written))
    if isinstance(written, Const):
        parts = check_path(stream, key, str(written.value))
    elif isinstance(written, WrittenConversion):
        raise config_error(
            stream, key, "takes a column, a constant or a template: nothing can stand beside it"
        )
    else:
        parts = check_path(stream, key, str(spec.fields["path"]["template"]))
    return PathTemplate(
        tuple(text if name is None else find_column(stream, key, shape, name) for text, name in parts)
    )


def _column_body(
    stream: str, spec: MappingSpec, shape: Shape, taken: tuple[Column, ...], options: MappingOptions
) -> ColumnBody:
    excluded = frozenset(
        find_column(stream, f"exclude.{index}", shape, name).steps for index, name in enumerate(spec.exclude)
    )
    named = spec.properties
    pairs = named.items() if isinstance(named, dict) else [(name, name) for name in named or ()]
    zone = zone_of(stream, spec)
    chosen = tuple(
        (
            tuple(name.split(".")) if isinstance(named, dict) else (name,),
            bind(stream, key, shape, written_source(stream, key, source, zone)),
        )
        for name, source in pairs
        if (key := f"properties.{name}")
    )
    for place, source in chosen:
        if not isinstance(source, Column):
            check_not_excluded(stream, f"properties.{'.'.join(place)}", source, excluded)
    check_body_path(stream, [place for place, _ in chosen])
    used = {whole_column(shape, column) for column in taken}
    used |= {steps[0] for steps in excluded if len(steps) == 1}
    return ColumnBody(
        chosen=chosen,
        used=None if named is not None else frozenset(name for name in used if name is not None),
        excluded=excluded,
        send_nulls=options.null_values == "send",
    )
