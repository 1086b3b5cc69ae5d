"""The windows of jobs and operations, slowing down together, and jobs that never end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import EVENTS, USERS, Outcome, event, record, schema, state, user
from tests.scripted import Reply, Request, ScriptedServer


class JobServer:
    """Jobs that end a while after their creation; remembers the most that was in progress.

    A job counts from its acceptance until the target has been told its end: what the target may know.
    """

    def __init__(self, seconds: float, most_bytes: int = 1 << 30) -> None:
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[float, int]] = {}
        self.accepted: list[tuple[str, int]] = []
        self.most_jobs = 0
        self.most_operations = 0

    def __call__(self, request: Request, number: int) -> Reply:
        with self._lock:
            if request.method == "POST":
                return self._accept(request, f"job-{number}")
            job = request.path.rsplit("/", 1)[1]
            ends, rows = self._jobs.get(job, (0.0, 0))
            if time.monotonic() < ends:
                return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})
            self._jobs.pop(job, None)
            return Reply(200, {"job": {"id": job, "status": "COMPLETED"}, "imports": rows})

    def _accept(self, request: Request, job: str) -> Reply:
        if len(request.body) > self._most_bytes:
            return Reply(413, {"code": "request_too_large", "message": "Too large"})
        rows = len(request.json["requests"])
        self._jobs[job] = time.monotonic() + self._seconds, rows
        self.accepted.append((request.path, rows))
        self.most_jobs = max(self.most_jobs, len(self._jobs))
        self.most_operations = max(self.most_operations, sum(n for _, n in self._jobs.values()))
        return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})


OTHERS = schema("others", {"uid": "string"}, ["uid"])
THREE_STREAMS = {name: {"kind": name} for name in ("users", "events")} | {"others": {"kind": "users"}}


def interleaved(count: int) -> list[str]:
    lines = [USERS, OTHERS, EVENTS]
    for number in range(count):
        lines += [user(number), record("others", uid=f"o{number}"), event(number)]
    return [*lines, state(done=True)]


def test_the_window_of_jobs_holds_across_streams(run_target: Callable[..., Outcome]) -> None:
    fullstory = JobServer(0.15)
    with ScriptedServer(fullstory) as server:
        outcome = run_target(
            interleaved(20),
            api_url=server.url,
            streams=THREE_STREAMS,
            delivery="batch",
            batch_size_rows=4,
            concurrency=8,
            max_jobs_in_progress=3,
            events_wait_for_users=False,
        )
    assert outcome.code == 0
    assert {path for path, _ in fullstory.accepted} == {"/v2/users/batch", "/v2/events/batch"}
    assert sum(rows for _, rows in fullstory.accepted) == 60
    assert fullstory.most_jobs == 3


def test_the_window_of_operations_holds_across_streams(run_target: Callable[..., Outcome]) -> None:
    fullstory = JobServer(0.15)
    with ScriptedServer(fullstory) as server:
        outcome = run_target(
            interleaved(20),
            api_url=server.url,
            streams=THREE_STREAMS,
            delivery="batch",
            batch_size_rows=4,
            concurrency=8,
            max_operations_in_progress=9,
            events_wait_for_users=False,
        )
    assert outcome.code == 0
    assert sum(rows for _, rows in fullstory.accepted) == 60
    assert fullstory.most_operations == 8


def test_a_batch_larger_than_the_window_goes_alone(run_target: Callable[..., Outcome]) -> None:
    fullstory = JobServer(0.1)
    lines = [USERS, *(user(number) for number in range(40)), state(done=True)]
    with ScriptedServer(fullstory) as server:
        outcome = run_target(
            lines, api_url=server.url, delivery="batch", batch_size_rows=10, max_operations_in_progress=5
        )
    assert outcome.code == 0
    assert fullstory.most_jobs == 1
    assert len(fullstory.accepted) == 4


def test_the_windows_hold_for_the_halves_of_a_refused_batch(run_target: Callable[..., Outcome]) -> None:
    fullstory = JobServer(0.1, most_bytes=300)
    lines = [USERS, *(user(number) for number in range(40)), state(done=True)]
    with ScriptedServer(fullstory) as server:
        outcome = run_target(
            lines, api_url=server.url, delivery="batch", batch_size_rows=20, max_jobs_in_progress=2
        )
    assert outcome.code == 0
    assert sum(rows for _, rows in fullstory.accepted) == 40
    assert fullstory.most_jobs <= 2


def test_a_429_slows_down_every_request_together(run_target: Callable[..., Outcome]) -> None:
    """While Fullstory asks to wait, not one of five threads sends anything."""

    def script(request: Request, number: int) -> Reply:
        if number == 20:
            return Reply(429, {"code": "too_many_requests"}, {"Retry-After": "2"})
        return Reply(200, {"id": str(number)}, delay=0.05)

    lines = [USERS, *(user(number) for number in range(60)), state(done=True)]
    with ScriptedServer(script) as server:
        outcome = run_target(lines, api_url=server.url, delivery="single", concurrency=5)
        told = server.requests[20].at
        # Requests that were on their way already may still arrive.
        early = [r.at - told for r in server.requests[21:] if 0.5 < r.at - told < 1.95]
        after = [r.at - told for r in server.requests[21:] if r.at - told >= 1.95]
    assert outcome.code == 0
    assert outcome.block["streams"]["users"]["delivered"] == 60
    assert early == []
    assert len(after) > 25


def test_a_429_for_a_job_is_waited_out_with_the_same_key(run_target: Callable[..., Outcome]) -> None:
    fullstory = JobServer(0.1)

    def script(request: Request, number: int) -> Reply:
        if number < 3:
            return Reply(429, {"code": "too_many_requests"}, {"Retry-After": "0"})
        return fullstory(request, number)

    with ScriptedServer(script) as server:
        outcome = run_target([EVENTS, event(1), state(a=1)], api_url=server.url, delivery="batch")
        keys = {request.key for request in server.requests if request.method == "POST"}
    assert outcome.code == 0
    assert len(keys) == 1
    assert fullstory.accepted == [("/v2/events/batch", 1)]


def accepted_then(*answers: Reply) -> Callable[[Request, int], Reply]:
    """A job is accepted; looks at it are answered in turn, the last answer for ever."""
    looks: list[int] = []

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            return Reply(200, {"job": {"id": "job-1", "status": "PROCESSING"}})
        looks.append(number)
        return answers[min(len(looks), len(answers)) - 1]

    return script


def test_a_job_that_fullstory_has_forgotten_does_not_hang_the_run(run_target: Callable[..., Outcome]) -> None:
    with ScriptedServer(accepted_then(Reply(404, {"code": "resource_not_found"}))) as server:
        outcome = run_target([USERS, user(1), state(a=1)], api_url=server.url, delivery="batch")
    assert outcome.code == 1
    assert outcome.block["jobs"][0]["status"] == "UNKNOWN"
    assert "404" in outcome.stderr


def test_a_job_that_is_unknown_for_a_moment_is_asked_for_again(run_target: Callable[..., Outcome]) -> None:
    done = Reply(200, {"job": {"id": "job-1", "status": "COMPLETED"}, "imports": 1, "errors": 0})
    with ScriptedServer(accepted_then(Reply(404, {}), Reply(404, {}), done)) as server:
        outcome = run_target([USERS, user(1), state(a=1)], api_url=server.url, delivery="batch")
    assert outcome.block["jobs"][0]["status"] == "COMPLETED"


def test_a_job_that_never_ends_does_not_hang_the_run(run_target: Callable[..., Outcome]) -> None:
    """Neither at the end, nor a later update of the same user, nor the events behind it."""
    with ScriptedServer(
        accepted_then(Reply(200, {"job": {"id": "job-1", "status": "PROCESSING"}}))
    ) as server:
        outcome = run_target(
            [USERS, EVENTS, user(1), state(a=1), user(1, seats=2), event(1), state(a=2)],
            api_url=server.url,
            delivery="batch",
            batch_size_rows=1,
            job_timeout_seconds=1,
        )
        posts = [request.path for request in server.requests if request.method == "POST"]
    assert outcome.code == 0
    assert posts == ["/v2/users/batch", "/v2/users/batch", "/v2/events/batch"]
    assert outcome.states[-1]["bookmarks"] == {"a": 2}
    assert "job_timeout_seconds" in outcome.stderr


@pytest.mark.parametrize(
    "answer",
    [
        {"job": "job-1"},
        {"job": {"status": ["COMPLETED"]}},
        {"job": {"status": "FAILED"}, "errors": 1, "results": 7},
    ],
    ids=["no-object", "no-text", "no-list"],
)
def test_an_answer_about_a_job_that_makes_no_sense_ends_the_run(
    answer: dict[str, Any], run_target: Callable[..., Outcome]
) -> None:
    with ScriptedServer(accepted_then(Reply(200, answer))) as server:
        outcome = run_target([USERS, user(1), state(a=1)], api_url=server.url, delivery="batch")
    assert outcome.code == 1
    assert len(outcome.error_lines) == 1
    assert "job-1" in outcome.error_lines[0]
