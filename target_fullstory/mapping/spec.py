"""The mapping as users write it: the values of the setting `streams`."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec

from target_fullstory.kinds import Kind


class BatchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How records of kind `request` share requests.

    Attributes:
        size: Records in one request at the most.
        key: The body's key that holds the list of them.
        group_by: A column; only records with the same value share a request. Absent: records that
            follow each other do, whatever their values.
    """

    size: Annotated[int, msgspec.Meta(ge=1)] = 100
    key: Annotated[str, msgspec.Meta(min_length=1)] = "requests"
    group_by: str | None = None


class MappingSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream's mapping, as configured.

    Attributes:
        kind: What the records become.
        fields: Destination to source. A source is a column (dots reach into nested objects),
            `{"const": value}` or `{"template": "…{column}…"}`.
        properties: Columns to send as custom properties, or destination name to source column.
            Absent: every column that `fields` does not use.
        exclude: Columns never sent as properties, nor as part of an object that is a whole group of
            fields (`context`), nor as a default for a field that Fullstory does not require.
        json: The whole request as a template of Fullstory's Streams, in place of `fields` and
            `properties`.
        method: For kind `request`: the HTTP method. Absent here and in `fields`: the column `method`.
        path: For kind `request`: the path on the API's host, with `{column}` placeholders. Absent
            here and in `fields`: the column `path`.
        batch: For kind `request`: how records share requests.
    """

    kind: Kind
    fields: dict[str, Any] = {}
    properties: list[str] | dict[str, str] | None = None
    exclude: list[str] = []
    json: Any = None
    method: str | None = None
    path: str | None = None
    batch: BatchSpec | None = None


class MappingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that bear on every stream's mapping.

    Attributes:
        null_values: `omit` leaves null properties out, `send` sends them as null. Nulls inside
            objects and arrays, and null fields, are left out either way.
        declare_types: `auto` declares the types Fullstory infers wrongly (int, date and their
            lists), `all` every type the SCHEMA tells, `none` none.
        hard_delete: Whether a record of kind `users` with a non-null `_sdc_deleted_at` becomes the
            deletion of that user.
    """

    null_values: Literal["omit", "send"] = "omit"
    declare_types: Literal["auto", "all", "none"] = "auto"
    hard_delete: bool = False


_BY_NAME: dict[str, MappingSpec] = {
    "users": MappingSpec(kind="users"),
    "events": MappingSpec(kind="events"),
    "user_deletions": MappingSpec(kind="user_deletions"),
}


def spec_for(stream: str, streams: Mapping[str, MappingSpec]) -> MappingSpec | None:
    """The mapping of a stream: its own name first, then the first glob that fits.

    Streams named `users`, `events` and `user_deletions` need no configuration.

    Returns:
        The mapping, or None for a stream that is not mapped.
    """
    exact = streams.get(stream)
    if exact is not None:
        return exact
    for pattern, spec in streams.items():
        if fnmatchcase(stream, pattern):
            return spec
    return _BY_NAME.get(stream)
