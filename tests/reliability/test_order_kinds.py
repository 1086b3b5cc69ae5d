"""Updates, deletions, events and calls of the same users, in the order received: slow jobs and faults."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, Outcome, SandboxApi, event, record, schema, state
from tests.scripted import Reply, Request, ScriptedServer

deliveries = pytest.mark.parametrize("delivery", ["batch", "single", "auto"])
DELETED_AT = {"type": ["null", "string"], "format": "date-time"}
COLUMNS = {"uid": "string", "version": "integer", "_sdc_deleted_at": DELETED_AT}
HEAD = [
    schema("accounts", COLUMNS, ["uid"]),
    schema("profiles", COLUMNS, ["uid"]),
    schema("gone", {"uid": "string"}, ["uid"]),
    schema("calls", {"number": "integer"}),
    EVENTS,
]
STREAMS: dict[str, Any] = {
    "accounts": {"kind": "users"},
    "profiles": {"kind": "users"},
    "gone": {"kind": "user_deletions"},
    "events": {"kind": "events"},
    "calls": {"kind": "request", "method": "POST", "path": "/v2/calls"},
}


def updated(uid: str, version: int, stream: str = "accounts") -> str:
    return record(stream, uid=uid, version=version)


def deleted(uid: str, stream: str = "gone") -> str:
    at = {} if stream == "gone" else {"_sdc_deleted_at": "2026-01-05T09:12:44Z"}
    return record(stream, uid=uid, **at)


def happened(uid: str, number: int) -> str:
    return event(number, user={"uid": uid}, amount=number)


class Watched:
    """Answers like Fullstory, slowly and at times wrongly, and writes down when what began and ended."""

    def __init__(self, job_seconds: float, faults: random.Random | None = None) -> None:
        self._job_seconds = job_seconds
        self._faults = faults
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[float, list[str]]] = {}
        self._under_way: list[str] = []
        self._kept: dict[str, Reply] = {}
        self.done: list[str] = []
        self.together: list[tuple[str, str]] = []

    def __call__(self, request: Request, number: int) -> Reply:
        if request.path == "/me":
            return Reply(200, {"role": "ARCHITECT"})
        if request.method == "GET":
            return self._look(request.path.rsplit("/", 1)[1])
        fault = self._fault()
        if fault is not None and fault.fault is None:
            return fault
        reply = self._kept.get(request.key or "") or self._carry_out(request, f"job-{number}")
        self._kept[request.key or f"none-{number}"] = reply
        return reply if fault is None else Reply(reply.status, reply.body, fault=fault.fault)

    def _fault(self) -> Reply | None:
        if self._faults is None:
            return None
        with self._lock:
            drawn = self._faults.random()
        faults = (
            Reply(429, {"code": "too_many_requests"}, {"Retry-After": "0"}),
            Reply(500, {"code": "server_error"}),
            Reply(503, {}, {"Retry-After": "0"}),
            Reply(fault="reset"),
            Reply(fault="truncate"),
        )
        return faults[int(drawn * 50)] if drawn < 0.1 else None

    def _carry_out(self, request: Request, job: str) -> Reply:
        names = _names(request)
        with self._lock:
            self.together += [(other, name) for other in self._under_way for name in names]
            self._under_way += names
        time.sleep(0.02)
        with self._lock:
            if request.path.endswith("/batch"):
                self._jobs[job] = time.monotonic() + self._job_seconds, names
                return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})
            return self._end(names)

    def _look(self, job: str) -> Reply:
        with self._lock:
            ends, names = self._jobs[job]
            if time.monotonic() < ends:
                return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})
            self._jobs[job] = ends, []
            count = len(names)
            self._end(names)
            return Reply(200, {"job": {"id": job, "status": "COMPLETED"}, "imports": count})

    def _end(self, names: list[str]) -> Reply:
        for name in names:
            self._under_way.remove(name)
            self.done.append(name)
        return Reply(200, {"id": "1"})


def _names(request: Request) -> list[str]:
    """What a request brings: `update u1 3`, `delete u1`, `event u1 4`, `call 5`."""
    if request.method == "DELETE":
        return [f"delete {request.path.partition('=')[2]}"]
    items = request.json.get("requests", [request.json])
    if "/users" in request.path:
        return [f"update {one['uid']} {one['properties']['version']}" for one in items]
    if "/events" in request.path:
        return [f"event {one['user']['uid']} {one['properties']['amount']}" for one in items]
    return [f"call {one['number']}" for one in items]


def load(run_target: Callable[..., Outcome], lines: list[str], watched: Watched, **settings: Any) -> Outcome:
    with ScriptedServer(watched) as server:
        outcome = run_target(
            [*HEAD, *lines, state(done=True)],
            api_url=server.url,
            **{"streams": STREAMS, "hard_delete": True, "concurrency": 8} | settings,
        )
    assert outcome.code == 0, outcome.stderr
    assert outcome.states[-1]["bookmarks"] == {"done": True}
    return outcome


@pytest.mark.parametrize("delivery", ["batch", "single"])
@pytest.mark.parametrize("stream", ["gone", "accounts", "profiles"])
def test_update_deletion_update_while_the_job_runs(
    stream: str, delivery: str, run_target: Callable[..., Outcome]
) -> None:
    """Within one stream, from a stream of users to one of deletions, and to another of users."""
    watched = Watched(job_seconds=0.3)
    lines = [updated("u1", 1), deleted("u1", stream), updated("u1", 2)]
    load(run_target, lines, watched, delivery=delivery)
    assert watched.done == ["update u1 1", "delete u1", "update u1 2"]
    assert watched.together == []


@pytest.mark.parametrize("delivery", ["batch", "single"])
@pytest.mark.parametrize("stream", ["gone", "accounts"])
def test_deletions_and_events_while_the_jobs_run(
    stream: str, delivery: str, run_target: Callable[..., Outcome]
) -> None:
    watched = Watched(job_seconds=0.3)
    lines = [happened("u1", 1), deleted("u1", stream), happened("u1", 2), deleted("u2", stream)]
    load(run_target, lines, watched, delivery=delivery)
    assert watched.done == ["event u1 1", "delete u1", "event u1 2", "delete u2"]
    assert watched.together == []


@pytest.mark.parametrize("delivery", ["batch", "single"])
def test_calls_wait_for_updates_and_deletions(delivery: str, run_target: Callable[..., Outcome]) -> None:
    watched = Watched(job_seconds=0.3)
    calls = [record("calls", number=number) for number in range(3)]
    load(run_target, [updated("u1", 1), deleted("u2"), *calls], watched, delivery=delivery)
    assert set(watched.done[:2]) == {"update u1 1", "delete u2"}
    assert watched.done[2:] == ["call 0", "call 1", "call 2"]


def mixed(rng: random.Random, count: int) -> list[str]:
    lines = []
    for number in range(count):
        uid = f"u{rng.randrange(5)}"
        what = rng.random()
        if what < 0.4:
            lines.append(updated(uid, number, rng.choice(["accounts", "profiles"])))
        elif what < 0.55:
            lines.append(deleted(uid, rng.choice(["gone", "accounts", "profiles"])))
        elif what < 0.9:
            lines.append(happened(uid, number))
        else:
            lines.append(record("calls", number=number))
        if rng.random() < 0.1:
            lines.append(state(at=number))
    return lines


def are_in_conflict(one: str, other: str) -> bool:
    """Whether the other must not be sent while the one is under way."""
    (kind, about, *number), (other_kind, other_about, *other_number) = one.split(), other.split()
    kinds = {kind, other_kind}
    if kinds <= {"update", "delete"}:
        return about == other_about
    if (kind, other_kind) == ("update", "event"):
        return int(number[0]) < int(other_number[0])
    return kinds in ({"event", "delete"}, {"call"})


@deliveries
def test_what_depends_on_each_other_is_never_under_way_together(
    delivery: str, run_target: Callable[..., Outcome]
) -> None:
    """Faults, jobs, eight threads; what is carried out twice after a fault comes before what follows."""
    watched = Watched(job_seconds=0.05, faults=random.Random(5))
    lines = mixed(random.Random(17), 50)
    outcome = load(
        run_target,
        lines,
        watched,
        delivery=delivery,
        batch_threshold=2,
        batch_size_rows=6,
        retry_max_seconds=60,
        job_poll_interval_seconds=0.02,
        max_rejected_records=None,
    )
    assert watched.together
    assert [pair for pair in watched.together if are_in_conflict(*pair)] == []
    numbers = [int(name.split()[1]) for name in watched.done if name.startswith("call")]
    assert numbers == sorted(numbers)
    counts = outcome.block["streams"].values()
    assert sum(one["received"] for one in counts) == 50
    assert all(one["received"] == one["delivered"] + one["merged"] for one in counts)


@deliveries
def test_the_sandbox_comes_out_as_the_input_says(delivery: str, run_target: Callable[..., Outcome]) -> None:
    """With its faults, and jobs that end in any order."""
    users: dict[str, int] = {}
    events: dict[int, str] = {}
    lines = []
    rng = random.Random(23)
    for number in range(70):
        uid = f"u{rng.randrange(6)}"
        what = rng.random()
        if what < 0.5 or uid not in users:
            lines.append(updated(uid, number, rng.choice(["accounts", "profiles"])))
            users[uid] = number
        elif what < 0.65:
            lines.append(deleted(uid, rng.choice(["gone", "accounts"])))
            del users[uid]
            events = {number: owner for number, owner in events.items() if owner != uid}
        else:
            lines.append(happened(uid, number))
            events[number] = uid
    options = SandboxOptions(job_seconds=0.05, shuffle_jobs=True, fail_rate=0.03, seed=3)
    with Sandbox(options) as sandbox:
        outcome = run_target(
            [*HEAD, *lines, state(done=True)],
            api_url=sandbox.url,
            streams=STREAMS,
            hard_delete=True,
            delivery=delivery,
            batch_threshold=3,
            batch_size_rows=10,
            concurrency=8,
            retry_max_seconds=60,
            job_poll_interval_seconds=0.02,
        )
        assert outcome.code == 0, outcome.stderr
        api = SandboxApi(sandbox.url)
        assert api.get("/sandbox/stats")["faults"]
        found = patiently(lambda: api.get("/v2/users")["results"])
        amounts = [one["properties"]["amount"] for one in api.events(limit=1000)]
    assert {one["uid"]: one["properties"]["version"] for one in found} == users
    assert sorted(amounts) == sorted(events)


def patiently(ask: Callable[[], Any]) -> Any:
    """The sandbox's faults meet the test as well."""
    for _ in range(10):
        try:
            return ask()
        except OSError:
            time.sleep(0.1)
    return ask()


def test_calls_do_not_keep_a_state_behind_deletions_from_being_written(
    run_target: Callable[..., Outcome],
) -> None:
    """The tap ends with an event of the deleted user; the last STATE is before it."""
    with ScriptedServer(Watched(job_seconds=0.05)) as server:
        outcome = run_target(
            [
                *HEAD,
                deleted("u1"),
                happened("u1", 1),
                record("calls", number=1),
                state(at=1),
                happened("u1", 2),
            ],
            api_url=server.url,
            streams=STREAMS,
        )
    assert outcome.code == 0, outcome.stderr
    assert outcome.states[-1]["bookmarks"] == {"at": 1}
