"""METRIC lines and lines of progress, as a run writes them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, EXECUTABLE, USERS, Outcome, event, record, schema, user


@pytest.fixture(scope="module")
def slow_sandbox() -> Iterator[Sandbox]:
    """Its jobs take two seconds."""
    with Sandbox(SandboxOptions(job_seconds=2)) as running:
        yield running


def metrics(stderr: str) -> list[dict[str, Any]]:
    """The METRIC lines, each with its tags beside the rest."""
    found = [json.loads(text) for text in re.findall(r"METRIC: (.*)$", stderr, re.MULTILINE)]
    return [{**metric, **metric.pop("tags")} for metric in found]


def of(found: list[dict[str, Any]], metric: str, **tags: Any) -> list[Any]:
    """The values of a metric with these tags."""
    return [m["value"] for m in found if m["metric"] == metric and tags.items() <= m.items()]


PATHS: list[dict[str, Any]] = [{}, {"stream_maps": {"users": {"seats": "seats"}}, "max_events": 1000}]


@pytest.mark.parametrize("settings", PATHS, ids=["fast", "slow"])
def test_a_run_is_measured(
    run_target: Callable[..., Outcome], sandbox: Sandbox, settings: dict[str, Any]
) -> None:
    users = [user(n, seats=n) for n in range(40)]
    events = [event(n) for n in range(10)]
    done = run_target([USERS, *users, EVENTS, *events], api_url=sandbox.url, **settings)
    assert done.code == 0, done.stderr
    assert ("slow path" in done.stderr) is bool(settings)
    found = metrics(done.stderr)
    assert of(found, "record_count", stream="users", type="counter") == [40]
    assert of(found, "record_count", stream="events", type="counter") == [10]
    for stream in ("users", "events"):
        (seconds,) = of(found, "batch_processing_time", stream=stream, type="timer", status="succeeded")
        assert 0 < seconds < 30
    (seconds,) = of(found, "job_duration", stream="users", job_type="users", status="succeeded")
    assert 0.05 <= seconds < 30
    calls = {"/v2/users/batch": ("POST", 1), "/v2/events": ("POST", 10)}
    for endpoint, (method, count) in calls.items():
        tags = {"endpoint": endpoint, "method": method, "http_status_code": 200, "status": "succeeded"}
        (seconds,) = of(found, "http_request_duration", type="timer", **tags)
        assert 0 < seconds < 30
        assert of(found, "http_request_count", type="counter", **tags) == [count]
    assert of(found, "http_request_duration", endpoint="/v2/users/batch/{job_id}", method="GET")
    (job,) = done.report["jobs"]
    lines = "".join(line for line in done.stderr.splitlines(keepends=True) if "METRIC" in line)
    assert job["id"] not in lines
    assert not re.search(r"\bu\d", lines)


def test_a_users_id_is_in_no_tag(run_target: Callable[..., Outcome], sandbox: Sandbox) -> None:
    """Neither that of a path, nor that of a call whose path the record gives."""
    config = {"streams": {"people": {"kind": "users", "fields": {"id": "id"}}}}
    lines = [schema("people", {"id": "string"}), record("people", id="4711")]
    done = run_target(lines, api_url=sandbox.url, max_rejected_records=-1, **config)
    (call,) = [m for m in metrics(done.stderr) if m["metric"] == "http_request_count"]
    assert (call["endpoint"], call["http_status_code"], call["status"]) == ("/v2/users", 404, "failed")

    config = {"streams": {"people": {"kind": "request", "method": "POST", "path": "/v2/users/{id}"}}}
    done = run_target(lines, api_url=sandbox.url, max_rejected_records=-1, **config)
    (call,) = [m for m in metrics(done.stderr) if m["metric"] == "http_request_count"]
    assert call["endpoint"] == "of stream 'people'"
    assert "4711" not in done.stderr


def test_attempts_without_an_answer_are_measured(run_target: Callable[..., Outcome]) -> None:
    done = run_target([USERS, user(1)], api_url="http://127.0.0.1:9", retry_max_seconds=0)
    assert done.code == 1
    tags = {"endpoint": "/v2/users", "http_status_code": None, "status": "failed"}
    assert of(metrics(done.stderr), "http_request_count", **tags) == [1]


def test_the_log_level_silences_them(
    run_target: Callable[..., Outcome], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "WARNING")
    done = run_target([USERS, user(1)], api_url=sandbox.url)
    assert (done.code, done.stderr) == (0, "")


def test_progress_is_told_while_jobs_are_awaited(
    run_target: Callable[..., Outcome], slow_sandbox: Sandbox
) -> None:
    lines = [USERS, *[user(n, seats="x" if n == 7 else n) for n in range(40)]]
    settings = {"progress_interval_seconds": 0.3, "max_rejected_records": -1}
    done = run_target(lines, api_url=slow_sandbox.url, **settings)
    told = re.findall(r"So far: (.*)", done.stderr)
    last = "40 records read, 39 delivered, 1 rejected, 0 unchanged, 0 in progress"
    assert told[-1] == f"{last}; 1 unfinished jobs with 39 records"
    assert 3 <= len(told) <= 12
    # What was told once is not told again.
    assert of(metrics(done.stderr), "record_count", stream="users") == [40]

    done = run_target(lines, api_url=slow_sandbox.url, **settings | {"progress_interval_seconds": 0})
    assert "So far" not in done.stderr
    assert of(metrics(done.stderr), "record_count", stream="users") == [40]


def test_a_terminal_gets_no_lines_of_progress(
    tmp_path: Path, config: dict[str, Any], slow_sandbox: Sandbox
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"api_url": slow_sandbox.url, "progress_interval_seconds": 0.3}))
    ours, theirs = pty.openpty()
    data = "\n".join([USERS, *map(user, range(40))]).encode()
    command = [*EXECUTABLE, "--config", str(path)]
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False)
    os.close(theirs)
    assert done.returncode == 0
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        """Linux says so where a terminal's other end is closed."""
    assert b"finished: COMPLETED" in shown
    assert b"So far" not in shown


def test_the_log_goes_above_the_bar(tmp_path: Path, config: dict[str, Any], slow_sandbox: Sandbox) -> None:
    """A line of the log begins a line of the terminal, also while a bar is there."""
    path, given = tmp_path / "config.json", tmp_path / "input.jsonl"
    path.write_text(json.dumps(config | {"api_url": slow_sandbox.url}))
    given.write_text("\n".join([USERS, *map(user, range(40))]))
    ours, theirs = pty.openpty()
    command = [*EXECUTABLE, "--config", str(path), "--input", str(given)]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "300"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=60, check=False
    )
    os.close(theirs)
    assert done.returncode == 0
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        """Linux says so where a terminal's other end is closed."""
    assert b"Reading" in shown
    lines = [line for line in re.split(rb"\r?\n|\r|\x1b\[[0-9;?]*[A-Zhl]", shown) if b"INFO" in line]
    assert any(b"fast path" in line for line in lines)
    assert [line for line in lines if not re.match(rb"\d{4}-\d\d-\d\d ", line)] == []
