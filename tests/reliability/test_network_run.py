"""Whole runs on a network that misbehaves: everything arrives, under the keys it was first sent with."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from tests.conftest import EVENTS, USERS, Outcome, event, record, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, Script, ScriptedServer


def in_a_second() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=1), usegmt=True)


TROUBLES: dict[str, Callable[[], Reply]] = {
    "reset": lambda: Reply(fault="reset"),
    "reset in the body": lambda: Reply(200, {"id": "1" * 1000}, fault="truncate"),
    "a body that is not JSON": lambda: Reply(200, b"OK"),
    "a list": lambda: Reply(200, []),
    "an empty body": lambda: Reply(200, b""),
    "half of a JSON": lambda: Reply(200, b'{"id": "1'),
    "HTML of a proxy": lambda: Reply(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    "HTML with status 200": lambda: Reply(200, b"<html>Sign in</html>"),
    "not compressed as announced": lambda: Reply(200, b"{}", {"Content-Encoding": "gzip"}),
    "seconds": lambda: Reply(503, {}, {"Retry-After": "1"}),
    "a date": lambda: Reply(429, {}, {"Retry-After": in_a_second()}),
    "nonsense": lambda: Reply(429, {}, {"Retry-After": "soon"}),
    "a plain 500": lambda: Reply(500, {"code": "internal"}),
    "a conflict": lambda: Reply(409, {"code": "conflict"}),
    "slow": lambda: Reply(200, {"id": "1"}, fault="drip"),
    "silent": lambda: Reply(200, {"id": "1"}, delay=2.0),
}
NAMES = list(TROUBLES)


class Once:
    """Each record meets one trouble at its first attempt, after that it is accepted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.keys: dict[str, list[str | None]] = defaultdict(list)

    def __call__(self, request: Request, number: int) -> Reply:
        name = request.json.get("uid") or request.json["properties"]["trouble"]
        with self._lock:
            self.keys[name].append(request.key)
            first = len(self.keys[name]) == 1
        return TROUBLES[name]() if first else Reply(200, {"id": "1"})


def test_single_requests_survive_each_trouble(run_target: Callable[..., Outcome]) -> None:
    once = Once()
    with ScriptedServer(once) as server:
        outcome = run_target(
            [USERS, *(record("users", uid=name) for name in NAMES), state(at=1)],
            api_url=server.url,
            delivery="single",
            concurrency=16,
            request_timeout_seconds=1,
        )
    assert outcome.code == 0, outcome.stderr
    assert outcome.error_lines == []
    assert outcome.block["streams"]["users"]["delivered"] == len(NAMES)
    assert outcome.states[-1]["bookmarks"] == {"at": 1}
    assert set(once.keys) == set(NAMES)
    for name, keys in once.keys.items():
        assert len(keys) >= 2, name
        assert len(set(keys)) == 1, f"{name}: the retry had another key"


def test_jobs_survive_broken_answers(run_target: Callable[..., Outcome]) -> None:
    """Their creation, and the looks at them."""
    posts: list[str | None] = []
    looks: list[int] = []

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            posts.append(request.key)
            if len(posts) <= len(quick):
                return TROUBLES[quick[len(posts) - 1]]()
            return Reply(200, {"job": {"id": "job-1", "status": "PROCESSING"}})
        looks.append(number)
        if len(looks) <= len(quick):
            return TROUBLES[quick[len(looks) - 1]]()
        return Reply(200, {"job": {"id": "job-1", "status": "COMPLETED"}, "imports": 2, "errors": 0})

    quick = ["reset in the body", "half of a JSON"]
    with ScriptedServer(script) as server:
        outcome = run_target(
            [EVENTS, event(1), event(2), state(at=1)],
            api_url=server.url,
            delivery="batch",
            retry_max_seconds=60,
        )
    assert outcome.code == 0, outcome.stderr
    assert [job["status"] for job in outcome.block["jobs"]] == ["COMPLETED"]
    assert len(set(posts)) == 1
    assert len(looks) == len(quick) + 1


class Idempotent:
    """Keeps the answer of each key as Fullstory does; the first request may be slow or be refused."""

    def __init__(self, *, first: str) -> None:
        self._first = first
        self._lock = threading.Lock()
        self._answers: dict[str, Reply] = {}
        self._running: set[str] = set()
        self.events: list[str] = []
        self.log: list[tuple[str, int]] = []

    def __call__(self, request: Request, number: int) -> Reply:
        reply = self._answer(request)
        self.log.append((request.key or "", reply.status))
        return reply

    def _answer(self, request: Request) -> Reply:
        key = request.key or ""
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            if key in self._running:
                return Reply(409, {"code": "conflict"})
            self._running.add(key)
            is_first = not self._answers
        if is_first and self._first == "slow":
            time.sleep(1.2)
        reply = Reply(200, {})
        if is_first and self._first == "500":
            reply = Reply(500, {"code": "internal", "message": "Something failed"})
        else:
            self.events.append(request.json["timestamp"])
        with self._lock:
            self._answers[key] = reply
            self._running.discard(key)
        return reply


