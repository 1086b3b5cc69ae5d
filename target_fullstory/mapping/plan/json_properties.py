"""The plan of the properties that a `json` template makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.column_types import schema_of
from target_fullstory.mapping.plan.json_form import JsonForm
from target_fullstory.mapping.plan.property_plan import PropertyPlan
from target_fullstory.mapping.plan.property_planner import Planner
from target_fullstory.mapping.plan.schema_shapes import Shape, schema_at, shape_of
from target_fullstory.mapping.plan.sources import Column
from target_fullstory.mapping.rules.property_names import property_name
from target_fullstory.mapping.spec import MappingOptions, MappingSpec


def plan_json(
    stream: str, spec: MappingSpec, form: JsonForm, shape: Shape, options: MappingOptions
) -> tuple[PropertyPlan, list[str]]:
    """Plans the properties of a `json` template.

    Returns:
        The plan, and one sentence per property that is not sent under its own name.
    """
    declared = {_sent(path): declared_type for path, declared_type in form.declared.items()}
    planner = Planner(stream, spec, shape, options, declared)
    names = _tree(form.declared)
    if isinstance(form.properties, Column):
        whole = _with_names(schema_at(shape, form.properties.steps), names)
        plan = planner.plan_spread(form.properties, shape_of(whole))
    else:
        plan = planner.plan_sources(
            [
                (name, source, shape_of(_with_names(schema_of(source, shape), _inner(names, name))))
                for name, source in form.properties.items()
            ]
        )
    known = [node.path for entry in plan.entries for node in entry.all_nodes()]
    for path in form.declared:
        if _sent(path) not in known:
            problem = f"there is no property {path!r}{did_you_mean(path, known)}"
            raise config_error(stream, f"json.schema.properties.{path}", problem)
    return plan, planner.notices


def _sent(path: str) -> str:
    """A property's full name as it is sent."""
    return ".".join(map(property_name, path.split(".")))


def _tree(paths: Iterable[str]) -> dict[str, Any]:
    """Dotted names as nested objects."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for step in path.split("."):
            node = node.setdefault(step, {})
    return tree


def _inner(names: dict[str, Any], name: str) -> dict[str, Any]:
    """What `names` has within a column or a property, which has its name or the one sent."""
    wanted = property_name(name)
    return next((inner for key, inner in names.items() if property_name(key) == wanted), {})


def _with_names(schema: Any, names: dict[str, Any]) -> Any:
    """A schema that tells the columns of these names, too, where it leaves an object's open."""
    shape = shape_of(schema)
    if not names or not shape.may_be_object:
        return schema
    columns = dict.fromkeys(names) if shape.columns is None else shape.columns
    return {
        "type": [*shape.types] or None,
        "format": shape.format,
        "items": shape.items,
        "properties": {
            column: _with_names(inner, _inner(names, column)) for column, inner in columns.items()
        },
    }
