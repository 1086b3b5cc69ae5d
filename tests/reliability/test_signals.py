"""SIGTERM and SIGINT in every phase of a run, and timed work while the tap is silent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

both = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])


def started(live: Live) -> None:
    """Waits until it reads: a STATE with nothing before it comes back at once."""
    live.feed(state(at=0))
    live.wait_for(lambda: live.states)


def never_ends(request: Request, number: int) -> Reply:
    """Every batch becomes a job that stays in progress."""
    return Reply(200, {"job": {"id": f"job-{number}", "status": "PROCESSING"}, "imports": 0})


@both
def test_while_the_tap_is_silent_what_was_read_is_delivered_and_checkpointed(
    number: int, sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": sandbox.url}, tmp_path) as live:
        started(live)
        live.feed(USERS, EVENTS, user(1, seats=3), event(1), state(at=1), user(2))
        live.wait_until_read()
        began = time.monotonic()
        live.process.send_signal(number)
        assert live.end() == 0
        assert time.monotonic() - began < 5
        assert live.bookmarks[-1] == {"at": 1}
        assert live.block["streams"]["users"]["delivered"] == 2
        assert not live.errors
    assert api.user("u1")["properties"]["seats"] == 3
    assert len(api.events()) == 1


_SIGNALLED_AT_THE_START = """
import signal
from target_fullstory import target
load_settings = target.load_settings
def signalled(config):
    signal.raise_signal(signal.{name})
    return load_settings(config)
