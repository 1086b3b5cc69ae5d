"""What makes requests of records: as long as it is the same, so are the requests of the same records."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from target_fullstory.mapping import MappingSpec


def mapping_scope(
    spec: MappingSpec, schema: dict[str, Any], key_properties: Sequence[str], *more: Any
) -> bytes:
    """A mapping, the SCHEMA that it is for, the settings that bear on it, and the version of this package."""
    parts = [spec, schema, key_properties, more, version("target-fullstory")]
    return msgspec.json.encode(parts, enc_hook=str, order="deterministic")
