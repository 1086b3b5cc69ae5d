"""Events of a user who was deleted in the same run, with `sync: changed`: those refused are sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import USERS, Outcome, record, schema, state, user
from tests.reliability.night_server import NightServer
from tests.scripted import ScriptedServer

COLUMNS = {"name": "string", "timestamp": "string", "user": {"type": "object"}, "number": "integer"}
STREAMS = {
    "users": {"kind": "users", "sync": "changed"},
    "events": {"kind": "events", "sync": "changed"},
    "gone": {"kind": "user_deletions", "fields": {"uid": "uid"}},
}


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_a_refused_event_of_a_deleted_user_is_sent_again(
    run_target: Callable[..., Outcome], delivery: str
) -> None:
    night = NightServer()
    made = [
        record("events", name="o", timestamp=f"2026-01-01T00:00:0{n}Z", user={"uid": "u1"}, number=n)
        for n in range(5)
    ]
    events = [schema("events", COLUMNS), *made]
    gone = [schema("gone", {"uid": "string"}), record("gone", uid="u1")]
    with ScriptedServer(night) as server:
        settings: dict[str, Any] = {"api_url": server.url, "streams": STREAMS, "delivery": delivery}
        settings |= {"max_rejected_records": None, "max_rejected_percent": None}
        run_target([USERS, user(1, seats=1), state(read=1)], **settings)
        night.refused = {2, 3}
        done = run_target([*gone, USERS, user(1, seats=1), *events, state(read=2)], **settings)
        assert len(done.rejects) == 2, done.stderr
        night.refused = set()
        done = run_target([*events, state(read=3)], **settings)
        assert done.block["streams"]["events"]["delivered"] == 2, done.stderr
    assert sorted(one["properties"]["number"] for one in night.events) == list(range(5))
