"""Updates of one user in the order received, and events behind the users before them."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

deliveries = pytest.mark.parametrize("delivery", ["batch", "single", "auto"])

TWO_STREAMS = {"accounts": {"kind": "users"}, "profiles": {"kind": "users"}}


def versions(stream: str) -> str:
    return schema(stream, {"uid": "string", "version": "integer"}, ["uid"])


@deliveries
def test_the_last_of_many_updates_stays(delivery: str, run_target: Callable[..., Outcome]) -> None:
    """Two streams that share their users, jobs that finish in any order, single requests beside them."""
    rng = random.Random(7)
    lines = [versions("accounts"), versions("profiles")]
    last: dict[str, int] = {}
    for number in range(90):
        uid = f"u{rng.randrange(12)}"
        last[uid] = number
        lines.append(record(rng.choice(list(TWO_STREAMS)), uid=uid, version=number))
    with Sandbox(SandboxOptions(job_seconds=0.1, shuffle_jobs=True)) as sandbox:
        outcome = run_target(
            [*lines, state(done=True)],
            api_url=sandbox.url,
            streams=TWO_STREAMS,
            delivery=delivery,
            batch_threshold=5,
            batch_size_rows=15,
            concurrency=8,
        )
        found = SandboxApi(sandbox.url).get("/v2/users")["results"]
    assert outcome.code == 0
    assert {one["uid"]: one["properties"]["version"] for one in found} == last
    counts = outcome.block["streams"].values()
    assert sum(one["received"] for one in counts) == 90
    assert sum(one["delivered"] + one["merged"] for one in counts) == 90


class Watcher:
    """Answers like Fullstory, and notes what was unfinished when a request came."""

    def __init__(self, job_seconds: float = 0.15, delay: float = 0.05) -> None:
        self._job_seconds = job_seconds
        self._delay = delay
        self._lock = threading.Lock()
        self._busy: dict[str, int] = {}
        self._jobs: dict[str, tuple[float, list[str], int]] = {}
        self.broken: list[str] = []
        self.paths: list[str] = []

    def __call__(self, request: Request, number: int) -> Reply:
        if request.method == "GET":
            return self._look(request.path.rsplit("/", 1)[1])
        batch = request.path.endswith("/batch")
        requests = request.json["requests"] if batch else [request.json]
        users = {}
        with self._lock:
            self.paths.append(request.path)
            if "/users" in request.path:
                users = {one["uid"]: one["properties"]["seats"] for one in requests}
                self.broken += [f"{uid} is unfinished" for uid in users if uid in self._busy]
                self._busy.update(users)
            else:
                # Users that were received after the events may be on their way.
                latest = max(one["properties"]["amount"] for one in requests)
                early = [number for number in self._busy.values() if number < latest]
                self.broken += [f"events came before the user of record {n}" for n in early]
        time.sleep(self._delay)
        with self._lock:
            if not batch:
                self._end(list(users))
                return Reply(200, {"id": "1"})
            self._jobs[f"job-{number}"] = time.monotonic() + self._job_seconds, list(users), len(requests)
        return Reply(200, {"job": {"id": f"job-{number}", "status": "PROCESSING"}})

    def _look(self, job: str) -> Reply:
        with self._lock:
            ends, uids, count = self._jobs[job]
            if time.monotonic() < ends:
                return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})
            self._end(uids)
            return Reply(200, {"job": {"id": job, "status": "COMPLETED"}, "imports": count})

    def _end(self, uids: list[str]) -> None:
        for uid in uids:
            self._busy.pop(uid, None)


def mixed(count: int) -> list[str]:
    rng = random.Random(3)
    lines = [USERS, EVENTS]
    for number in range(count):
        lines.append(
            user(rng.randrange(10), seats=number) if rng.random() < 0.6 else event(number, amount=number)
        )
        if rng.random() < 0.1:
            lines.append(state(at=number))
    return [*lines, state(at=count)]


@deliveries
def test_no_user_is_in_two_unfinished_requests_and_events_wait(
    delivery: str, run_target: Callable[..., Outcome]
) -> None:
    watcher = Watcher()
    with ScriptedServer(watcher) as server:
        outcome = run_target(
            mixed(60),
            api_url=server.url,
            delivery=delivery,
            batch_threshold=3,
            batch_size_rows=6,
            concurrency=8,
        )
    assert outcome.code == 0
    assert watcher.broken == []


USERS_THEN_EVENTS = [
    USERS,
    EVENTS,
    *(user(number, seats=number) for number in (1, 2)),
    *(event(number, amount=number) for number in (3, 4)),
    state(at=1),
]


def test_events_need_not_wait(run_target: Callable[..., Outcome]) -> None:
    with ScriptedServer(Watcher(job_seconds=1.5)) as server:
        outcome = run_target(
            USERS_THEN_EVENTS,
            api_url=server.url,
            delivery="batch",
            batch_size_rows=2,
            events_wait_for_users=False,
        )
        at = {request.path: request.at for request in server.requests if request.method == "POST"}
    assert outcome.code == 0
    assert at["/v2/events/batch"] - at["/v2/users/batch"] < 1.2


def test_events_wait_also_where_the_run_does_not_wait_for_its_jobs(
    run_target: Callable[..., Outcome],
) -> None:
    watcher = Watcher(job_seconds=0.5)
    with ScriptedServer(watcher) as server:
        outcome = run_target(
            USERS_THEN_EVENTS, api_url=server.url, delivery="batch", batch_size_rows=2, wait_for_jobs=False
        )
    assert outcome.code == 0
    assert watcher.paths == ["/v2/users/batch", "/v2/events/batch"]
    assert watcher.broken == []


def test_a_job_of_a_killed_run_does_not_overtake_the_next_run(
    config: dict[str, Any], tmp_path: Path, run_target: Callable[..., Outcome]
) -> None:
    with Sandbox(SandboxOptions(job_seconds=2)) as sandbox:
        with Live(config | {"api_url": sandbox.url, "delivery": "batch"}, tmp_path) as live:
            live.feed(USERS, user(1, seats=1), state(at=1))
            live.close_input()
            live.wait_for(lambda: live.states)
            live.process.kill()
        outcome = run_target([USERS, user(1, seats=2), state(at=2)], api_url=sandbox.url, delivery="single")
        api = SandboxApi(sandbox.url)
        assert outcome.code == 0
        assert api.get("/sandbox/stats")["jobs_in_progress"] == 0
        assert api.user("u1")["properties"]["seats"] == 2
    # Nothing is left for a third run to wait for.
    assert list((tmp_path / "output").glob("jobs-*")) == []


def test_equal_events_of_one_batch_are_different_events(
    run_target: Callable[..., Outcome], sandbox: Sandbox, api: SandboxApi
) -> None:
    """In single mode too; and a tap that repeats all of them adds nothing."""
    lines = [EVENTS, event(1), event(1), event(2), event(1), state(at=1)]
    for _ in range(2):
        outcome = run_target(lines, api_url=sandbox.url, delivery="single")
        assert outcome.code == 0
        assert len(api.events()) == 4


def test_an_identical_later_update_of_a_user_is_not_swallowed(
    run_target: Callable[..., Outcome], sandbox: Sandbox, api: SandboxApi
) -> None:
    for seats in (1, 2, 1):
        run_target([USERS, user(1, seats=seats)], api_url=sandbox.url)
    assert api.user("u1")["properties"]["seats"] == 1


def test_taps_that_repeat_echo_or_omit_state(run_target: Callable[..., Outcome], sandbox: Sandbox) -> None:
    outcome = run_target([USERS, user(1)], api_url=sandbox.url)
    assert (outcome.code, outcome.stdout) == (0, "")

    old = {"version": 1, "run_id": "old", "jobs": [{"id": "old"}]}
    echo = json.dumps({"type": "STATE", "value": {"bookmarks": {"a": 1}, "target_fullstory": old}})
    outcome = run_target([echo, USERS, user(2), echo, echo, user(3), echo], api_url=sandbox.url)
    assert outcome.code == 0
    assert {str(found["bookmarks"]) for found in outcome.states} == {"{'a': 1}"}
    assert all(found["target_fullstory"]["run_id"] != "old" for found in outcome.states)
    assert outcome.block["jobs"] == []
    assert outcome.block["streams"]["users"]["delivered"] == 2


def test_the_benchmark_runs() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [Live.PYTHON, "benchmarks/order.py", "--records", "40", "--batches", "2", "--job-seconds", "0"],
        cwd=root,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"records/s" in done.stdout
