"""The command `plan`: what a load of the same input would do, without sending or leaving anything."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import termios
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.checkpoints import Position, Ticket
from target_fullstory.batching.batch import Batch, Keys
from target_fullstory.commands.plan_figures import JobRounds, duration
from target_fullstory.kinds import Kind
from target_fullstory.sandbox import Sandbox
from target_fullstory.settings.model import Settings
from tests import executable
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Config = dict[str, Any]


def lines(*messages: str) -> str:
    return "".join(f"{message}\n" for message in messages)


def plan(directory: Path, config: Config, *messages: str, code: int = 0) -> dict[str, Any]:
    """The figures that the command prints."""
    done = command(directory, config, "plan", "--format", "json", text=lines(*messages))
    assert done.code == code, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def test_nothing_is_asked_and_nothing_left(tmp_path: Path, config: Config) -> None:
    asked: list[Request] = []

    def script(request: Request, number: int) -> Reply:
        asked.append(request)
        return Reply(status=500)

    with ScriptedServer(script, me=True) as server:
        config["api_url"] = server.url
        figures = plan(tmp_path, config, USERS, *map(user, range(30)), EVENTS, event(1))
    assert not asked, "without a snapshot, not even GET /me"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["command.json"]
    assert (figures["requests"], figures["jobs"], figures["rounds"]) == (1, 1, 1)


INPUT = (
    USERS,
    *(user(number % 40, seats=number) for number in range(60)),
    record("users", uid=None),
    state(a=1),
    EVENTS,
    *map(event, range(70)),
    state(a=2),
    record("users", uid="x", seats="many"),
    schema("other", {"a": "integer"}),
    record("other", a=1),
)


@pytest.mark.parametrize("delivery", ["auto", "single", "batch"])
def test_the_load_that_follows_has_these_figures(
    delivery: str, tmp_path: Path, config: Config, sandbox: Sandbox, run_target: Callable[..., Outcome]
) -> None:
    config |= {"api_url": sandbox.url, "delivery": delivery, "batch_size_rows": 30, "max_events": 50}
    config |= {"unmapped_streams": "ignore", "max_rejected_records": None}
    figures = plan(tmp_path, config, *INPUT, code=1)
    done = run_target(list(INPUT), **config)
    assert done.code == 0, done.stderr
    for name, counts in done.block["streams"].items():
        told = figures["streams"][name]
        for column in ("received", "rejected", "merged", "ignored", "unchanged"):
            assert told[column] == counts[column], (name, column)
        assert told["sent"] == counts["delivered"]
    assert figures["jobs"] == len(done.block["jobs"])
    assert figures["reasons"] == done.block["rejects"]["reasons"]
    assert figures["events"] == {"sent": 50, "max_events": 50}
    assert figures["streams"]["other"]["kind"] == "ignored"


def test_the_table(tmp_path: Path, config: Config) -> None:
    config |= {"delivery": "batch", "batch_size_rows": 10, "max_jobs_in_progress": 2, "max_events": 9}
    users = [USERS, *map(user, range(40)), record("users", uid=None)]
    text = lines(*users, EVENTS, *map(event, range(12)))
    done = command(tmp_path, config, "plan", text=text)
    assert done.code == 1, done.stderr
    head, *rows = (line.split() for line in done.stdout.splitlines()[:3])
    assert " ".join(head) == (
        "stream kind received new changed unchanged vanished rejected merged ignored sent requests jobs"
    )
    assert " ".join(rows[0]) == "users users 41 - - 0 - 1 0 0 40 0 4"
    assert dict(zip(head, rows[1], strict=True))["sent"] == "9"
    assert "A load would send 5 batch jobs." in done.stdout
    # Two rounds of users, then the events.
    assert "take 3 rounds" in done.stdout
    assert "3 min at 1 min a job, 30 min at 10 min a job." in done.stdout
    assert "Events: 9 of 9 (max_events)." in done.stdout
    assert "Rejected of users: 1 for missing_uid" in done.stdout
    assert "Rejected of events: 3 for event_quota" in done.stdout
    timed = command(tmp_path, config, "plan", "--job-seconds", "90", text=text)
    assert "4 min 30 s at 1 min 30 s a job." in timed.stdout


def test_a_terminal_of_80_columns_cuts_nothing(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    text = lines(USERS, *map(user, range(40)), record("users", uid=None), EVENTS, *map(event, range(12)))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    done = subprocess.run(
        [*executable.EXECUTABLE, "plan", "--config", str(path)],
        input=text.encode(),
        stdout=theirs,
        env=environment | {"TERM": "dumb"},
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode().splitlines()
    os.close(ours)
    assert done.returncode == 1
    assert shown[0].split() == ["stream", "received", "rejected", "sent", "requests", "jobs"]
    assert [line.split() for line in shown[1:3]] == [
        ["users", "41", "1", "40", "0", "1"],
        ["events", "12", "0", "12", "12", "0"],
    ]


def test_an_input_without_streams(tmp_path: Path, config: Config) -> None:
    done = command(tmp_path, config, "plan", text=lines(state(a=1)))
    assert done.code == 0
    assert done.stdout.strip() == "The input has no stream: nothing would be sent."


def test_half_an_input_is_no_plan(tmp_path: Path, config: Config) -> None:
    done = command(tmp_path, config, "plan", text=lines(USERS, user(1), "{"))
    check_refused(done, "Line 3")


def test_a_stopped_plan_prints_nothing(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with subprocess.Popen(
        [*executable.EXECUTABLE, "plan", "--config", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(lines(USERS, user(1)))
        process.stdin.flush()
        while "Stream users" not in process.stderr.readline():
            """It has not begun to read yet."""
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert printed == ""


def batch(kind: Kind, rows: int, keys: Keys | None = None) -> Batch:
    ticket = Ticket(Position(0, b""))
    return Batch("s", kind, [], 0, rows, rows, keys or array("q"), timed=True, ticket=ticket)


def rounds(*batches: Batch, **settings: Any) -> int:
    made = JobRounds(Settings(api_url="sandbox", **settings))
    for one in batches:
        made.take(one, job=one.kind != "user_deletions")
    return made.count


def test_rounds_of_jobs() -> None:
    full = batch("users", 50_000)
    assert rounds() == 0
    # As many operations as the settings allow, or the API.
    assert rounds(*[full] * 200) == 23
    assert rounds(*[full] * 200, max_operations_in_progress=10**9, max_jobs_in_progress=10**9) == 20
    small = batch("users", 30)
    assert rounds(*[small] * 201) == 3
    assert rounds(*[small] * 201, max_jobs_in_progress=1000) == 3
    assert rounds(*[small] * 200, max_jobs_in_progress=1000) == 2
    assert rounds(batch("users", 50_000), max_operations_in_progress=100) == 1


def test_rounds_wait_for_users() -> None:
    users, events = batch("users", 100), batch("events", 100)
    assert rounds(users, events, users) == 2
    assert rounds(users, events, users, events) == 3
    assert rounds(users, events, events_wait_for_users=False) == 1
    one, other = array("q", [1, 2]), array("q", [3])
    assert rounds(batch("users", 2, one), batch("users", 1, other)) == 1
    assert rounds(batch("users", 2, one), batch("users", 2, one)) == 2
    assert rounds(batch("users", 2, one), batch("user_deletions", 2, one), batch("users", 1, other)) == 2


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.6, "1 min"), (90, "1 min 30 s"), (12_000, "3 h 20 min"), (3601, "1 h 1 s")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


CHANGED = {"users": {"kind": "users", "sync": "changed"}, "events": {"kind": "events", "sync": "changed"}}


def contents(directory: Path) -> dict[Path, bytes]:
    """All files but LMDB's locks, which anybody who reads takes."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith("-lock"))
    return {path: path.read_bytes() for path in files}


