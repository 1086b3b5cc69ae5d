"""Every fenced example in the documentation, run or held against the real thing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ecosystem.conftest import KEY, Demo
from tests.ecosystem.project import ROOT, Project

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LOAD = ("target-fullstory", "--config", "config.json", "--input", "input.jsonl")
MOMENT = "2026-01-05T09:12:44Z"
VALUES = {"ip": "203.0.113.7"}
"""Columns that a time does not fit."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    document: Path
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(document, line, match[1], match[2]))
    return found


BLOCKS = blocks()


def in_language(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    ids = [f"{block.document.name}:{block.line}" for block in chosen]
    return pytest.mark.parametrize("block", chosen, ids=ids)


def test_every_block_has_a_rule() -> None:
    # A block without a language is no example: a line of a log, say.
    assert {block.language for block in BLOCKS} <= {"", "json", "sh", "text", "yaml"}


# Commands


def check_long(demo: Demo, command: list[str]) -> None:
    """Check a command that takes longer than a test may (`make demo` has run for the fixture)."""
    if command[0] == "make":
        demo.project.run("make", "-n", *command[1:])
        return
    options = demo.project.run(*command[:3], "--help").stdout
    for option in command[3:]:
        assert option.isdecimal() or option in options, command


@in_language("sh")
def test_commands_run(demo: Demo, block: Block) -> None:
    lines = [line.partition(" #")[0].split() for line in block.text.splitlines()]
    if all(line[0] == "make" or line[:3] == ["python", "-m", "benchmarks"] for line in lines):
        for line in lines:
            check_long(demo, line)
        return
    if "jq " in block.text and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    data = demo.project.path / "data"
    if not data.exists():
        data.symlink_to("examples")
    done = demo.sh(block.text.strip())
    assert KEY not in done.stdout + done.stderr
    written = [path for path in (demo.project.path / "output").rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def without_what_changes(text: str) -> list[str]:
    """The lines of an output, ids and times masked."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "<id>", text)
    text = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", "<run>", text)
    text = re.sub(r"up to \S+", "up to <time>", text)
    return text.strip().splitlines()


@in_language("text")
def test_the_output_shown_is_what_make_demo_prints(demo: Demo, block: Block) -> None:
    printed = demo.printed[demo.printed.index("In Fullstory") :]
    assert without_what_changes(block.text) == without_what_changes(printed)


# Mappings


def columns_of(mapping: dict[str, Any]) -> set[str]:
    """The columns that a mapping reads."""
    found = set()
    for source in mapping.get("fields", {}).values():
        if isinstance(source, str):
            found.add(source)
        elif "template" in source:
            found.update(re.findall(r"\{(\w+)\}", source["template"]))
        elif "const" not in source:
            found |= columns_of({"fields": source})
    properties = mapping.get("properties") or []
    found.update(properties.values() if isinstance(properties, dict) else properties)
    return found | set(mapping.get("exclude", []))


def messages(streams: dict[str, Any]) -> list[dict[str, Any]]:
    """A SCHEMA and a RECORD for each mapped stream, and a STATE."""
    found: list[dict[str, Any]] = []
    for pattern, mapping in streams.items():
        stream = pattern.replace("*", "public-").replace("?", ".").replace("\\.", ".")
        record: dict[str, Any] = {}
        for column in sorted(columns_of(mapping)):
            *parents, name = column.split(".")
            place = record
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = VALUES.get(column, MOMENT)
        properties = {column: {} for column in record}
        schema = {"type": "object", "properties": properties}
        found += [
            {"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": []},
            {"type": "RECORD", "stream": stream, "record": record},
        ]
    return [*found, {"type": "STATE", "value": {}}]


def load(directory: Path, config: dict[str, Any], lines: list[Any], code: int = 0) -> Any:
    """Load into the sandbox; the state block."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config | {"api_url": "sandbox"}))
    (directory / "input.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = Project(directory).run(*LOAD, code=code)
    return json.loads(done.stdout.splitlines()[-1])["target_fullstory"]


def check_mapping(directory: Path, config: dict[str, Any]) -> None:
    block = load(directory, config, messages(config["streams"]))
    assert len(block["streams"]) == len(config["streams"])
    for counts in block["streams"].values():
        assert (counts["received"], counts["delivered"]) == (1, 1)
        assert counts["dropped_properties"] == {}


@in_language("yaml")
def test_mappings_load(block: Block, tmp_path: Path) -> None:
    value = yaml.safe_load(block.text)
    if "streams" in value:
        check_mapping(tmp_path, value)
        return
    assert [plugin["name"] for plugin in value["plugins"]["loaders"]] == ["target-fullstory"]
    head = {"project_id": "docs", "send_anonymous_usage_stats": False}
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(head | value))
    done = Project(tmp_path).run(
        *("meltano", "--log-level=error", "config", "print", "target-fullstory")
    )
    config = json.loads(done.stdout)
    assert config == value["plugins"]["loaders"][0]["config"]
    check_mapping(tmp_path, config)


# What the target writes


def shape(value: Any) -> Any:
    """A value's structure: keys and types, an item for a list."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


@in_language("json")
def test_what_is_shown_is_what_is_written(demo: Demo, block: Block, tmp_path: Path) -> None:
    shown = json.loads(block.text)
    if "target_fullstory" in shown:
        written = demo.states["orders"]["target_fullstory"]
        assert shape(shown["target_fullstory"]) == shape(written)
        for name in ("streams", "rejects", "version"):
            assert shown["target_fullstory"][name] == written[name]
        return
    assert shown["stage"] == "map"
    config = json.loads((ROOT / "examples/config.json").read_text())
    lines = (ROOT / "examples/sample.singer.jsonl").read_text().splitlines()
    (schema,) = (
        line
        for line in map(json.loads, lines)
        if line.get("stream") == shown["stream"] and line["type"] == "SCHEMA"
    )
    record = {"type": "RECORD", "stream": shown["stream"], "record": shown["record"]}
    state = load(tmp_path, config, [schema, record, {"type": "STATE", "value": {}}], code=1)
    assert state["rejects"]["count"] == 1
    path = tmp_path / state["rejects"]["path"]
    assert path.stat().st_mode & 0o777 == 0o600
    reject = json.loads(path.read_text())
    assert shape(reject) == shape(shown)
    for name in ("stream", "kind", "stage", "code", "record"):
        assert reject[name] == shown[name]
