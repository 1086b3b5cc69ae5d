"""Finds mappings that give every record of a stream to one and the same user."""

from __future__ import annotations

from target_fullstory.mapping.plan.json_form import read_json_form
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import Const
from target_fullstory.mapping.plan.written_sources import written_source
from target_fullstory.mapping.spec import MappingSpec

_IDENTITIES = {"users": ("uid", "id"), "events": ("user.uid", "user.id")}
CONSTANT_UID = "is a constant: all records of the stream go to one and the same user"


def constant_uid(stream: str, spec: MappingSpec) -> str | None:
    """The mapping's key with a constant in place of a user's id, such as `fields.uid`; None without one."""
    source: object
    for name in _IDENTITIES.get(spec.kind, ()):
        if spec.json is not None:
            key, source = f"json.{name}", read_json_form(stream, spec, Shape()).fields.get(name)
        else:
            key, given = f"fields.{name}", spec.fields.get(name)
            source = None if given is None else written_source(stream, key, given)
        if isinstance(source, Const):
            return key
    return None
