"""From a mapping and a SCHEMA to the mapper of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from target_fullstory.mapping.calls.call_plan import COMPILERS
from target_fullstory.mapping.calls.deletions import Deletions
from target_fullstory.mapping.plan.schema_shapes import shape_of
from target_fullstory.mapping.plan.stream_plan import plan_stream
from target_fullstory.mapping.plan.written_sources import find_column
from target_fullstory.mapping.program.mapper import Mapper, PlanMapping, TypedMapping, Violation
from target_fullstory.mapping.spec import MappingOptions, MappingSpec
from target_fullstory.mapping.spec_checks import check_spec


def compile_mapper(
    stream: str,
    spec: MappingSpec,
    schema: dict[str, Any],
    key_properties: Sequence[str],
    options: MappingOptions,
    *,
    violation: Violation | None = None,
) -> Mapper:
    """Check a stream's mapping against its SCHEMA, and compile it.

    `violation` validates a record; it is None where records need not be valid.

    Raises:
        ConfigurationError: What `check_spec` finds, a column the SCHEMA lacks, a required field
            without a source. The message names the key and the nearest valid name.
    """
    check_spec(stream, spec)
    compile_calls = COMPILERS.get(spec.kind)
    if compile_calls is not None:
        return Mapper(compile_calls(stream, spec, shape_of(schema), key_properties, options), violation)
    for index, column in enumerate(spec.identity or ()):
        find_column(stream, f"identity.{index}", shape_of(schema), column)
    plan = plan_stream(stream, spec, schema, key_properties, options)
    delete = None
    if plan.deleted is not None:
        ids = tuple(field for field in plan.fields if field.destination.name in ("uid", "id"))
        delete = partial(Deletions(ids).of_deleted, plan.deleted)
    mapping = PlanMapping(plan, delete)
    typed = partial(TypedMapping, stream, plan, validate=violation is not None)
    return Mapper(mapping, violation, typed)
