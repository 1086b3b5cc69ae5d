"""Standard streams that are closed, not UTF-8, or read by nobody."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import EXECUTABLE, USERS, SandboxApi, schema, state, user
from tests.reliability.live import Live


def shell(config: dict[str, Any], directory: Path, redirection: str, *arguments: str) -> Any:
    """Run the executable by a shell with these redirections."""
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    (directory / "input").write_text("".join(f"{line}\n" for line in (USERS, user(1), state(n=1))))
    command = [*EXECUTABLE, *arguments, "--config", str(path)]
    return subprocess.run(
        ["sh", "-c", f"exec {shlex.join(command)} {redirection}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )


def error_line(done: Any) -> str:
    assert "Traceback" not in done.stderr, done.stderr
    assert "Unexpected" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "| ERROR" in line]
    return str(line)


@pytest.mark.parametrize(
    ("redirection", "says"),
    [
        ("< input >&-", "Standard output is closed"),
        ("<&-", "Standard input is closed"),
        ("<&- >&-", "Standard input is closed"),
        ("0> nothing", "The input cannot be read: Bad file descriptor"),
    ],
)
def test_a_stream_that_is_closed_ends_the_run_before_anything_is_sent(
    sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path, redirection: str, says: str
) -> None:
    done = shell(config | {"api_url": sandbox.url}, tmp_path, redirection)
    assert done.returncode == 1
    assert says in error_line(done)
    assert int(api.get("/v2/users")["total_records"]) == 0


def test_without_a_place_for_its_log_a_run_goes_on(
    sandbox: Sandbox, api: SandboxApi, config: dict[str, Any], tmp_path: Path
) -> None:
    settings = config | {"api_url": sandbox.url, "delivery": "batch"}
    done = shell(settings, tmp_path, "< input 2>&-")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["bookmarks"] == {"n": 1}
    assert api.user("u1")


@pytest.mark.parametrize("redirection", ["< input >&-", "<&-", "< input 2>&-"])
@pytest.mark.parametrize("command", ["check", "preview"])
def test_commands_without_a_stream_leave_no_traceback(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path, command: str, redirection: str
) -> None:
    done = shell(config | {"api_url": sandbox.url}, tmp_path, redirection, command)
    assert "Traceback" not in done.stderr
    assert "Unexpected" not in done.stderr
    assert done.returncode == (1 if (command, redirection) == ("preview", "<&-") else 0)


ASCII = {
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "LC_ALL=C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("environment", ASCII.values(), ids=ASCII)
@pytest.mark.parametrize("arguments", [[], ["--input", "input"]])
def test_an_ascii_locale_changes_nothing(
    sandbox: Sandbox,
    api: SandboxApi,
    config: dict[str, Any],
    tmp_path: Path,
    environment: dict[str, str],
    arguments: list[str],
) -> None:
    columns = {"uid": "string", "größe": "string", "city": "string"}
    lines = [schema("users", columns, ["uid"]), user(1, city="Zürich 東京"), state(place="Zürich 東京")]
    text = "".join(f"{line}\n" for line in lines).encode().decode("unicode_escape").encode("utf-8")
    (tmp_path / "input").write_bytes(text)
    (tmp_path / "config.json").write_text(json.dumps(config | {"api_url": sandbox.url}))
    for command in (["preview"], []):
        done = subprocess.run(
            [*EXECUTABLE, *command, "--config", "config.json", *arguments],
            input=text,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=os.environ | environment | {"PYTHONPATH": str(Path.cwd())},
        )
        assert done.returncode == 0, done.stderr
        assert "Zürich 東京" in done.stdout.decode()
    assert json.loads(done.stdout.splitlines()[-1])["bookmarks"] == {"place": "Zürich 東京"}
    assert api.user("u1")["properties"] == {"city": "Zürich 東京"}


@pytest.mark.parametrize("in_thread", [False, True], ids=["reading", "sending"])
def test_a_signal_ends_a_run_whose_state_nobody_reads(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path, in_thread: bool
) -> None:
    """The reading thread writes it, or one that sends; whichever it is must not wait for ever."""
    reader, output = os.pipe()
    settings = {"api_url": sandbox.url} | ({"batch_size_rows": 1} if in_thread else {})
    try:
        with Live(config | settings, tmp_path, grace=0.5, stdout=output) as live:
            live.feed(USERS, *([user(1)] if in_thread else []), state(pad="x" * 300_000))
            live.wait_until_read()
            time.sleep(1)
            began = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            assert live.end(20) == 1
            assert time.monotonic() - began < 10
            (error,) = live.errors
            assert "STATE cannot be written" in error
    finally:
        os.close(output)
        os.close(reader)


def test_a_second_signal_ends_it_at_once(sandbox: Sandbox, config: dict[str, Any], tmp_path: Path) -> None:
    reader, output = os.pipe()
    try:
        with Live(config | {"api_url": sandbox.url}, tmp_path, stdout=output) as live:
            live.feed(USERS, state(pad="x" * 300_000))
            live.wait_until_read()
            live.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert live.process.poll() is None
            began = time.monotonic()
            live.process.send_signal(signal.SIGTERM)
            assert live.end(5) == 1
            assert time.monotonic() - began < 2
    finally:
        os.close(output)
        os.close(reader)


def test_a_reader_that_takes_its_time_gets_every_byte(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    reader, output = os.pipe()
    pad = "x" * 300_000
    with Live(config | {"api_url": sandbox.url}, tmp_path, stdout=output) as live:
        os.close(output)
        live.feed(USERS, user(1), state(pad=pad))
        live.close_input()
        read = b""
        while part := os.read(reader, 10_000):
            read += part
            time.sleep(0.01)
        assert live.end() == 0
    os.close(reader)
    assert json.loads(read.splitlines()[-1])["bookmarks"] == {"pad": pad}


def test_jobs_are_waited_for_without_standard_error(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    job = {"id": "j", "kind": "users", "stream": "users", "records": 1}
    (tmp_path / "state").write_text(json.dumps({"target_fullstory": {"run_id": "r", "jobs": [job]}}))
    waiting = ["jobs", "--wait", "--state", "state", "--format", "json"]
    settings = {"api_url": sandbox.url, "job_poll_interval_seconds": 0.01}
    done = shell(config | settings, tmp_path, "2>&-", *waiting)
    assert [job["status"] for job in json.loads(done.stdout)["jobs"]] == ["UNKNOWN"]
    assert done.returncode == 1
