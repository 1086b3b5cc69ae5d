"""The command `rejects`: what is unresolved, and giving it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Outcome
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Config = dict[str, Any]


def nothing_else(request: Request, number: int) -> Reply:
    return Reply(500, {})


@pytest.fixture
def output(tmp_path: Path, config: Config) -> Iterator[Path]:
    """Beside a server that tells whose the key is."""
    directory = tmp_path / "output"
    directory.mkdir()
    with ScriptedServer(nothing_else) as server:
        config["api_url"] = server.url
        yield directory


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
    assert document == {"unresolved": {"count": 0, "files": []}, "reasons": []}
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
    assert document["unresolved"] == {"count": 5, "files": [str(first), str(second)]}
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
    assert (done.code, document["unresolved"]) == (1, {"count": 2, "files": [str(second)]})


def test_of_another_organization(tmp_path: Path, config: Config, output: Path) -> None:
    """The address is the same: the key tells whose it is, and where it does not, nothing is left out."""
    for run, organization in (("1", "scripted"), ("2", "another"), ("3", "key:0123456789ab")):
        (output / f"rejects-{run}.jsonl").write_text(line(1))
        destination = {"address": config["api_url"], "organization": organization}
        (output / f"run-{run}.json").write_text(json.dumps({"destination": destination}))
    _, document = listed(tmp_path, config)
    assert document["unresolved"] == {
        "count": 2,
        "files": [str(output / "rejects-1.jsonl"), str(output / "rejects-3.jsonl")],
    }

    with ScriptedServer(lambda request, number: Reply(403, {"code": "forbidden"}), me=True) as untold:
        for report in output.glob("run-*.json"):
            report.write_text(report.read_text().replace(config["api_url"], untold.url))
        done, document = listed(tmp_path, config | {"api_url": untold.url})
    assert document["unresolved"]["count"] == 3, done.stderr
    # It has ended: nobody answers at its address any more.
    done, document = listed(tmp_path, config | {"api_url": untold.url})
    assert document["unresolved"]["count"] == 3, done.stderr


def test_without_a_way_to_ask_the_address_decides(
    tmp_path: Path, config: Config, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    (output / "rejects-1.jsonl").write_text(line(1))
    done, document = listed(tmp_path, config | {"api_url": "https://localhost:1"})
    assert done.code == 1
    assert document["unresolved"]["count"] == 1
    assert done.error_lines == []


def test_discarding(tmp_path: Path, config: Config, output: Path) -> None:
    first, second = output / "rejects-1.jsonl", output / "rejects-2.jsonl"
    first.write_text(line(1))
    second.write_text(line(2) + line(3))
    done, document = listed(tmp_path, config, "--discard", str(first))
    assert done.code == 1, "of the other file there are some"
    assert document["unresolved"] == {"count": 2, "files": [str(second)]}
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
