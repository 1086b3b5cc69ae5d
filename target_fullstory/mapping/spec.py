"""The mapping as users write it: the values of the setting `streams`."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["users", "events"]
"""What the records of a stream become."""


class MappingSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream's mapping, as configured.

    Attributes:
        kind: What the records become.
        fields: Destination to source. A source is a column (dots reach into nested objects),
            `{"const": value}` or `{"template": "…{column}…"}`.
        properties: Columns to send as custom properties, or destination name to source column. Absent:
            every column that `fields` does not use.
        exclude: Columns never sent as properties.
    """

    kind: Kind
    fields: dict[str, Any] = {}
    properties: list[str] | dict[str, str] | None = None
    exclude: list[str] = []
