"""The state block's members, by name and shape: what stands downstream reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, record, schema, state

Run = Callable[..., Outcome]
STREAMS: dict[str, Any] = {
    "people": {"kind": "users", "fields": {"uid": "contact.key"}},
    "visits": {"kind": "events", "fields": {"name": {"const": "Visit"}, "timestamp": "at"}},
}
PEOPLE = schema("people", {"contact": "object", "seats": "integer"})
VISITS = schema(
    "visits", {"at": {"type": ["null", "string"]}, "due": {"type": ["null", "string"], "format": "date"}}
)


def load(run_target: Run, sandbox: Sandbox) -> Outcome:
    """Three rejects of two reasons, an event without a timestamp, a value that is no date."""
    lines = [PEOPLE, VISITS, record("people", contact={"key": "p1"}, seats=1)]
    wrong = record("people", contact={"key": "p2"}, seats="secret-value")
    lines += [record("people", contact={"key": None}), wrong, wrong]
    lines += [record("visits", at=None, due="2026-01-05"), record("visits", at="2026-01-05", due="n/a")]
    return run_target([*lines, state(a=1)], api_url=sandbox.url, streams=STREAMS)


def test_every_member_has_its_name(run_target: Run, sandbox: Sandbox) -> None:
    done = load(run_target, sandbox)
    block = done.block
    assert list(block) == [
        *("version", "run_id", "started_at", "finished_at", "organization", "streams"),
        *("events_without_timestamp", "jobs", "unfinished_jobs", "responses", "rejects"),
    ]
    assert block["version"] == 1
    assert block["started_at"] <= block["finished_at"]
    assert block["organization"] == "SANDBOX"
    assert block["events_without_timestamp"] == 1
    assert block["jobs"] == block["unfinished_jobs"] == []
    counts = {"received": 2, "delivered": 2, "rejected": 0, "merged": 0, "ignored": 0, "unchanged": 0}
    assert block["streams"]["visits"] == {
        "kind": "events",
        **counts,
        "dropped_properties": {},
        "undeclared_values": {"due": 1},
    }
    assert {
        **block,
        "config": 0,
        "destination": 0,
        "timings": 0,
        "repeated_uids": 0,
    }.keys() == done.report.keys()


def test_rejects_name_stream_code_column_and_stage(run_target: Run, sandbox: Sandbox) -> None:
    """In the block, in the log at once and at the end, and in the error that the run ends with."""
    done = load(run_target, sandbox)
    assert done.code == 1
    (path,) = done.output_dir.glob("rejects-*.jsonl")
    assert done.block["rejects"] == {
        "count": 3,
        "path": str(path),
        "reasons": [
            {"stream": "people", "code": "schema_violation", "column": "seats", "stage": "map", "count": 2},
            {"stream": "people", "code": "missing_uid", "column": "contact.key", "stage": "map", "count": 1},
        ],
        "unresolved": {"count": 3, "files": [str(path)]},
    }
    told = [line for line in done.stderr.splitlines() if "WARNING" in line and "eject" in line]
    for line, reason in zip(
        told,
        [
            "Stream people: a record was rejected: missing_uid, column contact.key;",
            "Stream people: a record was rejected: schema_violation, column seats;",
            "Rejected: 2 of stream people: schema_violation, column seats",
            "Rejected: 1 of stream people: missing_uid, column contact.key",
        ],
        strict=True,
    ):
        assert reason in line
    assert "reason: schema_violation, column seats (2 of stream 'people')." in done.error_lines[0]
    assert "secret-value" not in done.stdout + done.stderr
