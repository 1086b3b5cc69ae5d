"""Loads as a whole: the examples, the benchmark's inputs, what a tap may send, how it is delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.inputs import EVENT_MAPPING, KINDS
from tests.recorded.case import SLOW, Case, Json, numbered, record, schema, state, table
from tests.recorded.fullstory import REFUSED, UNKNOWN

_EXAMPLES = Path(__file__).parents[2] / "examples"
USERS = {"kind": "users", "fields": {"uid": "id"}}
EVENTS = {"kind": "events", "fields": {"name": {"const": "Done"}, "timestamp": "at", "user.uid": "id"}}


def cases() -> list[Case]:
    """All of them."""
    return [*_examples(), *_benchmarks(), *_taps(), *_delivery(), *_sdk()]


def _examples() -> list[Case]:
    streams = json.loads((_EXAMPLES / "config.json").read_text())["streams"]
    for mapping in streams.values():
        # Each load here is the first one, and its requests are as the mapping writes them.
        del mapping["sync"]
    sample = (_EXAMPLES / "sample.singer.jsonl").read_text(encoding="utf-8").splitlines()
    made = [
        Case(f"loads/the sample, {delivery}", {"streams": streams, "delivery": delivery} | more, sample)
        for delivery, more in (("auto", {}), ("single", {}), ("batch", SLOW))
    ]
    schemas = [line for line in sample if '"SCHEMA"' in line]
    for name, line in zip(("customers", "orders"), schemas, strict=True):
        rows = (_EXAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        for told, first in (("known", line), ("free form", schema(name, {}, ["id"]))):
            lines = [first, *(record(name, json.loads(row)) for row in rows), state()]
            made.append(Case(f"loads/{name}, {told}", {"streams": streams}, lines, piece=10_000))
    return made


def _benchmarks() -> list[Case]:
    made = []
    for name, kind in KINDS.items():
        lines = b"".join(kind.lines(400)).decode().splitlines()
        streams = {"events": EVENT_MAPPING}
        for told, more, piece in (
            ("whole", {}, 1 << 18),
            ("in pieces", {}, 20_000),
            ("slow", SLOW, 1 << 18),
            ("with all types", {"declare_types": "all", "null_values": "send"}, 20_000),
        ):
            settings = {"streams": streams, "delivery": "batch"} | more
            made.append(Case(f"loads/benchmark {name}, {told}", settings, lines, piece=piece))
        few = [*lines[:61], lines[-1]]
        single = {"streams": streams, "delivery": "single"}
        made.append(Case(f"loads/benchmark {name}, single", single, few))
    return made


_COLUMNS = {"id": "integer", "at": "date-time", "plan": "string"}


def _row(number: int, **more: Any) -> Json:
    return {"id": number, "at": f"2026-01-01T00:00:{number % 60:02}Z", "plan": "p"} | more


def _taps() -> list[Case]:
    streams = {"a": USERS, "b": EVENTS, "c": USERS}
    mixed = [schema(name, _COLUMNS) for name in streams]
    for number in range(90):
        mixed.append(record("abc"[number * 5 // 7 % 3], _row(number % 40)))
        if number % 13 == 0:
            mixed += ["", "   ", state(number)]
        if number == 40:
            mixed.append(schema("b", _COLUMNS))
        if number == 60:
            mixed.append(schema("a", {"id": "integer", "plan": "integer", "new": "date"}))
        if number == 70:
            mixed.append('{"type": "ACTIVATE_VERSION", "stream": "a", "version": 5}')
    mixed.append(state(999))
    styles = [schema("a", _COLUMNS), schema("b", _COLUMNS)]
    for number in range(40):
        name, row = ("ab"[number // 10 % 2], _row(number, plan=["ä", "\u20ac\ud800", None, 5.0][number % 4]))
        message: Json = {"type": "RECORD", "stream": name, "record": row}
        messages = [
            json.dumps(message, separators=(",", ":")),
            json.dumps({"record": row, "stream": name, "type": "RECORD"}),
            json.dumps(message | {"version": 1, "time_extracted": "2026-01-01T00:00:00Z"}),
            f"  {json.dumps(message)}  ",
            json.dumps(message | {"record": row | {"n": float("nan")}}),
            json.dumps(message).replace('"plan": ', '"plan": "twice", "plan": '),
            json.dumps(message).replace('"id"', '"\\u0069d"'),
        ]
        styles.append(messages[number % len(messages)])
    made = []
    for piece in (200, 3000, 1 << 18):
        for delivery in ("single", "batch"):
            settings = {"streams": streams, "delivery": delivery}
            told = f"{delivery}, {piece} bytes at a time"
            made.append(Case(f"loads/mixed streams, {told}", settings, mixed, piece=piece))
            made.append(Case(f"loads/styles of lines, {told}", settings, [*styles, state()], piece=piece))
    made += _files(streams)
    good = table("a", _COLUMNS, [_row(1), _row(2)])
    for name, line in {
        "not JSON": "oops",
        "no object": "[1]",
        "no type": "{}",
        "unknown type": '{"type": "HELLO"}',
        "no record": '{"type": "RECORD", "stream": "a"}',
        "no stream": '{"type": "RECORD", "record": {}}',
        "no schema of its stream": record("b", _row(3)),
        "schema without columns": '{"type": "SCHEMA", "stream": "b", "schema": {}}',
        "schema that is none": schema("b", {"id": {"type": 5}}),
        "keys that are none": schema("b", {}, []).replace("[]", "5"),
        "state without a value": '{"type": "STATE"}',
        "state with NaN": '{"type": "STATE", "value": {"n": NaN}}',
        "too deep": "[" * 100_000,
        "batch without a manifest": '{"type": "BATCH", "stream": "a", "encoding": {}}',
    }.items():
        lines = [*good, state(1), record("a", _row(3)), line, record("a", _row(4))]
        made.append(Case(f"loads/bad line, {name}", {"streams": streams}, lines))
    return made


def _files(streams: Json) -> list[Case]:
    rows = [_row(number) for number in range(60)]
    rows[7] |= {"plan": 5, "more": [1, None]}
    rows[9] |= {"plan": "x" * 9000, "Plan name": 1}
    text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    files = {"a.jsonl": text, "a.jsonl.gz": text}
    made = []
    for name, encoding in {
        "a.jsonl": {"format": "jsonl"},
        "a.jsonl.gz": {"format": "jsonl", "compression": "gzip"},
        "absent": {"format": "jsonl"},
        "a.jsonl, unknown": {"format": "csv"},
    }.items():
        file = name.partition(",")[0]
        batch = {"type": "BATCH", "stream": "a", "encoding": encoding}
        lines = [schema("a", _COLUMNS), record("a", _row(99))]
        lines += [json.dumps(batch | {"manifest": [f"file://@FILES@/{file}"]}), state()]
        made.append(Case(f"loads/batch file {name}", {"streams": streams}, lines, files))
    return made


def _delivery() -> list[Case]:
    rows = [_row(number, plan="p" * (number % 90)) for number in range(120)]
    lines = [schema("a", _COLUMNS), schema("b", _COLUMNS)]
    for number, row in enumerate(rows):
        lines.append(record("ab"[number // 7 % 2], row))
        if number % 25 == 24:
            lines.append(state(number))
    lines.append(state(999))
    streams = {"a": USERS, "b": EVENTS}
    made = []
    for name, settings in {
        "auto": {},
        "auto, threshold 0": {"batch_threshold": 0},
        "auto, threshold 60": {"batch_threshold": 60},
        "rows": {"delivery": "batch", "batch_size_rows": 7},
        "rows, slow": {"delivery": "batch", "batch_size_rows": 7} | SLOW,
        "bytes": {"delivery": "batch", "max_batch_bytes": 1024},
        "bytes, slow": {"delivery": "batch", "max_batch_bytes": 1024} | SLOW,
        "rows and bytes": {"delivery": "batch", "max_batch_bytes": 2048, "batch_size_rows": 13},
        "not waiting for jobs": {"delivery": "batch", "wait_for_jobs": False},
        "encoded key": {"api_key_encoding": "base64", "delivery": "batch"},
        "pasted key": {"api_key": "Basic abc", "integration_source": "my tap"},
        "no state key": {"state_key": "", "delivery": "batch"},
        "several at a time": {"concurrency": 4, "delivery": "single"},
        "several jobs at a time": {"concurrency": 4, "delivery": "batch", "batch_size_rows": 7},
        "few jobs at a time": {"max_jobs_in_progress": 1, "delivery": "batch", "batch_size_rows": 9},
    }.items():
        made.append(Case(f"delivery/{name}", {"streams": streams} | settings, lines))
        if settings.get("delivery") == "batch":
            full = {"streams": streams} | settings
            made.append(Case(f"delivery/{name}, in pieces", full, lines, piece=900))
    halved: Json = {"streams": streams, "delivery": "batch"}
    made.append(Case("delivery/halved", halved, lines, limit=1500))
    made.append(Case("delivery/halved, rows", halved | {"batch_size_rows": 30}, lines, limit=700))
    same = [schema("b", _COLUMNS), *[record("b", _row(1))] * 5, *[record("b", _row(2))] * 3, state()]
    for delivery in ("single", "batch"):
        settings = {"streams": streams, "delivery": delivery}
        made.append(Case(f"delivery/equal events, {delivery}", settings, same))
    timeless = numbered({"at": None if at % 2 else f"2026-01-01T00:00:{at:02}Z"} for at in range(20))
    for delivery in ("single", "batch"):
        settings = {"streams": streams, "delivery": delivery}
        few = [*table("b", _COLUMNS, timeless), state()]
        made.append(Case(f"delivery/events without a time, {delivery}", settings, few))
    refused = [
        _row(at, plan=REFUSED if at % 6 == 2 else UNKNOWN if at % 6 == 4 and delivery == 1 else "p")
        for delivery in (0, 1)
        for at in range(30)
    ]
    by_id = {"a": USERS, "b": EVENTS, "c": {"kind": "users", "fields": {"id": "id"}}}
    for delivery in ("single", "batch"):
        settings = {"streams": by_id, "delivery": delivery}
        told = [line for name in "abc" for line in table(name, _COLUMNS, refused)]
        made.append(Case(f"delivery/refused, {delivery}", settings, [*told, state()]))
        strict = settings | {"max_rejected_records": 3}
        made.append(Case(f"delivery/refused too often, {delivery}", strict, [*told, state()]))
    return made


def _sdk() -> list[Case]:
    contact = {
        "type": ["object", "null"],
        "properties": {
            "city": {"type": ["string", "null"]},
            "geo": {"type": "object", "properties": {"lat": {"type": "number"}}},
        },
    }
    columns = {"id": "integer", "age": "integer", "name": "string", "contact": contact, "at": "date"}
    rows = numbered(
        {
            "age": at if at % 7 else 0,
            "name": f"N{at}",
            "contact": {"city": "Köln", "geo": {"lat": at / 2}} if at % 3 else None,
            "at": "2026-01-05",
        }
        for at in range(40)
    )
    rows[5]["contact"] = {"city": "x" * 9000, "more": {"a": 1}}
    rows[6]["name"] = 5
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    made = []
    for name, settings in {
        "filter": {"stream_maps": {"people": {"__filter__": "age >= 18"}}},
        "expressions": {"stream_maps": {"people": {"double": "int(age) * 2", "share": "float(1/age)"}}},
        "removed column": {"stream_maps": {"people": {"name": None, "contact": None}}},
        "alias": {"stream_maps": {"people": {"__alias__": "users", "who": "str(name)"}}},
        "nothing else": {"stream_maps": {"people": {"id": "id", "n": "name", "__else__": None}}},
        "two streams": {
            "stream_maps": {"people": {"__source__": "people", "k": "1"}, "copy": {"__source__": "people"}}
        },
        "removed": {"stream_maps": {"people": None}},
        "keys": {"stream_maps": {"people": {"__key_properties__": ["name"]}}},
        "flattened": flat,
        "flattened deeply": flat | {"flattening_max_depth": 5, "flattening_separator": "-"},
        "flattened and mapped": flat | {"stream_maps": {"people": {"x": "age + 1"}}},
        "metadata": {"add_record_metadata": True},
        "metadata, unchecked": {"add_record_metadata": True, "validate_records": False},
    }.items():
        for kind in ("users", "events"):
            fields = {"uid": "id"} if kind == "users" else {"name": {"const": "N"}, "timestamp": "at"}
            own = settings.get("stream_maps", {}).get("people") or {}
            if "__key_properties__" in own or "__else__" in own:
                fields = {} if kind == "users" else {"name": {"const": "N"}}
            spec = {"kind": kind, "fields": fields}
            streams = {"people": spec, "copy": spec, "users": spec}
            full = {"streams": streams, "delivery": "batch"} | settings
            lines = [*table("people", columns, rows), state()]
            made.append(Case(f"sdk/{name}, {kind}", full, lines))
    return made