target.load_settings = signalled
from target_fullstory.cli import main
main()
"""


@both
def test_while_it_starts(number: int, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"api_url": sandbox.url}))
    program = _SIGNALLED_AT_THE_START.format(name=signal.Signals(number).name)
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(path)],
        input=f"{USERS}\n{user(1)}\n{state(at=1)}\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


def test_events_behind_the_last_state_are_left_to_the_next_run(
    sandbox: Sandbox,
    api: SandboxApi,
    config: dict[str, Any],
    tmp_path: Path,
    run_target: Callable[..., Outcome],
) -> None:
    settings = {"api_url": sandbox.url, "delivery": "batch"}
    with Live(config | settings, tmp_path) as live:
        started(live)
        live.feed(EVENTS, event(1), state(at=1), event(2), event(3))
        live.wait_until_read()
        live.process.send_signal(signal.SIGTERM)
        assert live.end() == 0
        assert live.bookmarks[-1] == {"at": 1}
        counts = live.block["streams"]["events"]
        assert counts["received"] == counts["delivered"] == 1
    assert len(api.events()) == 1
    # The tap starts again behind that STATE, and there is more by now.
    outcome = run_target([EVENTS, event(2), event(3), event(4), state(at=4)], **settings)
    assert outcome.code == 0
    times = [found["timestamp"] for found in api.events()]
    assert len(times) == len(set(times)) == 4


def test_before_the_first_state_nothing_is_written_and_nothing_lost(
    sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": sandbox.url, "batch_size_rows": 2}, tmp_path) as live:
        live.feed(USERS, user(1), user(2), user(3))
        live.wait_for(lambda: api.get("/v2/users")["total_records"] == "2")
        live.wait_until_read()
        live.process.send_signal(signal.SIGTERM)
        assert live.end() == 0
        assert live.lines == []
    assert api.user("u3")


@both
def test_while_it_waits_for_jobs_at_the_end(number: int, config: dict[str, Any], tmp_path: Path) -> None:
    with ScriptedServer(never_ends) as server:
        settings = {"api_url": server.url, "delivery": "batch"}
        with Live(config | settings, tmp_path, grace=0.3) as live:
            live.feed(USERS, user(1), state(at=1))
            live.close_input()
            live.wait_for(lambda: live.states)
            began = time.monotonic()
            live.process.send_signal(number)
            assert live.end() == 0
            assert time.monotonic() - began < 7
            assert live.bookmarks[-1] == {"at": 1}
            assert [job["status"] for job in live.block["jobs"]] == ["PROCESSING"]
            assert not live.errors


def test_a_job_that_ends_within_the_grace_is_waited_for(config: dict[str, Any], tmp_path: Path) -> None:
    told: list[float] = []

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            return never_ends(request, number)
        status = "COMPLETED" if told and time.monotonic() > told[0] + 1 else "PROCESSING"
        return Reply(200, {"job": {"id": "x", "status": status}, "imports": 1, "errors": 0})

    with ScriptedServer(script) as server:
        settings = {"api_url": server.url, "delivery": "batch"}
        with Live(config | settings, tmp_path) as live:
            live.feed(USERS, user(1), state(at=1))
            live.close_input()
            live.wait_for(lambda: live.states)
            told.append(time.monotonic())
            live.process.send_signal(signal.SIGTERM)
            assert live.end() == 0
            assert [job["status"] for job in live.block["jobs"]] == ["COMPLETED"]


def test_while_a_batch_waits_for_its_turn(config: dict[str, Any], tmp_path: Path) -> None:
    """The second update of a user waits for a job that does not end."""
    with ScriptedServer(never_ends) as server:
        settings = {"api_url": server.url, "delivery": "batch", "batch_size_rows": 1}
        with Live(config | settings, tmp_path, grace=0.3) as live:
            live.feed(USERS, user(1), state(at=1), user(1, seats=2), state(at=2), user(1, seats=3))
            live.wait_for(lambda: live.states)
            live.wait_until_read()
            live.process.send_signal(signal.SIGTERM)
            assert live.end(10) == 0
            assert live.bookmarks[-1] == {"at": 1}
            assert not live.errors


def test_while_a_request_is_retried(config: dict[str, Any], tmp_path: Path) -> None:
    """A thread that sleeps until Fullstory is back does not hold up the end."""
    with ScriptedServer(lambda *_: Reply(503, {}, {"Retry-After": "300"})) as server:
        settings = {"api_url": server.url, "retry_max_seconds": 600}
        with Live(config | settings, tmp_path, grace=0.3) as live:
            live.feed(USERS, user(1), state(at=1))
            live.close_input()
            live.wait_for(lambda: server.requests)
            began = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            live.end(12)
            assert time.monotonic() - began < 9
            assert live.lines == []


def test_a_second_signal_exits_at_once(config: dict[str, Any], tmp_path: Path) -> None:
    with (
        ScriptedServer(never_ends) as server,
        Live(config | {"api_url": server.url, "delivery": "batch"}, tmp_path) as live,
    ):
        live.feed(USERS, user(1), state(at=1))
        live.close_input()
        live.wait_for(lambda: live.states)
        live.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert live.process.poll() is None
        began = time.monotonic()
        live.process.send_signal(signal.SIGTERM)
        assert live.end(5) != 0
        assert time.monotonic() - began < 2


def test_an_open_batch_is_flushed_by_age_while_the_tap_is_silent(
    sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"api_url": sandbox.url, "batch_wait_limit_seconds": 0.5}
    with Live(config | settings, tmp_path) as live:
        live.feed(USERS, EVENTS, user(1), event(1), state(at=1))
        live.wait_for(lambda: live.states)
        assert live.process.poll() is None
        assert live.bookmarks == [{"at": 1}]
        assert len(api.events()) == 1
        live.close_input()
        assert live.end() == 0


CALLS = schema("calls", {"number": "integer"})
SERIES = {
    "streams": {"calls": {"kind": "request", "method": "POST", "path": "/v2/calls"}},
    "batch_size_rows": 20,
}


def calls_from(first: int) -> list[str]:
    """Calls up to 80, a STATE after every five."""
    lines = [CALLS]
    for number in range(first, 80):
        lines.append(record("calls", number=number))
        if number % 5 == 4:
            lines.append(state(at=number + 1))
    return lines


def numbers(server: ScriptedServer) -> list[int]:
    return [request.json["number"] for request in server.requests]


def test_in_a_series_of_calls_the_next_run_sends_exactly_the_rest(
    config: dict[str, Any], tmp_path: Path, run_target: Callable[..., Outcome]
) -> None:
    """What was read has time to be sent, and the STATE tells how far that is."""
    with ScriptedServer(lambda *_: Reply(delay=0.04)) as server:
        settings = SERIES | {"api_url": server.url}
        with Live(config | settings, tmp_path) as live:
            live.feed(*calls_from(0)[:70])
            live.wait_for(lambda: len(server.requests) > 25)
            began = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            assert live.end() == 0
            assert time.monotonic() - began < 7
            reached = live.bookmarks[-1]["at"]
            counts = live.block["streams"]["calls"]
        assert 25 < reached < 70
        assert numbers(server) == list(range(reached))
        assert counts["received"] == counts["delivered"] == reached
        outcome = run_target(calls_from(reached), **settings)
        assert outcome.code == 0
        assert numbers(server) == list(range(80))


def test_a_series_of_calls_that_takes_too_long_is_given_up(
    config: dict[str, Any], tmp_path: Path, run_target: Callable[..., Outcome]
) -> None:
    """No STATE covers a call that was not sent; those sent since the last one are sent again, in order."""
    with ScriptedServer(lambda *_: Reply(delay=0.05)) as server:
        settings = SERIES | {"api_url": server.url}
        with Live(config | settings, tmp_path, grace=0.2) as live:
            live.feed(*calls_from(0))
            live.wait_for(lambda: len(server.requests) > 25)
            began = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            assert live.end() == 0
            assert time.monotonic() - began < 4
            reached = live.bookmarks[-1]["at"]
        sent = numbers(server)
        assert reached <= 20 < len(sent) < 40
        assert sent == list(range(len(sent)))
        outcome = run_target(calls_from(reached)[:30], **settings)
        assert outcome.code == 0
        again = numbers(server)[len(sent) :]
    assert again == list(range(reached, reached + len(again)))
    assert again[-1] > sent[-1]
