"""Shared by all tests: the executable, a sandbox, and Singer lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from xdist.scheduler import LoadScopeScheduling

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests import executable

EXECUTABLE = executable.EXECUTABLE
KEY = "test-key-0123456789"
TOGETHER = {
    "tests/ecosystem/test_docs_examples.py::test_the_sandbox_is_asked": "demo",
    "tests/ecosystem/test_docs_examples.py::test_commands_run": "demo",
    "tests/ecosystem/test_docs_examples.py::test_the_output_shown": "demo",
    "tests/ecosystem/test_meltano_run.py": "demo",
    "tests/ecosystem/test_meltano_commands.py": "commands",
    "tests/ecosystem/test_wheel.py": "wheel",
    "tests/recorded/": "recorded",
}
"""Beginnings of tests for one and the same process: each looks at what others have made."""


class _Scheduling(LoadScopeScheduling):
    """Spreads the tests one by one, but for those that belong together; these begin first."""

    def _split_scope(self, nodeid: str) -> str:
        groups = (group for start, group in TOGETHER.items() if nodeid.startswith(start))
        return next(groups, nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """For pytest-xdist."""
    return _Scheduling(config, log)


@dataclass
class Outcome:
    """What a run left behind."""

    code: int
    stdout: str
    stderr: str
    output_dir: Path

    @property
    def states(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def block(self) -> dict[str, Any]:
        block: dict[str, Any] = self.states[-1]["target_fullstory"]
        return block

    @property
    def rejects(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in sorted(self.output_dir.glob("rejects-*.jsonl"))
            for line in path.read_text().splitlines()
        ]

    @property
    def report(self) -> dict[str, Any]:
        (path,) = self.output_dir.glob("run-*.json")
        report: dict[str, Any] = json.loads(path.read_text())
        return report

    @property
    def error_lines(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if "| ERROR" in line]


def schema(stream: str, columns: dict[str, Any], keys: list[str] | None = None) -> str:
    """A SCHEMA line; a column's type is a JSON Schema type name, nullable, or a whole schema."""
    properties = {
        name: kind if isinstance(kind, dict) else {"type": ["null", kind]} for name, kind in columns.items()
    }
    return json.dumps(
        {
            "type": "SCHEMA",
            "stream": stream,
            "schema": {"type": "object", "properties": properties},
            "key_properties": keys or [],
        }
    )


def record(stream: str, **columns: Any) -> str:
    """A RECORD line."""
    return json.dumps({"type": "RECORD", "stream": stream, "record": columns})


def state(**bookmarks: Any) -> str:
    """A STATE line."""
    return json.dumps({"type": "STATE", "value": {"bookmarks": bookmarks}})


USERS = schema("users", {"uid": "string", "email": "string", "seats": "integer"}, ["uid"])
EVENTS = schema(
    "events",
    {
        "name": "string",
        "timestamp": {"type": ["null", "string"], "format": "date-time"},
        "user": {"type": ["null", "object"], "properties": {"uid": {"type": ["null", "string"]}}},
        "amount": "number",
    },
)


def user(number: int, **columns: Any) -> str:
    """A RECORD line of the stream users."""
    return record("users", uid=f"u{number}", **columns)


def event(number: int, **columns: Any) -> str:
    """A RECORD line of the stream events, each at a time of its own."""
    minutes, seconds = divmod(number, 60)
    hours, minutes = divmod(minutes, 60)
    time = f"2026-01-01T{hours:02}:{minutes:02}:{seconds:02}Z"
    columns = {"name": "Ordered", "timestamp": time, "user": {"uid": "u1"}} | columns
    return record("events", **columns)


@pytest.fixture(scope="session")
def _closing() -> Iterator[Executor]:
    """Ends sandboxes: that takes a fifth of a second, in which the next test may run."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def sandbox(_closing: Executor) -> Iterator[Sandbox]:
    """A sandbox whose jobs end at once."""
    running = Sandbox(SandboxOptions(job_seconds=0.05)).__enter__()
    yield running
    _closing.submit(running.__exit__, None, None, None)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A configuration without an address; tests that send add one."""
    return {
        "api_key": KEY,
        "output_dir": str(tmp_path / "output"),
        "job_poll_interval_seconds": 0.05,
        "retry_max_seconds": 20,
    }


@pytest.fixture
def run_target(tmp_path: Path, config: dict[str, Any]) -> Callable[..., Outcome]:
    """Runs the target on lines of input; keywords are settings.

    It runs in a fork; with `start` the executable is started, as users do.
    """

    def run(
        lines: list[str] | bytes, *, timeout: float = 60, start: bool = False, **settings: Any
    ) -> Outcome:
        full = config | settings
        path = tmp_path / "config.json"
        path.write_text(json.dumps(full))
        data = lines if isinstance(lines, bytes) else "".join(f"{li}\n" for li in lines).encode()
        execute = executable.start if start else executable.fork
        done = execute(["--config", str(path)], data, directory=Path.cwd(), timeout=timeout)
        return Outcome(done.returncode, done.stdout, done.stderr, Path(full["output_dir"]))

    return run


class SandboxApi:
    """Asks a sandbox what it holds."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Basic {key}"

    def get(self, path: str, **params: Any) -> Any:
        answer = self._session.get(self.url + path, params=params, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def delete(self, path: str) -> None:
        self._session.delete(self.url + path, timeout=30).raise_for_status()

    def user(self, uid: str) -> dict[str, Any]:
        (found,) = self.get("/v2/users", uid=uid)["results"]
        user: dict[str, Any] = self.get(f"/v2/users/{found['id']}", include_schema="true")
        return user

    def events(self, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/sandbox/events", **params)["results"]
        return found

    def requests(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = self.get("/sandbox/requests")["results"]
        return made


@pytest.fixture
def api(sandbox: Sandbox) -> SandboxApi:
    """The sandbox, asked directly."""
    return SandboxApi(sandbox.url)
