"""Records that JSON's decoders refuse, in streams that send only what changed: they end as in any stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, schema, state, user

Run = Callable[..., Outcome]
_ORDERED = {"name": {"const": "Ordered"}, "timestamp": "at", "user.uid": {"const": "u1"}}
_LINE = '{"type": "RECORD", "stream": "%s", "record": {%s}}'
MANY: dict[str, Any] = {"max_rejected_records": None, "max_rejected_percent": None}


@pytest.mark.parametrize("odd", ["1e400", "NaN", "1" * 30, '"\\ud800"', "[" * 2000 + "]" * 2000])
def test_an_odd_value_that_the_schema_forbids(run_target: Run, sandbox: Sandbox, odd: str) -> None:
    lines = [USERS, user(1), _LINE % ("users", f'"uid": "u2", "seats": {odd}'), user(3), state(a=1)]
    ends = []
    for sync in ("all", "changed"):
        streams = {"users": {"kind": "users", "sync": sync}}
        done = run_target(lines, api_url=sandbox.url, streams=streams, **MANY)
        assert done.code == 0, done.stderr
        ends.append(done.block["streams"]["users"] | {"kind": sync})
    assert ends[1] == ends[0] | {"kind": "changed"}
    codes = Counter(reject["code"] for reject in done.rejects)
    assert all(count == 2 for count in codes.values())


@pytest.mark.parametrize("odd", ["1e400", "NaN", "1" * 30, '"\\ud800"'])
@pytest.mark.parametrize("where", ["id", "other"])
@pytest.mark.parametrize("more", [{}, {"max_events": 50}])
def test_events_that_are_known_by_an_odd_value(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, odd: str, where: str, more: dict[str, int]
) -> None:
    orders = {"kind": "events", "sync": "changed", "identity": ["id"], "fields": _ORDERED, "properties": {}}
    columns: dict[str, Any] = {"id": {}, "other": {}, "at": "string"}
    made = [
        _LINE % ("orders", f'"id": {number}, "other": {number}, "at": "2026-01-01T00:00:0{number}Z"')
        for number in range(1, 4)
    ]
    made[1] = made[1].replace(f'"{where}": 2', f'"{where}": {odd}')
    lines = [schema("orders", columns), *made, state(a=1)]
    for night in range(2):
        done = run_target(lines, api_url=sandbox.url, streams={"orders": orders}, **MANY, **more)
        assert done.code == 0, done.stderr
        found = done.block["streams"]["orders"]
        assert found["received"] == 3
        assert (found["delivered"], found["unchanged"]) == ((0, 3) if night else (3, 0))
    assert len(api.events()) == 3
