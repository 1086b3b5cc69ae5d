"""The command `jobs`: from a STATE to the status of its batch jobs now."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.commands.jobs import read_block
from target_fullstory.errors import InputError
from target_fullstory.sandbox import Sandbox, SandboxOptions
from target_fullstory.settings.load_settings import load_settings
from tests import executable
from tests.conftest import EVENTS, EXECUTABLE, USERS, Outcome, event, record, schema, state, user
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
Config = dict[str, Any]


@pytest.fixture
def loaded(run_target: Run, sandbox: Sandbox, config: Config) -> Outcome:
    """A load of a user and an event as two jobs, both of them completed."""
    config["api_url"] = sandbox.url
    lines = [USERS, user(1), state(a=1), EVENTS, event(1), state(a=2)]
    return run_target(lines, delivery="batch")


def shown(done: Outcome) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = json.loads(done.stdout)["jobs"]
    return jobs


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2)


def test_it_reads_what_meltano_prints(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    text = json.dumps({"singer_state": loaded.states[-1]})
    done = command(tmp_path, config, "jobs", "--state", "-", "--format", "json", text=text)
    assert done.code == 0, done.stderr
    assert [job["id"] for job in shown(done)] == [job["id"] for job in loaded.block["jobs"]]
    assert [(job["kind"], job["status"], job["imports"]) for job in shown(done)] == [
        ("users", "COMPLETED", 1),
        ("events", "COMPLETED", 1),
    ]
    assert set(shown(done)[0]) == set(loaded.block["jobs"][0])


BLOCK = {"run_id": "r", "jobs": [{"id": "a", "kind": "users"}]}
VALUE = {"bookmarks": {}, "target_fullstory": BLOCK}
EARLIER: Config = {"bookmarks": {}, "target_fullstory": {"jobs": []}}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps(VALUE), id="value"),
        pytest.param(pretty(VALUE), id="pretty value"),
        pytest.param(f"{json.dumps(EARLIER)}\n{json.dumps(VALUE)}\n\n", id="lines"),
        pytest.param(json.dumps({"type": "STATE", "value": VALUE}), id="message"),
        pytest.param(json.dumps({"singer_state": VALUE}), id="meltano"),
        pytest.param(pretty({"singer_state": VALUE}), id="pretty meltano"),
        pytest.param(pretty(BLOCK), id="report"),
        pytest.param(f"\ufeff{pretty(VALUE)}", id="byte order mark"),
        pytest.param(f"\ufeff{json.dumps(VALUE)}\n", id="line with a byte order mark"),
    ],
)
def test_every_form_of_a_state_is_understood(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text, encoding="utf-8")
    assert read_block(str(path), load_settings({"api_url": "sandbox"})) == BLOCK


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (" \n", "is empty"),
        ("\ufeff", "is empty"),
        ("not JSON", "is not a STATE"),
        ("[]", "is not a STATE"),
        ("{}", "state_key 'target_fullstory'"),
        ('{"bookmarks": {}}', "no block of this target"),
        ('{"target_fullstory": {"jobs": 3}}', "no block of this target"),
        (json.dumps({"another_key": BLOCK}), "Check the setting state_key"),
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(told)):
        read_block(str(path), load_settings({"api_url": "sandbox"}))


def test_without_a_state_the_latest_run_report_counts(
    loaded: Outcome, tmp_path: Path, config: Config
) -> None:
    older = loaded.output_dir / "run-20200101T000000Z-00000000.json"
    older.write_text(json.dumps({"jobs": []}))
    done = command(tmp_path, config, "jobs")
    assert done.code == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        *("id", "kind", "stream", "status", "records", "imports", "errors", "created", "finished")
    ]
    cells = [row.split() for row in rows]
    assert [row[:4] for row in cells] == [
        [job["id"], job["kind"], job["stream"], "COMPLETED"] for job in loaded.block["jobs"]
    ]


def test_a_run_report_can_be_named(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    (report,) = loaded.output_dir.glob("run-*.json")
    done = command(tmp_path, config, "jobs", "--state", str(report), "--format", "json")
    assert done.code == 0
    assert len(shown(done)) == 2


def test_a_stream_that_looks_like_markup_is_shown_as_it_is(
    loaded: Outcome, tmp_path: Path, config: Config
) -> None:
    block = loaded.block
    block["jobs"][0]["stream"] = "[red]public[/]"
    done = command(tmp_path, config, "jobs", "--state", "-", text=json.dumps(block))
    assert done.code == 0
    assert "[red]public[/]" in done.stdout


def test_a_failed_job_is_exit_code_1(
    run_target: Run, sandbox: Sandbox, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = sandbox.url
    people = {"people": {"kind": "users", "fields": {"id": "fs_id"}}}
    lines = [schema("people", {"fs_id": "string"}), record("people", fs_id="nobody"), state(a=1)]
    run_target(lines, delivery="batch", streams=people)
    done = command(tmp_path, config, "jobs", "--format", "json")
    assert done.code == 1
    (job,) = shown(done)
    assert (job["status"], job["imports"], job["errors"]) == ("FAILED", 0, 1)


def test_jobs_in_progress_are_exit_code_3_until_they_have_ended(
    run_target: Run, tmp_path: Path, config: Config
) -> None:
    to_come: list[str] = []

    def script(request: Request, number: int) -> Reply:
        status = to_come.pop(0) if to_come else "PROCESSING"
        finished = {"finished": "2026-01-01T00:00:00Z"} if status == "COMPLETED" else {}
        return Reply(body={"job": {"id": "job-1", "status": status} | finished, "imports": "1"})

    with ScriptedServer(script) as slow:
        config |= {"api_url": slow.url, "wait_for_jobs": False}
        loaded = run_target([USERS, user(1), state(a=1)], delivery="batch")
        assert loaded.block["jobs"][0]["status"] == "PROCESSING"
        now = command(tmp_path, config, "jobs", "--format", "json")
        assert (now.code, shown(now)[0]["status"]) == (3, "PROCESSING")
        short = command(tmp_path, config, "jobs", "--wait", "--timeout", "0.2", "--format", "json")
        assert (short.code, shown(short)[0]["status"]) == (3, "PROCESSING")
        assert "have not ended after 0.2 s" in short.stderr
        to_come += ["PROCESSING", "COMPLETED"]
        done = command(tmp_path, config, "jobs", "--wait", "--timeout", "60", "--format", "json")
    assert (done.code, shown(done)[0]["status"]) == (0, "COMPLETED")
    assert shown(done)[0]["finished"]
    assert "1 of 1 jobs have ended" in done.stderr, "off a terminal it logs"


def test_on_a_terminal_waiting_shows_progress(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    path = tmp_path / "command.json"
    path.write_text(json.dumps(config))
    ours, theirs = pty.openpty()
    arguments = ["jobs", "--config", str(path), "--wait", "--format", "json"]
    process = subprocess.Popen(
        [*EXECUTABLE, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 4096):
            seen += part
    except OSError:
        pass  # the terminal's other end is closed
    finally:
        os.close(ours)
    stdout = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert len(json.loads(stdout)["jobs"]) == 2, "results go to stdout alone"
    assert b"Waiting for jobs" in seen
    assert b"jobs have ended" not in seen


def test_a_terminal_of_80_columns_cuts_nothing(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    path = tmp_path / "command.json"
    path.write_text(json.dumps(config))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [*EXECUTABLE, "jobs", "--config", str(path)]
    done = subprocess.run(command, stdout=theirs, env=environment | {"TERM": "dumb"}, timeout=60, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    head, *rows = [line.split() for line in shown.splitlines()]
    assert head == ["id", "stream", "status", "records", "imports", "errors"]
    assert [row[0] for row in rows] == [job["id"] for job in loaded.report["jobs"]]
    assert {row[2] for row in rows} == {"COMPLETED"}


def test_a_job_that_fullstory_does_not_know_counts_as_failed(
    sandbox: Sandbox, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = sandbox.url
    block = {"jobs": [{"id": "no/such job", "kind": "users", "status": "COMPLETED"}]}
    arguments = ("jobs", "--state", "-", "--format", "json")
    for wait in ((), ("--wait", "--timeout", "30")):
        done = command(tmp_path, config, *arguments, *wait, text=json.dumps(block))
        assert (done.code, shown(done)[0]["status"]) == (1, "UNKNOWN")


@pytest.mark.parametrize(
    ("status", "imports", "errors"), [("COMPLETED", 10, 0), ("FAILED", 0, 0), ("COMPLETED", 41, 0)]
)
def test_figures_that_do_not_add_up_are_told_and_count_as_failed(
    status: str, imports: int, errors: int, tmp_path: Path, config: Config
) -> None:
    figures = {"imports": imports, "errors": errors}
    block = {"jobs": [{"id": "a", "kind": "users", "status": "COMPLETED", "records": 40, "imports": 40}]}
    with ScriptedServer(lambda *_: Reply(200, {"job": {"status": status}, **figures})) as server:
        config["api_url"] = server.url
        for wait in ((), ("--wait",)):
            done = command(
                tmp_path, config, "jobs", "--state", "-", "--format", "json", *wait, text=json.dumps(block)
            )
            (job,) = shown(done)
            assert (done.code, job["imports"], job["records"]) == (1, imports, 40)
            assert f"Job a is {status} with {imports} imports and 0 errors, which are not its 40 records" in (
                done.stderr
            )


def test_jobs_of_earlier_runs_whose_end_is_not_known_are_shown(
    sandbox: Sandbox, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = sandbox.url
    left = {
        "id": "b",
        "kind": "events",
        "stream": "orders",
        "since": "2026-01-01T00:00:00Z",
        "why": "unknown",
    }
    block = {"jobs": [], "unfinished_jobs": [left]}
    done = command(tmp_path, config, "jobs", "--state", "-", "--format", "json", text=json.dumps(block))
    (job,) = shown(done)
    assert (done.code, job["id"], job["stream"], job["status"]) == (1, "b", "orders", "UNKNOWN")


def test_a_load_without_jobs_is_complete(
    run_target: Run, sandbox: Sandbox, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = sandbox.url
    run_target([USERS, user(1), state(a=1)], delivery="single")
    done = command(tmp_path, config, "jobs", "--format", "json")
    assert (done.code, shown(done)) == (0, [])
    assert "sent no batch jobs" in done.stderr


def test_the_embedded_sandbox_is_asked_where_the_load_used_it(
    run_target: Run, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = "sandbox"
    run_target([USERS, user(1), state(a=1)], delivery="batch")
    done = command(tmp_path, config, "jobs", "--format", "json")
    assert (done.code, shown(done)[0]["status"]) == (0, "COMPLETED")


def test_the_configuration_may_be_in_several_files(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    address = tmp_path / "address.json"
    address.write_text(json.dumps({"api_url": config["api_url"]}))
    wrong = config | {"api_url": "https://fullstory.invalid"}
    done = command(tmp_path, wrong, "jobs", "--config", str(address))
    assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not JSON", "What standard input holds is not a STATE"),
        ('{"jobs": [{"id": "a", "kind": "x"}]}', "jobs[0].kind"),
        ('{"jobs": [], "unfinished_jobs": "x"}', "(unfinished_jobs)"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, config: Config, text: str, told: str) -> None:
    check_refused(command(tmp_path, config, "jobs", "--state", "-", text=text), told)


def test_another_state_key_is_looked_for(loaded: Outcome, tmp_path: Path, config: Config) -> None:
    text = json.dumps({"mine": loaded.block})
    done = command(tmp_path, config | {"state_key": "mine"}, "jobs", "--state", "-", text=text)
    assert done.code == 0


def test_missing_files_are_told(tmp_path: Path, config: Config) -> None:
    check_refused(command(tmp_path, config, "jobs", "--state", "nowhere.json"), "nowhere.json")
    check_refused(command(tmp_path, config, "jobs"), "no run report", "output_dir")
    check_refused(command(tmp_path, config, "jobs", "--config", "nowhere.json"), "nowhere.json")


def test_a_wrong_key_and_a_role_that_may_not_read_are_told(tmp_path: Path, config: Config) -> None:
    arguments = ("jobs", "--state", "-")
    with Sandbox(SandboxOptions(api_key="another")) as running:
        done = command(tmp_path, config | {"api_url": running.url}, *arguments, text=json.dumps(BLOCK))
        check_refused(done, "does not accept the API key")
    with Sandbox(SandboxOptions(role="USER")) as running:
        done = command(tmp_path, config | {"api_url": running.url}, *arguments, text=json.dumps(BLOCK))
        check_refused(done, "may not read batch jobs")


def test_an_api_that_cannot_be_reached_or_understood_is_told(tmp_path: Path, config: Config) -> None:
    arguments = ("jobs", "--state", "-")
    away = config | {"api_url": "http://127.0.0.1:9", "retry_max_seconds": 0.5}
    check_refused(command(tmp_path, away, *arguments, text=json.dumps(BLOCK)), "failed for 0.5 s")

    def script(request: Request, number: int) -> Reply:
        return Reply(body={"job": "none"})

    with ScriptedServer(script) as server:
        strange = config | {"api_url": server.url}
        check_refused(command(tmp_path, strange, *arguments, text=json.dumps(BLOCK)), "without a status")


def test_options_before_the_commands_name_are_refused(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    done = executable.fork(["--config", str(path), "jobs"], directory=tmp_path)
    assert done.returncode == 1
    assert "come after its name" in done.stderr
