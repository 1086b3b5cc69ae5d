"""The figures of `sync: changed` where they are exact: so many records changed, so many are sent."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Outcome, record, schema, state
from tests.reliability.night_server import NightServer
from tests.scripted import ScriptedServer

Run = Callable[..., Outcome]

PEOPLE = schema(
    "people", {"uid": "string", "plan": "string", "seats": "integer", "_sdc_extracted_at": "string"}, ["uid"]
)
ORDERS = schema(
    "orders",
    {
        "id": "integer",
        "at": {"type": "string", "format": "date-time"},
        "uid": "string",
        "total": "number",
        "_sdc_extracted_at": "string",
    },
    ["id"],
)
STREAMS: dict[str, Any] = {
    "people": {"kind": "users", "sync": "changed"},
    "orders": {
        "kind": "events",
        "sync": "changed",
        "fields": {"name": {"const": "Ordered"}, "timestamp": "at", "user.uid": "uid"},
        "properties": ["total"],
    },
}
COUNT, CHANGED = 5000, 50


@pytest.fixture
def fullstory() -> NightServer:
    return NightServer()


@pytest.fixture
def url(fullstory: NightServer) -> Iterator[str]:
    with ScriptedServer(fullstory) as server:
        yield server.url


def people(changed: int, night: int) -> list[str]:
    """All of them; the first so many have other seats each night."""
    at = f"2026-02-{night:02}T03:00:00Z"
    seats = [night if number < changed else 1 for number in range(COUNT)]
    return [
        record("people", uid=f"u{number}", plan="team", seats=count, _sdc_extracted_at=at)
        for number, count in enumerate(seats)
    ]


def orders(count: int, night: int) -> list[str]:
    """Many of them look alike once their ids are left out."""
    at, extracted = "2026-01-01T00:00:00Z", f"2026-02-{night:02}T03:00:00Z"
    return [
        record("orders", id=number, at=at, uid=f"u{number % 7}", total=9.5, _sdc_extracted_at=extracted)
        for number in range(count)
    ]


def sent(fullstory: NightServer) -> Counter[str]:
    return Counter(one.kind for one in fullstory.night())


@pytest.mark.parametrize("delivery", ["batch", "auto"])
def test_one_in_a_hundred(run_target: Run, fullstory: NightServer, url: str, delivery: str) -> None:
    settings: dict[str, Any] = {"api_url": url, "streams": STREAMS, "delivery": delivery}
    first = run_target([PEOPLE, *people(0, 1), ORDERS, *orders(COUNT, 1), state(night=1)], **settings)
    assert sent(fullstory) == {"users": COUNT, "events": COUNT}
    assert [one["unchanged"] for one in first.block["streams"].values()] == [0, 0]

    rng = random.Random(delivery)
    lines = [*people(CHANGED, 2), *orders(COUNT + CHANGED, 2)]
    rng.shuffle(lines)
    second = run_target([PEOPLE, ORDERS, *lines, state(night=2)], **settings, batch_size_rows=7)
    assert sent(fullstory) == {"users": CHANGED, "events": CHANGED}
    for stream, received in (("people", COUNT), ("orders", COUNT + CHANGED)):
        counts = second.block["streams"][stream]
        assert counts["received"] == received
        assert counts["delivered"] == CHANGED
        assert counts["unchanged"] == received - CHANGED

    third = run_target([PEOPLE, ORDERS, *reversed(lines), state(night=3)], **settings, max_events=0)
    assert sent(fullstory) == {}
    assert third.code == 0
    assert sum(one["unchanged"] for one in third.block["streams"].values()) == len(lines)


@pytest.mark.parametrize("delivery", ["batch", "single"])
def test_what_is_refused_is_sent_night_after_night_until_it_is_accepted(
    run_target: Run, fullstory: NightServer, url: str, delivery: str
) -> None:
    streams = STREAMS | {"orders": STREAMS["orders"] | {"properties": {"number": "id"}}}
    settings: dict[str, Any] = {"api_url": url, "streams": streams, "delivery": delivery}
    lines = [PEOPLE, *people(0, 1)[:40], ORDERS, *orders(40, 1), state(night=1)]
    wanted = {"users": 40, "events": 40}
    fullstory.refused = {"u3", "u4", 17}
    for _ in range(3):
        outcome = run_target(lines, **settings)
        assert sent(fullstory) == wanted
        assert outcome.code == 1
        assert outcome.block["rejects"]["count"] == 3
        counts = outcome.block["streams"]
        assert [counts[stream]["rejected"] for stream in ("people", "orders")] == [2, 1]
        wanted = {"users": 2, "events": 1}
    fullstory.refused = set()
    for wanted in ({"users": 2, "events": 1}, {}):
        outcome = run_target(lines, **settings)
        assert sent(fullstory) == wanted
        assert outcome.code == 0
