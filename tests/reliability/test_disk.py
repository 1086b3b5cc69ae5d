"""Disks that are full or not there, and an output that nobody reads."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.checkpoints import Checkpoints
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.rejects import Reject, Rejects
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.accounting.state_output import StateOutput
from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, record, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

WITHOUT_UID = record("users", uid=None, email="a@example.com")


@pytest.fixture
def no_directory(tmp_path: Path) -> str:
    """An output_dir that cannot be created, by root neither."""
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "output")


def only_error(lines: list[str], *texts: str) -> None:
    assert len(lines) == 1, lines
    for text in texts:
        assert text in lines[0]


def test_rejects_are_on_the_disk_before_a_state_covers_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment when a STATE line is written, the file was synced with all its lines in it."""
    ledger = Ledger(responses=1)
    ledger.open_stream("s", "users")
    rejects = Rejects(ledger, str(tmp_path), "run")
    synced = 0
    seen: list[tuple[int, int]] = []
    fsync = os.fsync

    def sync(handle: int) -> None:
        nonlocal synced
        fsync(handle)
        synced = (tmp_path / "rejects-run.jsonl").read_bytes().count(b"\n")

    class Output:
        def write(self, line: str) -> None:
            seen.append((json.loads(line)["block"]["rejects"]["count"], synced))

        def flush(self) -> None:
            pass

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr("sys.stdout", Output())
    checkpoints = Checkpoints(StateBlock("block", "run", ledger, rejects), rejects, StateOutput().write)
    for number in range(1, 6):
        for _ in range(number):
            rejects.write(Reject(stream="s", kind="users", stage="map", code="c", message="m"))
        checkpoints.receive(json.dumps({"at": number}).encode())
        checkpoints.write_due()
    assert seen == [(1, 1), (3, 3), (6, 6), (10, 10), (15, 15)]


def test_every_state_of_a_run_finds_its_rejects_in_the_file(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"api_url": sandbox.url, "max_rejected_records": None}
    with Live(config | settings, tmp_path) as live:
        for number in range(1, 6):
            live.feed(USERS, WITHOUT_UID, WITHOUT_UID, state(at=number))
            live.wait_for(lambda number=number: len(live.lines) >= number)  # type: ignore[misc]
            (path,) = (tmp_path / "output").glob("rejects-*.jsonl")
            lines = path.read_text().splitlines()
            assert len(lines) == live.block["rejects"]["count"] == 2 * number
            assert json.loads(lines[-1])["code"] == "missing_uid"
            assert path.stat().st_mode & 0o777 == 0o600
        live.close_input()
        assert live.end() == 0


def test_a_full_disk_ends_the_run_before_the_state(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    """A file may grow to 20 kB in this process; the rejects need more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    settings = {"api_url": sandbox.url, "max_rejected_records": None}
    with Live(config | settings, tmp_path, preexec_fn=limit) as live:
        live.feed(USERS, user(1), WITHOUT_UID, state(at=1))
        live.wait_for(lambda: live.process.poll() is not None or not live.lines)
        live.feed(*[WITHOUT_UID] * 300, state(at=2), user(2), state(at=3))
        live.close_input()
        assert live.end() == 1
        assert all(found == {"at": 1} for found in live.bookmarks)
        only_error(live.errors, "rejects-", "cannot be written", "output_dir")


def test_without_a_directory_a_run_with_rejects_ends_before_the_state(
    no_directory: str, sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    outcome = run_target(
        [USERS, user(1), state(at=1), WITHOUT_UID, state(at=2)],
        api_url=sandbox.url,
        output_dir=no_directory,
        max_rejected_records=None,
    )
    assert outcome.code == 1
    assert all(found["bookmarks"] == {"at": 1} for found in outcome.states)
    only_error(outcome.error_lines, no_directory, "cannot be written")


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_without_a_directory_a_request_that_fullstory_refuses_ends_the_run(
    delivery: str, no_directory: str, run_target: Callable[..., Outcome]
) -> None:
    """The refusal comes in a sending thread, or in the one that looks after jobs."""

    def script(request: Request, number: int) -> Reply:
        if request.path == "/v2/users":
            return Reply(400, {"code": "invalid", "message": "No"})
        if request.method == "POST":
            return Reply(200, {"job": {"id": "job-1", "status": "PROCESSING"}})
        if request.path.endswith("/errors"):
            return Reply(200, {"results": [{"code": "invalid", "message": "No", "user": {}}]})
        return Reply(200, {"job": {"id": "job-1", "status": "FAILED"}, "errors": 1})

    with ScriptedServer(script) as server:
        outcome = run_target(
            [USERS, user(1), state(at=1)],
            api_url=server.url,
            delivery=delivery,
            output_dir=no_directory,
            max_rejected_records=None,
        )
    assert outcome.code == 1
    only_error(outcome.error_lines, no_directory, "cannot be written")
    if delivery == "single":
        assert outcome.states == []


def test_without_rejects_no_directory_is_needed(
    no_directory: str, sandbox: Sandbox, run_target: Callable[..., Outcome]
) -> None:
    """Only the run report is missing then, and a warning says so."""
    outcome = run_target(
        [USERS, user(1), state(at=1)], api_url=sandbox.url, delivery="batch", output_dir=no_directory
    )
    assert outcome.code == 0
    assert outcome.states[-1]["bookmarks"] == {"at": 1}
    assert "report" in outcome.stderr
    assert outcome.error_lines == []


@pytest.mark.parametrize("delivery", ["single", "batch"])
@pytest.mark.parametrize("room", [0, 50])
def test_a_full_disk_does_not_fail_a_run_without_rejects(
    room: int, delivery: str, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    """A file may grow to so many bytes; neither the run report nor the note of unfinished jobs fits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    settings = {"api_url": sandbox.url, "delivery": delivery}
    with Live(config | settings, tmp_path, preexec_fn=limit) as live:
        live.feed(USERS, user(1), state(at=1), user(2), state(at=2))
        live.close_input()
        assert live.end() == 0
        assert live.bookmarks[-1] == {"at": 2}
        assert live.block["streams"]["users"]["delivered"] == 2
        assert live.errors == []
        warnings = [line for line in live.log if "| WARNING" in line]
        assert any("run report" in line for line in warnings)
        assert any("jobs cannot be noted" in line for line in warnings) == (delivery == "batch")


@pytest.mark.parametrize("trouble", ["full", "closed"])
def test_a_state_that_cannot_be_written_ends_the_run(
    trouble: str, sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path
) -> None:
    if trouble == "full":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    try:
        with Live(config | {"api_url": sandbox.url}, tmp_path, stdout=output) as live:
            live.feed(USERS, user(1), state(at=1))
            live.close_input()
            assert live.end() == 1
            only_error(live.errors, "STATE", "stdout")
    finally:
        os.close(output)
    assert api.user("u1")