def test_a_conflict_is_waited_out_with_the_same_key(run_target: Callable[..., Outcome]) -> None:
    """The first request still runs when the second comes, because the first answer took too long."""
    fullstory = Idempotent(first="slow")
    with ScriptedServer(fullstory) as server:
        outcome = run_target([EVENTS, event(1), state(at=1)], api_url=server.url, request_timeout_seconds=0.5)
    assert outcome.code == 0
    assert len(fullstory.events) == 1
    assert len({key for key, _ in fullstory.log}) == 1
    assert 409 in {status for _, status in fullstory.log}
    assert outcome.block["streams"]["events"]["delivered"] == 1


def test_a_kept_500_is_recognised_and_gets_a_new_key_that_a_replay_finds(
    run_target: Callable[..., Outcome],
) -> None:
    fullstory = Idempotent(first="500")
    with ScriptedServer(fullstory) as server:
        for _ in range(2):
            outcome = run_target([EVENTS, event(1), state(at=1)], api_url=server.url, retry_max_seconds=60)
            assert outcome.code == 0
    keys = [key for key, status in fullstory.log]
    first = keys[0]
    # The second run knows of the new key from its `output_dir`.
    assert keys == [first] * 5 + [f"{first}-1"] * 2
    # Sent by two runs, taken once.
    assert len(fullstory.events) == 1


def test_an_event_of_a_user_whom_fullstory_does_not_know_is_one_reject(
    run_target: Callable[..., Outcome],
) -> None:
    """Not the end of this run, and of every one after it."""

    def script(request: Request, number: int) -> Reply:
        if request.json["user"] == {"id": "999"}:
            return Reply(404, {"code": "user_not_found", "message": "No such user"})
        return Reply(200, {})

    by_id = EVENTS.replace('{"uid":', '{"id": {"type": "string"}, "uid":')
    with ScriptedServer(script) as server:
        outcome = run_target(
            [by_id, event(1), event(2, user={"id": "999"}), event(3), state(at=3)],
            api_url=server.url,
            delivery="single",
            max_rejected_records=None,
        )
    assert outcome.code == 0
    assert [reject["code"] for reject in outcome.rejects] == ["user_not_found"]
    assert outcome.block["streams"]["events"]["delivered"] == 2


def run_out(script: Script, run_target: Callable[..., Outcome]) -> Outcome:
    with ScriptedServer(script) as server:
        began = time.monotonic()
        outcome = run_target(
            [USERS, user(1), state(at=1), user(2), state(at=2)],
            api_url=server.url,
            delivery="single",
            batch_size_rows=1,
            retry_max_seconds=2,
        )
        assert time.monotonic() - began < 15
    return outcome


def test_when_retries_run_out_what_was_accepted_is_checkpointed(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(200, {"id": "1"}) if request.json["uid"] == "u1" else TROUBLES["HTML of a proxy"]()

    outcome = run_out(script, run_target)
    assert outcome.code == 1
    assert {str(found["bookmarks"]) for found in outcome.states} == {"{'at': 1}"}
    assert len(outcome.error_lines) == 1
    assert "502" in outcome.error_lines[0]
    assert "retry_max_seconds" in outcome.error_lines[0]


def test_a_refused_key_ends_the_run_while_the_tap_is_silent(config: dict[str, Any], tmp_path: Path) -> None:
    with ScriptedServer(lambda *_: Reply(401, {"code": "unauthorized"})) as server:
        settings = {"api_url": server.url, "batch_size_rows": 1}
        with Live(config | settings, tmp_path) as live:
            live.feed(USERS, user(1), state(at=1))
            assert live.end(15) == 1
            assert live.lines == []
            assert len(live.errors) == 1
            assert "api_key" in live.errors[0]


def test_a_fullstory_that_is_not_there_ends_the_run(run_target: Callable[..., Outcome]) -> None:
    with ScriptedServer(lambda *_: Reply()) as server:
        url = server.url
    outcome = run_target([USERS, user(1), state(at=1)], api_url=url, retry_max_seconds=1)
    assert outcome.code == 1
    assert outcome.stdout == ""
    assert len(outcome.error_lines) == 1