def test_a_snapshot_is_looked_at_and_left_as_it_is(
    tmp_path: Path,
    config: Config,
    sandbox: Sandbox,
    run_target: Callable[..., Outcome],
    api: SandboxApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config |= {"api_url": sandbox.url, "streams": CHANGED}
    first = [USERS, *(user(n, seats=1) for n in range(40)), EVENTS, *map(event, range(9)), state(a=1)]
    assert run_target(first, **config).code == 0
    before = contents(tmp_path)
    made = [one for one in api.requests() if one["path"] != "/me"]
    second = [USERS, *(user(n, seats=n % 10 or 1) for n in range(42)), EVENTS, *map(event, range(3, 11))]
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    figures = plan(tmp_path, config, *second)
    assert [*temporary.iterdir()] == []
    temporary.rmdir()
    users, events = (figures["streams"][name] for name in ("users", "events"))
    assert {name: users[name] for name in ("new", "changed", "unchanged", "sent")} == {
        "new": 2,
        "changed": 32,
        "unchanged": 8,
        "sent": 34,
    }
    assert {name: events[name] for name in ("new", "changed", "unchanged", "sent")} == {
        "new": 2,
        "changed": 0,
        "unchanged": 6,
        "sent": 2,
    }
    assert figures["plan_id"] is None
    assert [one for one in api.requests() if one["path"] != "/me"] == made
    (tmp_path / "command.json").unlink()
    assert contents(tmp_path) == before


def test_nothing_is_begun_where_nothing_is_known(tmp_path: Path, config: Config) -> None:
    config |= {"api_url": "sandbox", "streams": CHANGED}
    figures = plan(tmp_path, config, USERS, *map(user, range(4)), user(1), user(2, seats=1))
    told = figures["streams"]["users"]
    assert [told[name] for name in ("new", "changed", "unchanged", "sent", "merged")] == [4, 1, 1, 4, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["command.json"]


def test_whose_the_key_is_must_be_known(tmp_path: Path, config: Config) -> None:
    with ScriptedServer(lambda request, number: Reply(status=503), me=True) as server:
        config |= {"api_url": server.url, "streams": CHANGED, "retry_max_seconds": 0}
        check_refused(command(tmp_path, config, "plan", text=lines(USERS, user(1))), "GET /me")


def test_what_is_in_progress_is_not_planned_again(
    tmp_path: Path, config: Config, run_target: Callable[..., Outcome]
) -> None:
    def script(request: Request, number: int) -> Reply:
        job = request.path.rpartition("/")[2] if request.method == "GET" else f"job-{number}"
        return Reply(body={"job": {"id": job, "status": "PROCESSING", "created": "2026-01-01T00:00:00Z"}})

    with ScriptedServer(script) as server:
        config |= {"api_url": server.url, "streams": CHANGED, "delivery": "batch", "wait_for_jobs": False}
        first = [USERS, *(user(n, seats=1) for n in range(5)), state(a=1)]
        assert run_target(first, **config).code == 0
        left = sorted(path.name for path in (tmp_path / "output").iterdir())
        assert any(name.startswith("jobs-") for name in left)
        second = [USERS, *(user(n, seats=1) for n in range(5)), user(5)]
        figures = plan(tmp_path, config, *second)
        assert sorted(path.name for path in (tmp_path / "output").iterdir()) == left
        done = run_target([*second, state(a=2)], **config)
        assert done.code == 0, done.stderr
    told = figures["streams"]["users"]
    assert [told[name] for name in ("new", "changed", "unchanged", "sent")] == [1, 0, 5, 1]
    counts = done.block["streams"]["users"]
    assert (counts["unchanged"], counts["delivered"]) == (5, 1)
