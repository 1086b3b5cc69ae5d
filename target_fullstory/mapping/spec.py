"""The mapping as users write it: the values of the setting `streams`."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec

from target_fullstory.kinds import Kind


class BatchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How records of kind `request` share requests."""

    size: Annotated[int, msgspec.Meta(ge=1)] = 100  # records in one request at the most
    key: Annotated[str, msgspec.Meta(min_length=1)] = "requests"  # the body's key that holds the list of them
    # A column; only records with the same value share a request. Absent: records that follow each other do,
    # whatever their values.
    group_by: str | None = None


class SoftDelete(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which column says that a user is gone."""

    column: Annotated[str, msgspec.Meta(min_length=1)]


Sync: TypeAlias = Literal["all", "changed", "mirror"]
"""What of a stream is sent."""

SYNC_MODES: Final[tuple[str, ...]] = get_args(Sync)


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The properties that a user gets whom a complete read no longer brings."""

    mark: dict[str, Any]


class MappingSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream's mapping, as configured."""

    kind: Kind  # what the records become
    # Destination to source. A source is a column (dots reach into nested objects), or an object of one of
    # `const`, `template`, `column` and `coalesce`, and what is made of the value.
    fields: dict[str, Any] = {}
    # Columns to send as custom properties, or destination name to source. Absent: every column that
    # `fields` does not use.
    properties: list[str] | dict[str, Any] | None = None
    # Columns never sent as properties, nor as part of an object that is a whole group of fields (`context`),
    # nor as a default for a field that Fullstory does not require.
    exclude: list[str] = []
    # The whole request as a template of Fullstory's Streams, in place of `fields` and `properties`.
    json: Any = None
    timezone: str | None = None  # the time zone of moments without one; absent: UTC
    # For kind `users`: the column in which a record says that its user is gone, for `hard_delete`.
    soft_delete: SoftDelete | None = None
    # For kind `request`: the HTTP method. Absent here and in `fields`: the column `method`.
    method: str | None = None
    # For kind `request`: the path on the API's host, with `{column}` placeholders. Absent here and in
    # `fields`: the column `path`.
    path: str | None = None
    batch: BatchSpec | None = None  # for kind `request`: how records share requests
    # For kinds `users` and `events`: whether every record is sent, or only what Fullstory has not confirmed
    # yet; `mirror`, for users, also treats those whom a complete read no longer brings as `vanished` says.
    sync: Sync = "all"
    vanished: Literal["delete"] | Mark | None = None
    full_table: bool = False  # with `mirror`: an input that ends in order has brought all users
    # For kind `events`, with `changed`: one event for each value of these columns, ever. Absent: an event is
    # known by its request and its record's key properties.
    identity: list[str] | None = None


class MappingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that bear on every stream's mapping."""

    # `omit` leaves null properties out, `send` sends them as null. Nulls inside objects and arrays, and null
    # fields, are left out either way.
    null_values: Literal["omit", "send"] = "omit"
    # `auto` declares the types Fullstory infers wrongly (int, date and their lists), `all` every type in the
    # SCHEMA, `none` none.
    declare_types: Literal["auto", "all", "none"] = "auto"
    # Whether a record of kind `users` with a non-null `_sdc_deleted_at`, or what `soft_delete` names, becomes
    # the deletion of that user.
    hard_delete: bool = False


DEFAULT_STREAMS: dict[str, MappingSpec] = {
    "users": MappingSpec(kind="users"),
    "events": MappingSpec(kind="events"),
    "user_deletions": MappingSpec(kind="user_deletions"),
}
"""The streams that need no mapping."""


def spec_for(stream: str, streams: Mapping[str, MappingSpec]) -> MappingSpec | None:
    """The mapping of a stream: its own name first, then the first glob that fits.

    Streams named `users`, `events` and `user_deletions` need no configuration. None: it is not mapped.
    """
    exact = streams.get(stream)
    if exact is not None:
        return exact
    for pattern, spec in streams.items():
        if fnmatchcase(stream, pattern):
            return spec
    return DEFAULT_STREAMS.get(stream)
