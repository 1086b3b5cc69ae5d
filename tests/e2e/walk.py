"""The walk of docs/warehouse.md: its examples, executed in a copy of the project, section by section."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.conftest import EXECUTABLE, SandboxApi
from tests.e2e.page import Block, read_page
from tests.e2e.postgres import Postgres
from tests.ecosystem.project import Project, environment

KEY = "NA1.a-key-that-must-not-be-seen"
STATE_ID = "sandbox:tap-postgres-to-target-fullstory"
PRIVATE = (KEY, "a-password", "@example.", "shop.example")
"""What no output may have in it: the secrets, and what is in every customer and every order."""
_KILL_SECONDS = 120.0
_START_SECONDS = 60.0


@dataclass(frozen=True)
class State:
    """A Singer state, asked by table."""

    value: dict[str, Any]

    @property
    def block(self) -> dict[str, Any]:
        """The target's block."""
        block: dict[str, Any] = self.value["target_fullstory"]
        return block

    def counts(self, table: str) -> dict[str, Any]:
        """The load's counters."""
        counts: dict[str, Any] = self.block["streams"][f"public-{table}"]
        return counts

    def bookmark(self, table: str) -> Any:
        """The greatest replication key that Fullstory has."""
        return self.value["bookmarks"][f"public-{table}"]["replication_key_value"]


@dataclass
class Walk:
    """A user's way along the page. The sandbox is a process of its own: it outlives a killed load."""

    project: Project
    postgres: Postgres
    api: SandboxApi
    database: Path
    blocks: list[Block] = field(default_factory=read_page)
    at: int = 0
    printed: list[str] = field(default_factory=list)

    # The page

    def go_on(self, section: str) -> None:
        """Execute the next section, which has to be this one: no block is left out."""
        assert self.at < len(self.blocks), f"the page ends before {section}"
        block = self.blocks[self.at]
        assert block.section == section, f"the walk is at {block.section!r}: did a step fail?"
        before = len(self.printed)
        while self.at < len(self.blocks) and self.blocks[self.at].section == section:
            block = self.blocks[self.at]
            self.at += 1
            self._execute(block, self.printed[before:])

    def _execute(self, block: Block, printed: list[str]) -> None:
        place = f"line {block.line} of docs/warehouse.md"
        if block.language == "sql":
            self.postgres.sql(block.text)
        elif block.language == "sh":
            self.printed.append(self.sh(self._here(block.text)).stdout)
        elif block.language == "text":
            assert printed, f"{place}: nothing was printed before"
            assert printed[-1] == block.text, f"{place} is not what was printed: {printed[-1]}"
        elif block.language == "yaml":
            self._configure(yaml.safe_load(block.text), place)
        else:
            raise AssertionError(f"{place}: no rule for a block of {block.language!r}")

    def _here(self, script: str) -> str:
        """The script as it has to be on this machine: the server's port, the environment that is there."""
        script = script.replace("_PORT=5432", f"_PORT={self.postgres.port}")
        return script.replace("make install", "make -o .venv/.installed install")

    def _configure(self, value: dict[str, Any], place: str) -> None:
        """Do with a piece of YAML what the page says."""
        path = self.project.path / "meltano.yml"
        meltano = yaml.safe_load(path.read_text())
        plugins = {
            plugin["name"]: plugin
            for kind in ("extractors", "loaders")
            for plugin in meltano["plugins"][kind]
        }
        if "plugins" in value:
            for shown in value["plugins"]["extractors"]:
                there = {name: plugins[shown["name"]].get(name) for name in shown}
                assert there == shown, f"{place}: meltano.yml has {there}"
            return
        ((name, content),) = value.items()
        plugin = {"streams": "target-fullstory", "stream_options": "tap-postgres"}[name]
        plugins[plugin]["config"][name] = content
        path.write_text(yaml.safe_dump(meltano, sort_keys=False))

    # Commands

    def sh(self, script: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a script as a user does; settings are the target's, in capitals."""
        done = self.project.run(
            *("bash", "-euo", "pipefail", "-c", script), code=code, **self._variables(settings)
        )
        for private in PRIVATE:
            assert private not in done.stdout + done.stderr, f"{private} is in the output"
        return done

    def _variables(self, settings: dict[str, str]) -> dict[str, str]:
        given = {"API_KEY": KEY, "API_URL": self.api.url} | settings
        # As a user has it: without compiled modules, each of the many starts takes seconds more.
        return {f"TARGET_FULLSTORY_{name}": value for name, value in given.items()} | {
            "PYTHONDONTWRITEBYTECODE": ""
        }

    def kill(self, moment: Callable[[], bool], **settings: str) -> None:
        """Start a load and kill all its processes, Meltano too (SIGKILL), when the moment has come."""
        log = self.project.path / "killed.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["./load.sh", "--force"],
                cwd=self.project.path,
                env=environment() | self._variables(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            deadline = time.monotonic() + _KILL_SECONDS
            try:
                while not moment():
                    story = log.read_text(errors="replace")
                    assert process.poll() is None, f"the load ended before the kill\n{story}"
                    assert time.monotonic() < deadline, f"the moment did not come\n{story}"
                    time.sleep(0.02)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    # What is there

    def reset(self) -> None:
        """Make the sandbox an empty one."""
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Basic {KEY}"
            session.post(f"{self.api.url}/sandbox/reset", timeout=30).raise_for_status()

    def state(self) -> State:
        """The Singer state that Meltano keeps."""
        done = self.sh(f"meltano --log-level=error state get {STATE_ID}")
        return State(json.loads(done.stdout)["singer_state"])

    def jobs_accepted(self, kind: str) -> list[str]:
        """The idempotency keys of the batches that Fullstory took over as new jobs."""
        return [
            request["idempotency_key"]
            for request in self.api.requests()
            if (request["method"], request["path"]) == ("POST", f"/v2/{kind}/batch")
            and request["status"] == 200
            and not request["replayed"]
        ]

    def keys_recognised(self) -> list[str]:
        """The idempotency keys of the requests that Fullstory knew already."""
        return [request["idempotency_key"] for request in self.api.requests() if request["replayed"]]


@contextmanager
def running_sandbox(database: Path) -> Iterator[SandboxApi]:
    """A sandbox as a process of its own."""
    database.parent.mkdir(parents=True)
    options = {"--port": "0", "--db": str(database), "--job-seconds": "0.5", "--api-key": KEY}
    arguments = [part for option in options.items() for part in option]
    process = subprocess.Popen([*EXECUTABLE, "sandbox", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(_START_SECONDS), "the sandbox does not start"
        words = process.stdout.readline().decode().split()
        assert words, "the sandbox ended at once"
        yield SandboxApi(words[-1], KEY)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.stdout.close()
