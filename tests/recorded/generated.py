"""Generated loads: streams with SCHEMAs, mappings and records of all sorts."""

from __future__ import annotations

import json

from tests.recorded.case import SLOW, Case, Dice, Json, state
from tests.recorded.generated_mappings import mapping
from tests.recorded.generated_records import line, records
from tests.recorded.generated_schemas import simple_schema, stream_schema

LOADS = 108

_KINDS = (
    ("users", "events", "users"),
    ("events", "json users", "events"),
    ("json events", "users", "request"),
    ("users", "events", "json events"),
    ("user_deletions", "request", "events"),
    ("webhook_endpoints", "users", "request"),
)
_SETTINGS: tuple[Json, ...] = (
    {"delivery": "batch"},
    {"delivery": "single"},
    {"delivery": "batch", "null_values": "send"},
    {"delivery": "batch", "declare_types": "all"},
    {"delivery": "single", "declare_types": "none", "null_values": "send"},
    {"delivery": "batch", "validate_records": False},
    {"delivery": "auto", "batch_size_rows": 11, "hard_delete": True},
    {"delivery": "batch", "max_batch_bytes": 4096, "validate_records": False},
    {"delivery": "batch", "declare_types": "all", "validate_records": False, "null_values": "send"},
    {"delivery": "auto", "batch_threshold": 12},
)
_PLAIN_MAPPINGS: tuple[Json, ...] = (
    {"kind": "users", "fields": {"uid": "id"}},
    {"kind": "events", "fields": {"name": {"const": "Done"}, "user.uid": "id"}},
)
_SLOW: tuple[Json, ...] = (
    {},
    {},
    SLOW,
    {},
    {"add_record_metadata": True},
    {},
    {"stream_maps": {"*": {"made": "str(id)"}}},
    {"flattening_enabled": True, "flattening_max_depth": 2},
)


def cases() -> list[Case]:
    """All of them."""
    return [_case(number) for number in range(LOADS)]


def _case(number: int) -> Case:
    dice = Dice(f"load {number}")
    settings = dice.pick(_SETTINGS) | dice.pick(_SLOW)
    streams: Json = {}
    lines, rows = [], {}
    for at, kind in enumerate(_KINDS[number % len(_KINDS)][: 1 + number // len(_KINDS) % 3]):
        stream = f"s{at}"
        if "flattening_enabled" in settings or "stream_maps" in settings:
            schema = simple_schema(dice)
            streams[stream] = dice.pick(_PLAIN_MAPPINGS)
        else:
            schema = stream_schema(dice)
            if "add_record_metadata" in settings:
                # singer-sdk would write the time into them.
                columns = schema["properties"] or simple_schema(dice)["properties"]
                schema["properties"] = {k: v for k, v in columns.items() if not k.startswith("_sdc_")}
            streams[stream] = mapping(dice, kind, schema)
        message = {"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": ["id"]}
        lines.append(json.dumps(message))
        rows[stream] = [line(dice, stream, row) for row in records(dice, schema)]
    while any(rows.values()):
        stream = dice.pick([name for name, left in rows.items() if left])
        count = 1 + dice.below(20)
        lines += rows[stream][:count]
        del rows[stream][:count]
        if dice.chance(20):
            lines.append(state(len(lines)))
    piece = dice.pick([1 << 18, 4000, 12_000])
    return Case(
        f"generated/load {number}", {"streams": streams} | settings, [*lines, state(999)], piece=piece
    )
