"""`plan` and the load that follows have the same figures, to the record, whatever the input is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given
from hypothesis import strategies as st

from tests import executable
from tests.conftest import KEY, Outcome, record, schema, state
from tests.examples import examples
from tests.recorded.fullstory import FakeFullstory
from tests.running import command

pytestmark = pytest.mark.nights

STREAMS: dict[str, Any] = {
    "people": {"kind": "users", "sync": "changed", "exclude": ["read_at"]},
    "staff": {"kind": "users", "sync": "changed", "fields": {"uid": "uid"}},
    "members": {"kind": "users", "sync": "mirror", "full_table": True, "vanished": {"mark": {"gone": True}}},
    "everyone": {"kind": "users", "fields": {"uid": "uid"}},
    "gone": {"kind": "user_deletions", "fields": {"uid": "uid"}},
    "orders": {
        "kind": "events",
        "sync": "changed",
        "fields": {"name": {"const": "Order"}},
        "exclude": ["id"],
    },
    "visits": {"kind": "events", "sync": "changed", "fields": {"name": {"const": "Visit"}}},
    "logins": {
        "kind": "events",
        "sync": "changed",
        "fields": {"name": {"const": "Login"}},
        "identity": ["id"],
    },
}
COLUMNS = {"uid": "string", "seats": "integer", "read_at": "string", "_sdc_deleted_at": "string"}
EVENT_COLUMNS = {
    "id": "integer",
    "timestamp": {"type": ["null", "string"], "format": "date-time"},
    "amount": "number",
}
SCHEMAS = [
    *(
        schema(name, COLUMNS, ["uid"])
        for name in ("people", "staff", "members", "everyone", "hired", "secret")
    ),
    schema("gone", {"uid": "string"}, ["uid"]),
    *(schema(name, EVENT_COLUMNS, ["id"]) for name in ("orders", "logins")),
    schema("visits", EVENT_COLUMNS),
]
# `hired` are sent as `staff`, and not all of them.
MAPS = {"hired": {"__alias__": "staff", "seats": "seats + 1", "__filter__": "uid != 'u3'"}}

_few, _some = st.integers(0, 3), st.integers(0, 9)


def _user(stream: str, number: int, seats: Any, read_at: int, deleted: bool) -> str:
    if stream == "members" and read_at < 3:
        # Where one is rejected, it is not known who vanished.
        number, seats = number or 1, seats if seats != "x" else 1
    columns = {"uid": f"u{number}" if number else None, "seats": seats, "read_at": f"{read_at} h"}
    return record(stream, **columns, _sdc_deleted_at="2026-01-01T00:00:00Z" if deleted else None)


def _event(stream: str, number: int, minute: int | None, amount: Any) -> str:
    timestamp = None if minute is None else f"2026-01-01T00:0{minute}:00Z"
    return record(stream, id=number, timestamp=timestamp, amount=amount)


_rarely = st.sampled_from([False] * 5 + [True])
USERS = st.builds(
    _user,
    st.sampled_from(["people", "staff", "members", "everyone", "hired"]),
    _some,
    st.just("x") | _few | _few,
    _few,
    _rarely,
)
EVENTS = st.builds(
    _event,
    st.sampled_from(["orders", "visits", "logins"]),
    _some,
    st.none() | _few | _few,
    st.just("x") | _few | _few,
)
GONE = st.builds(lambda number: record("gone", uid=f"u{number}"), _some)
OTHERS = st.sampled_from([state(read=1), state(read=2), _user("secret", 1, 1, 1, False), *SCHEMAS])
MESSAGES = st.lists(USERS | USERS | EVENTS | EVENTS | GONE | OTHERS, max_size=60)
SETTINGS = st.fixed_dictionaries(
    {
        "batch_size_rows": st.integers(1, 9),
        "batch_threshold": st.integers(0, 4),
        "delivery": st.sampled_from(["auto", "single", "batch"]),
        "events_wait_for_users": st.booleans(),
        "max_events": st.none() | st.integers(0, 20),
        "hard_delete": st.booleans(),
        "resend_after_days": st.none() | st.just(1),
        "null_values": st.sampled_from(["omit", "send"]),
        "concurrency": st.sampled_from([1, 4]),
    }
)


@pytest.fixture(scope="module")
def fullstory() -> Iterator[FakeFullstory]:
    with FakeFullstory() as running:
        running.begin(None, "ARCHITECT")
        yield running


@examples(30)
@given(settings=SETTINGS, first=MESSAGES, second=MESSAGES, kept=st.randoms(use_true_random=False))
def test_the_plan_and_the_load(
    fullstory: FakeFullstory, settings: dict[str, Any], first: list[str], second: list[str], kept: Any
) -> None:
    first = [*first, *(_user("members", number, 1, 1, False) for number in range(10, 16))]
    # Much of the second input came in the first.
    again = [*second, *(message for message in first if kept.random() < 0.7)]
    kept.shuffle(again)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = {"api_key": KEY, "api_url": fullstory.url, "output_dir": f"{name}/output"}
        config |= {"streams": STREAMS, "stream_maps": MAPS, "unmapped_streams": "ignore"}
        config |= {
            "job_poll_interval_seconds": 0.01,
            "max_rejected_percent": None,
            "max_rejected_records": -1,
        }
        _load(directory, config, [*SCHEMAS, *first, state(night=1)])
        config |= settings
        lines = [*SCHEMAS, *again, state(night=2)]
        fullstory.begin(None, "ARCHITECT")
        done = command(directory, config, "plan", "--format", "json", text=_text(lines))
        assert done.stdout, done.stderr
        assert fullstory.requests == [], "nothing is sent"
        assert fullstory.asked == {"/me"}
        plan = json.loads(done.stdout)
        _compare(plan, _load(directory, config, lines), fullstory)
        assert done.code == any(counts["rejected"] for counts in plan["streams"].values())


def _compare(plan: dict[str, Any], load: dict[str, Any], fullstory: FakeFullstory) -> None:
    for stream, counts in load["streams"].items():
        told, changes = plan["streams"][stream], load["changes"].get(stream, {})
        expected = {name: counts[name] for name in told if name in counts}
        expected |= {"sent": counts["delivered"], **changes}
        expected.pop("known_at_start", None)
        assert told | expected == told, stream
        if counts["kind"] in {"users", "events"} and ":" not in stream:
            assert bool(changes) == (stream != "everyone")
    assert plan["streams"].keys() == load["streams"].keys()
    vanished = load["streams"].get("members:vanished", {"received": 0})["received"]
    assert (plan["streams"]["members"]["vanished"] or 0) == vanished
    hypothesis_event(f"{vanished} vanished")
    assert plan["reasons"] == load["rejects"]["reasons"]
    made = [path.endswith("/batch") for _, path, *_ in fullstory.requests]
    assert (plan["jobs"], plan["requests"]) == (sum(made), len(made) - sum(made))
    assert plan["jobs"] == len(load["jobs"])


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _load(directory: Path, config: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """Load; what the run report tells."""
    path = directory / "load.json"
    path.write_text(json.dumps(config))
    for report in directory.glob("output/run-*.json"):
        report.unlink()
    made = executable.fork(["--config", str(path)], _text(lines).encode(), directory=directory)
    done = Outcome(made.returncode, made.stdout, made.stderr, directory / "output")
    assert done.code == 0, done.stderr
    return done.report
