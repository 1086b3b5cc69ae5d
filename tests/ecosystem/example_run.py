"""Runs an example of the documentation: a load into a sandbox, then what the page shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from target_fullstory.sandbox import Sandbox
from tests.conftest import KEY, SandboxApi
from tests.ecosystem.pages import Block, Example
from tests.ecosystem.project import Project

FILES = ("--config", "config.json", "--input", "input.jsonl")
OUTPUT = Path("output/target-fullstory")
ANYTHING = "…"
"""What a page writes for a text, or the end of one, that is of no interest."""
_CHANGING = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b"), "<run>"),
    (re.compile(r"\b1000000\d{3}\b"), "<user>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "<now>"),
)


def without_what_changes(text: str) -> str:
    """A text, the ids and times of a run masked."""
    for pattern, mask in _CHANGING:
        text = pattern.sub(mask, text)
    return text


def same(shown: Any, real: Any, *, part: bool = False) -> bool:
    """Whether what a page shows is what there is.

    Args:
        shown: What the page shows.
        real: What there is.
        part: Whether the page may leave out members of an object.
    """
    if isinstance(shown, dict) and isinstance(real, dict):
        keys = shown.keys() <= real.keys() if part else shown.keys() == real.keys()
        return keys and all(same(shown[key], real[key], part=part) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        pairs = zip(shown, real, strict=False)
        return len(shown) == len(real) and all(same(a, b, part=part) for a, b in pairs)
    if isinstance(shown, str) and isinstance(real, str):
        shown, real = without_what_changes(shown), without_what_changes(real)
        if shown.endswith(ANYTHING):
            return real.startswith(shown[: -len(ANYTHING)])
    return type(shown) is type(real) and bool(shown == real)


def messages(records: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Records as a tap sends them: the SCHEMA tells the types they have; a column `id` is the key."""
    found: list[dict[str, Any]] = []
    for stream, rows in records.items():
        columns: dict[str, Any] = {}
        for row in rows:
            for column, value in row.items():
                if columns.get(column) in (None, {}):
                    columns[column] = {} if value is None else _schema_of(value)
        keys = ["id"] if all("id" in row for row in rows) else []
        schema = {"type": "object", "properties": columns}
        found.append({"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": keys})
        found += [{"type": "RECORD", "stream": stream, "record": row} for row in rows]
    return [*found, {"type": "STATE", "value": {"bookmarks": {}}}]


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def _schema_of(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        columns = {name: _schema_of(inner) for name, inner in value.items() if inner is not None}
        return {"type": ["null", "object"], "properties": columns}
    if isinstance(value, list):
        items = [_schema_of(item) for item in value if item is not None]
        return {"type": ["null", "array"], "items": items[0] if items else {}}
    schema: dict[str, Any] = {"type": ["null", _TYPES[type(value)]]}
    if isinstance(value, str) and (format_ := _format_of(value)):
        schema["format"] = format_
    return schema


def _format_of(text: str) -> str | None:
    found = re.fullmatch(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?", text)
    if found is None:
        return None
    return "date-time" if found["time"] else "date"


class ExampleRun:
    """One example in a directory of its own."""

    def __init__(self, example: Example, directory: Path, sandbox: Sandbox) -> None:
        """Make the files that the executable reads, and empty the sandbox."""
        self.example = example
        self.api = SandboxApi(sandbox.url)
        self._project = Project(directory)
        headers = {"Authorization": f"Basic {KEY}"}
        requests.post(f"{sandbox.url}/sandbox/reset", headers=headers, timeout=30)
        config = {"concurrency": 1, "job_poll_interval_seconds": 0.05} | example.settings
        config |= {"api_url": sandbox.url, "api_key": KEY}
        (directory / "config.json").write_text(json.dumps(config))
        lines = [json.dumps(message) + "\n" for message in messages(example.records)]
        (directory / "input.jsonl").write_text("".join(lines))
        self._allowed = config.get("max_rejected_records", 0)
        self._loaded: subprocess.CompletedProcess[str] | None = None
        self._printed = ""

    @property
    def _directory(self) -> Path:
        return self._project.path

    def load(self) -> None:
        """Load, and make sure that the exit code is right."""
        # Which one is right the state tells, so it may be any here.
        self._loaded = self._project.execute(*FILES, code=None)
        lines = self._loaded.stdout.splitlines()
        (self._directory / "state.json").write_text(lines[-1] if lines else "")
        assert self._loaded.returncode == self._expected_code, self._loaded.stderr

    def check(self, block: Block) -> None:
        """Hold what the page shows against what there is, or do what it says."""
        RULES[block.info](self, block)

    @property
    def _expected_code(self) -> int:
        if any(block.info == "text error" for block in self.example.blocks):
            return 1
        return int(0 <= self._allowed < self._block["rejects"]["count"])

    @property
    def _block(self) -> dict[str, Any]:
        """The state block of the load."""
        state = json.loads((self._directory / "state.json").read_text())
        block: dict[str, Any] = state["target_fullstory"]
        return block

    # What is in Fullstory

    def _check_users(self, block: Block) -> None:
        listed = self.api.get("/v2/users")["results"]
        users = [self.api.get(f"/v2/users/{user['id']}", include_schema="true") for user in listed]
        _compare(block, users, optional=("id", "app_url", "is_being_deleted", "schema"))

    def _check_events(self, block: Block) -> None:
        events = self.api.events()
        shows_ids = any("id" in event.get("user", {}) for event in json.loads(block.text))
        for event in events:
            if not shows_ids and "uid" in event["user"]:
                event["user"].pop("id", None)
            for name in ("seq", "received", "job_id"):
                del event[name]
            for name in ("user", "properties"):
                if not event[name]:
                    del event[name]
        _compare(block, events, optional=("schema",))

    # What the run has written

    def _check_state(self, block: Block) -> None:
        assert same(json.loads(block.text), self._block, part=True), (str(block), self._block)

    def _check_rejects(self, block: Block) -> None:
        (path,) = (self._directory / OUTPUT).glob("rejects-*.jsonl")
        assert path.stat().st_mode & 0o777 == 0o600
        rejects = [json.loads(line) for line in path.read_text().splitlines()]
        assert same(json.loads(block.text), rejects, part=True), (str(block), rejects)

    def _check_error(self, block: Block) -> None:
        assert self._loaded is not None
        lines = [line for line in self._loaded.stderr.splitlines() if "| ERROR" in line]
        (told,) = (line.split(" | ", 3)[3] for line in lines)
        assert told == " ".join(block.text.split()), str(block)

    # What a user runs

    def _check_sh(self, block: Block) -> None:
        done = self._project.run("bash", "-euo", "pipefail", "-c", block.text)
        self._printed = done.stdout

    def _check_python(self, block: Block) -> None:
        self._printed = self._project.run(sys.executable, "-c", block.text).stdout

    def _check_output(self, block: Block) -> None:
        real = without_what_changes(self._printed)
        assert real.strip() == without_what_changes(block.text).strip(), (str(block), real)

    # A record and its request

    def _check_request(self, block: Block) -> None:
        shown = json.loads(block.text)["request"]
        *_, stream = self.example.settings["streams"]
        printed = self._project.execute("preview", *FILES).stdout
        _, _, told = printed.partition(f"{stream} (")
        call = re.search(r"^  ([A-Z]+) (/\S+)\n((?:  .*\n)*)", told, re.MULTILINE)
        assert call is not None, told
        method, path, body = call.groups()
        request = json.loads(body) if body else None
        if "method" in shown:
            assert shown == {"method": method, "path": path, "body": request}, (str(block), request)
            return
        assert shown == request, (str(block), request)
        counts = self._block["streams"][stream]
        assert counts["delivered"] == 1
        assert counts["dropped_properties"] == {}


RULES = {
    "json": ExampleRun._check_request,
    "json events": ExampleRun._check_events,
    "json rejects": ExampleRun._check_rejects,
    "json state": ExampleRun._check_state,
    "json users": ExampleRun._check_users,
    "python": ExampleRun._check_python,
    "sh": ExampleRun._check_sh,
    "text": ExampleRun._check_output,
    "text error": ExampleRun._check_error,
}
"""What a block after the input is for."""


def _compare(block: Block, real: list[Any], optional: tuple[str, ...]) -> None:
    """Compare all there is; what is `optional` only where the page shows it anywhere."""
    shown = json.loads(block.text)
    for name in optional:
        if not any(name in item for item in shown):
            for item in real:
                item.pop(name, None)
    assert same(shown, real), (str(block), real)
