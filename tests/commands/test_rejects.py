"""The command `rejects`: what is unresolved, and giving it up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Outcome
from tests.running import check_refused, command

Config = dict[str, Any]
ADDRESS = "https://api.example.com"


@pytest.fixture
def output(tmp_path: Path, config: Config) -> Path:
    config["api_url"] = ADDRESS
    directory = tmp_path / "output"
    directory.mkdir()
    return directory


def line(number: int, code: str = "schema_violation", column: str | None = None, **members: Any) -> str:
    entry: dict[str, Any] = {"stream": "orders", "kind": "events", "stage": "map", "code": code}
    if column is not None:
        entry["column"] = column
    at = f"2026-01-0{number}T00:00:00Z"
    return json.dumps(entry | {"message": "secret-value", "record": {}, "at": at} | members) + "\n"


def listed(tmp_path: Path, config: Config, *arguments: str) -> tuple[Outcome, Any]:
    done = command(tmp_path, config, "rejects", *arguments, "--format", "json")
    return done, json.loads(done.stdout)


def test_nothing_is_unresolved(tmp_path: Path, config: Config, output: Path) -> None:
    done, document = listed(tmp_path, config)
    assert done.code == 0, done.stderr
    assert document == {"unresolved": {"count": 0, "files": 0}, "reasons": []}
    assert command(tmp_path, config, "rejects").stdout == ""
    config["output_dir"] = str(tmp_path / "nowhere")
    assert listed(tmp_path, config)[0].code == 0
    assert not (tmp_path / "nowhere").exists()


def test_by_stream_code_and_column(tmp_path: Path, config: Config, output: Path) -> None:
    first, second = output / "rejects-1.jsonl", output / "rejects-2.jsonl"
    first.write_text(line(1, column="seats") + line(2, column="items") + line(3, column="items"))
    second.write_text(line(4, column="items") + line(5, "missing_name", stream="visits") + line(6)[:40])
    (output / "rejects-3.jsonl").write_text(line(7))
    elsewhere = {"destination": {"address": "https://api.eu1.example.com"}}
    (output / "run-3.json").write_text(json.dumps(elsewhere))
    done, document = listed(tmp_path, config)
    assert done.code == 1
    assert document["unresolved"] == {"count": 5, "files": 2}
    assert document["reasons"][0] == {
        "stream": "orders",
        "code": "schema_violation",
        "column": "items",
        "stage": "map",
        "count": 3,
        "first": "2026-01-02T00:00:00Z",
        "last": "2026-01-04T00:00:00Z",
        "example": f"{first}:2",
    }
    rest = [(one["stream"], one["code"], one["column"], one["example"]) for one in document["reasons"][1:]]
    assert rest == [
        ("orders", "schema_violation", "seats", f"{first}:1"),
        ("visits", "missing_name", None, f"{second}:2"),
    ]

    table = command(tmp_path, config, "rejects")
    assert table.code == 1
    assert [line.rstrip() for line in table.stdout.splitlines()] == [
        "3  orders: schema_violation, column items (map)",
        "   2026-01-02 00:00:00 to 2026-01-04 00:00:00, for example",
        f"   {first}:2",
        "1  orders: schema_violation, column seats (map)",
        "   2026-01-01 00:00:00, for example",
        f"   {first}:1",
        "1  visits: missing_name (map)",
        "   2026-01-05 00:00:00, for example",
        f"   {second}:2",
    ]
    assert "secret-value" not in table.stdout + table.stderr
    assert "Unresolved: 5 records in 2 files" in table.stderr

    done, document = listed(tmp_path, config, str(second))
    assert (done.code, document["unresolved"]) == (1, {"count": 2, "files": 1})


def test_discarding(tmp_path: Path, config: Config, output: Path) -> None:
    first, second = output / "rejects-1.jsonl", output / "rejects-2.jsonl"
    first.write_text(line(1))
    second.write_text(line(2) + line(3))
    done, document = listed(tmp_path, config, "--discard", str(first))
    assert done.code == 1, "of the other file there are some"
    assert document["unresolved"] == {"count": 2, "files": 1}
    assert Path(f"{first}.discarded").read_text() == line(1)
    # One of the same name is not overwritten.
    first.write_text(line(4))
    done, document = listed(tmp_path, config, "--discard", str(first), str(second))
    assert done.code == 0, done.stderr
    assert document["reasons"] == []
    assert Path(f"{first}.discarded").read_text() == line(1)
    assert Path(f"{first}.2.discarded").read_text() == line(4)
    assert sorted(path.name for path in output.iterdir()) == [
        "rejects-1.jsonl.2.discarded",
        "rejects-1.jsonl.discarded",
        "rejects-2.jsonl.discarded",
    ]


def test_what_cannot_be_discarded(tmp_path: Path, config: Config, output: Path) -> None:
    rejects, other = output / "rejects-1.jsonl", output / "run-1.json"
    rejects.write_text(line(1))
    other.write_text("{}")
    refused = command(tmp_path, config, "rejects", "--discard", str(rejects), str(other))
    check_refused(refused, str(other), "Nothing was renamed")
    assert rejects.exists()
    check_refused(command(tmp_path, config, "rejects", "--discard"), "--discard", "FILE")


def test_a_line_that_is_none_is_listed(tmp_path: Path, config: Config, output: Path) -> None:
    path = output / "rejects-1.jsonl"
    path.write_text('{"what": 1}\n' + line(1, stream="[red]x") + "\n")
    done, document = listed(tmp_path, config)
    assert done.code == 1
    assert {(one["code"], one["example"]) for one in document["reasons"]} == {
        ("unreadable_line", f"{path}:1"),
        ("schema_violation", f"{path}:2"),
    }
    assert "[red]x" in command(tmp_path, config, "rejects").stdout
