"""The `json` form through the executable: fast where it can be, and with the same requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Outcome, record, schema, state
from tests.scripted import Reply, ScriptedServer

Run = Callable[..., Outcome]

COLUMNS = {
    "id": {"type": "integer"},
    "at": {"type": ["null", "string"], "format": "date-time"},
    "code": "string",
    "price": "number",
    "campaign": {"type": ["null", "object"], "properties": {"code": {"type": "string"}}},
    "lines": {
        "type": ["null", "array"],
        "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {}}},
    },
}
PROPERTIES = {
    "codes": ["list", ["var", "code"], ["var", "campaign.code"]],
    "first": {"sku": ["var", "lines.0.sku"], "price": ["var", "price"], "currency": "EUR"},
    "seconds": ["toUnixTimestamp", ["var", "at"]],
    "label": ["concat", ["var", "code"], " ", ["var", "price"]],
    "lines": ["list", {"sku": ["var", "lines.0.sku"]}, 1],
}
EVENTS = {
    "kind": "events",
    "json": {
        "name": ["concat", "Order ", ["var", "id"]],
        "timestamp": ["toUnixTimestamp", ["var", "at"]],
        "user": {"uid": ["concat", "u_", ["var", "id"]]},
        "properties": PROPERTIES,
    },
}
USERS = {"kind": "users", "json": {"uid": ["concat", "u_", ["var", "id"]], "properties": PROPERTIES}}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"code": None, "campaign": None},
    {"code": "", "price": 1e300},
    {"lines": []},
    {"lines": None, "at": "2026-01-01"},
    {"lines": [{"sku": "a", "n": {"deep": [1, None]}}]},
    {"price": 5.0, "at": "2026-01-01 10:00+02:00"},
    {"code": "x" * 3000},
    {"column": "that the SCHEMA lacks"},
    {"at": "noon"},
]


def lines_of(count: int) -> list[str]:
    lines = [schema("orders", COLUMNS, ["id"])]
    for number in range(count):
        columns = {
            "id": number,
            "at": f"2026-01-01T00:00:{number:02}.5Z",
            "code": "SPRING",
            "price": 2.5,
            "campaign": {"code": "C"},
            "lines": [{"sku": "a", "n": number}, {"sku": "b"}],
        }
        lines.append(record("orders", **columns | VARIANTS[number % 10 if number % 3 else 0]))
    return [*lines, state(orders=count)]


@pytest.mark.parametrize(
    ("mapping", "slow"),
    [(EVENTS, {"max_events": 1000}), (USERS, {"add_record_metadata": True})],
    ids=["events", "users"],
)
def test_both_paths_send_the_same(run_target: Run, tmp_path: Any, mapping: Any, slow: Any) -> None:
    common = {"streams": {"orders": mapping}, "delivery": "single", "max_rejected_records": None}
    runs = []
    for path, more in (("fast", {}), ("slow", slow)):
        with ScriptedServer(lambda _, number: Reply(200, {"id": str(number)})) as server:
            done = run_target(
                lines_of(40), **common | {"api_url": server.url, "output_dir": str(tmp_path / path)}, **more
            )
            assert done.code == 0, done.stderr
            assert f"Stream orders: {path} path" in done.stderr
            bodies = sorted(r.body for r in server.requests if r.method == "POST")
        counts = done.block["streams"]["orders"]
        runs.append((bodies, counts, [reject["code"] for reject in done.rejects]))
    assert runs[0] == runs[1]
    bodies, counts, _ = runs[0]
    assert len(bodies) == counts["delivered"]
    # "noon" is no time for an event to be at, and nothing that a property could be.
    assert counts["rejected"] or counts["dropped_properties"] == {"seconds": 2}
