"""`replay` of streams that send only what changed: the snapshot learns of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import USERS, Outcome, record, schema, state, user
from tests.reliability.night_server import NightServer
from tests.running import command
from tests.scripted import ScriptedServer

Run = Callable[..., Outcome]
_ORDERED = {"name": {"const": "Ordered"}, "timestamp": "at", "user.uid": "who"}
_ORDERS = {"kind": "events", "sync": "changed", "fields": _ORDERED, "properties": {"number": "number"}}
STREAMS = {"users": {"kind": "users", "sync": "changed"}, "orders": _ORDERS}
COLUMNS = {"id": "integer", "number": "integer", "who": "string", "at": "string"}
DELIVERIES = pytest.mark.parametrize("delivery", ["single", "batch"])


@pytest.fixture
def fullstory() -> NightServer:
    return NightServer()


@pytest.fixture
def to_server(fullstory: NightServer, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    with ScriptedServer(fullstory) as server:
        config |= {"api_url": server.url, "streams": STREAMS}
        yield config | {"max_rejected_records": None, "max_rejected_percent": None}


def orders() -> list[str]:
    """Two of each number look alike but for a key that is not sent."""
    made = (record("orders", id=n, number=n // 2, who="u1", at="2026-01-01T00:00:00Z") for n in range(8))
    return [schema("orders", COLUMNS, ["id"]), *made, state(a=1)]


def load(run_target: Run, config: dict[str, Any], lines: list[str]) -> Outcome:
    done = run_target(lines, **config)
    assert done.code == 0, done.stderr
    return done


def replay(config: dict[str, Any], tmp_path: Path, done: Outcome) -> Outcome:
    replayed = command(tmp_path, config, "replay", done.block["rejects"]["path"])
    assert replayed.code == 0, replayed.stderr
    return replayed


@DELIVERIES
def test_an_event_that_was_replayed_is_not_sent_again(
    run_target: Run, to_server: dict[str, Any], fullstory: NightServer, tmp_path: Path, delivery: str
) -> None:
    to_server["delivery"] = delivery
    fullstory.refused = {1, 2}
    first = load(run_target, to_server, orders())
    assert len(first.rejects) == 4
    assert len({reject["known_by"] for reject in first.rejects}) == 4
    fullstory.refused = set()
    replay(to_server, tmp_path, first)
    second = load(run_target, to_server, orders())
    assert second.block["streams"]["orders"]["unchanged"] == 8
    assert Counter(one["properties"]["number"] for one in fullstory.events) == dict.fromkeys(range(4), 2)


@DELIVERIES
def test_an_event_that_a_later_load_has_sent_is_not_replayed(
    run_target: Run, to_server: dict[str, Any], fullstory: NightServer, tmp_path: Path, delivery: str
) -> None:
    to_server["delivery"] = delivery
    fullstory.refused = {1}
    first = load(run_target, to_server, orders())
    fullstory.refused = set()
    load(run_target, to_server, orders())
    assert len(fullstory.events) == 8
    replay(to_server, tmp_path, first)
    assert len(fullstory.events) == 8


def test_a_replay_that_is_over_the_quota_keeps_what_its_events_are_known_by(
    run_target: Run, to_server: dict[str, Any], fullstory: NightServer, tmp_path: Path
) -> None:
    fullstory.refused = {1, 2}
    first = load(run_target, to_server, orders())
    known = {reject["known_by"] for reject in first.rejects}
    fullstory.refused = set()
    over = replay(to_server | {"max_events": 1}, tmp_path, first)
    (path,) = over.output_dir.glob("rejects-*.jsonl")
    left = [json.loads(line) for line in path.read_text().splitlines()]
    assert [reject["code"] for reject in left] == ["event_quota"] * 3
    assert {reject["known_by"] for reject in left} < known
    load(run_target, to_server, orders())
    assert len(fullstory.events) == 8


def test_events_of_an_older_file_are_replayed_each(
    run_target: Run, to_server: dict[str, Any], fullstory: NightServer, tmp_path: Path
) -> None:
    fullstory.refused = {1}
    first = load(run_target, to_server, orders())
    path = Path(first.block["rejects"]["path"])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["request"] == lines[1]["request"]
    path.write_text("".join(json.dumps(line | {"known_by": ""}) + "\n" for line in lines))
    fullstory.refused = set()
    done = command(tmp_path, to_server, "replay", str(path))
    assert done.code == 1, "an empty one is none"
    for line in lines:
        del line["known_by"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    replay(to_server, tmp_path, first)
    assert len(fullstory.events) == 8


@DELIVERIES
def test_a_user_whose_old_request_was_replayed_is_sent_again(
    run_target: Run, to_server: dict[str, Any], fullstory: NightServer, tmp_path: Path, delivery: str
) -> None:
    """The replay puts an old value in the place of what a later load has sent."""
    to_server["delivery"] = delivery
    fullstory.refused = {"u1"}
    first = load(run_target, to_server, [USERS, user(1, seats=1), user(2, seats=1), state(a=1)])
    fullstory.refused = set()
    later = [USERS, user(1, seats=2), user(2, seats=1), state(a=1)]
    load(run_target, to_server, later)
    replay(to_server, tmp_path, first)
    assert fullstory.users["u1"] == {"seats": 1}
    third = load(run_target, to_server, later)
    assert fullstory.users["u1"] == {"seats": 2}
    assert third.block["streams"]["users"]["unchanged"] == 1
