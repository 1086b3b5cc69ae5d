"""`scripts/summary.py` tells of the last run, however that was started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, USERS, Outcome, event, record, schema, user
from tests.ecosystem.project import ROOT

Run = Callable[..., Outcome]
LONG = "a_stream_whose_name_is_longer_than_most_columns"


def summary(directory: Path, *arguments: str, code: int = 0) -> str:
    """What the script prints, run in a directory."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/summary.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout or done.stderr


def table(printed: str) -> dict[str, list[str]]:
    """The counts by stream, as they are shown."""
    text = printed.partition("Where every record went:\n")[2]
    rows = [line.split() for line in text.splitlines() if line.startswith("  ")]
    return {row[0]: row[1:] for row in rows if len(row) == 8 and row[0] not in {"stream", "job"}}


def lines(stream: str, *ids: str) -> list[str]:
    """Users of a stream."""
    return [schema(stream, {"id": "string"}, ["id"]), *(record(stream, id=one) for one in ids)]


def at(path: Path, seconds: int) -> None:
    """Let a run have been so many seconds later."""
    later = f"2026-01-05T09:{seconds // 60:02}:{seconds % 60:02}.000Z"
    report = json.loads(path.read_text())
    report["timings"] |= {"began": later, "ended": later}
    for name in {"started_at", "finished_at"}.intersection(report):
        report[name] = later
    path.write_text(json.dumps(report))


def test_the_last_run_is_told_of_not_an_earlier_one(run_target: Run, tmp_path: Path) -> None:
    """Also where the STATE has no block, or one under another name, and in another `output_dir`."""
    people = {"streams": {"*": {"kind": "users"}}, "api_url": "sandbox"}
    run_target(lines("customers", "user_1", "user_2"), **people)
    run_target(lines(LONG, "mine", "yours", "theirs"), **people, state_key="", delivery="single")
    own = tmp_path / "output"
    first, second = sorted(own.glob("run-*.json"), key=lambda path: LONG in path.read_text())
    at(first, 0)
    at(second, 300)
    printed = summary(tmp_path, str(own))
    assert table(printed) == {LONG: ["users", "3", "3", "0", "0", "0", "0"]}
    assert "  5 users, 0 events, 0 jobs\n" in printed
    assert "for example mine" in printed or "for example yours" in printed or "for example theirs" in printed
    assert "user_1" not in printed
    assert second.name in printed
    assert first.name not in printed

    run_target(lines("leads", "l1"), **people, state_key="mine", output_dir=str(tmp_path / "other"))
    assert table(summary(tmp_path, str(tmp_path / "other"))) == {
        "leads": ["users", "1", "1", "0", "0", "0", "0"]
    }
    assert table(summary(tmp_path, str(own))).keys() == {LONG}, "it is still the last run there"


def test_loads_that_follow_each_other_are_one_run(run_target: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """As a `meltano run` of several tasks makes them; a stream that comes again begins a new run."""
    settings = {"api_url": sandbox.url, "streams": {"customers": {"kind": "users"}}}
    inputs = [lines("customers", "a"), lines("customers", "b", "c"), [EVENTS, event(1)], [USERS, user(1)]]
    starts = [0, 20, 40, 99]
    for number, (text, start) in enumerate(zip(inputs, starts, strict=True)):
        run_target(text, **settings)
        new = [
            path
            for path in (tmp_path / "output").glob("run-*.json")
            if "2026-01-05T09" not in path.read_text()
        ]
        assert len(new) == 1, number
        at(new[0], start)
    printed = summary(tmp_path, str(tmp_path / "output"))
    counted = {name: row[1] for name, row in table(printed).items()}
    assert counted == {"customers": "2", "events": "1", "users": "1"}
    assert "3 loads" in printed
    assert "In Fullstory" not in printed, "it was not the embedded sandbox"
    at(new[0], 101 + 3)
    assert table(summary(tmp_path, str(tmp_path / "output"))).keys() == {"users"}


def test_columns_stay_apart_and_rejects_are_told(run_target: Run, tmp_path: Path) -> None:
    text = [
        schema(LONG, {"id": "string"}, []),
        *(record(LONG, id=f"u{n}" if n % 3 else None) for n in range(3000)),
    ]
    streams = {LONG: {"kind": "users", "fields": {"uid": "id"}}}
    done = run_target(text, api_url="sandbox", streams=streams, max_rejected_records=-1)
    assert done.code == 0, done.stderr
    printed = summary(tmp_path, str(tmp_path / "output"))
    assert table(printed) == {LONG: ["users", "3,000", "2,000", "1,000", "0", "0", "0"]}
    (path,) = done.output_dir.glob("rejects-*.jsonl")
    assert f"1,000 rejected records: {path}" in printed
    (job,) = done.report["jobs"]
    assert f"  job {job['id']}: COMPLETED, 2,000 imported, 0 errors" in printed.splitlines()
    assert "  1,000 unresolved rejects then: `target-fullstory rejects` lists those of now" in printed


def test_values_that_do_not_fit_are_told(run_target: Run, tmp_path: Path) -> None:
    columns = {"id": "string", "joined": "string"}
    text = [schema("people", columns), record("people", id="a", joined="05.07.2026")]
    since = {"since": {"column": "joined", "as": "date"}}
    people = {"kind": "users", "fields": {"uid": "id"}, "properties": since}
    events = {"kind": "events", "fields": {"name": {"const": "x"}}}
    text += [schema("visits", {"id": "string"}), record("visits", id="v")]
    run_target(text, api_url="sandbox", streams={"people": people, "visits": events})
    printed = summary(tmp_path, str(tmp_path / "output"))
    assert "  people: 1 values of since left out: they cannot be cast" in printed
    assert "  1 events have no timestamp" in printed


def test_the_example_is_of_the_latest_load(run_target: Run, tmp_path: Path) -> None:
    streams = {"streams": {"*": {"kind": "users"}}, "api_url": "sandbox", "delivery": "batch"}
    run_target(lines("customers", "first"), **streams)
    run_target(lines("leads", "second"), **streams)
    printed = summary(tmp_path, str(tmp_path / "output"))
    assert "for example second" in printed
    assert table(printed).keys() == {"customers", "leads"}


@pytest.mark.parametrize("delivery", ["batch", "single"])
def test_an_event_of_the_run_is_shown(run_target: Run, tmp_path: Path, delivery: str) -> None:
    run_target([EVENTS, event(1, amount=5, user={"uid": "ü/1"})], api_url="sandbox", delivery=delivery)
    printed = summary(tmp_path, str(tmp_path / "output"))
    assert "an event of ü/1: Ordered, 2026-01-01T00:00:01Z" in printed
    assert re.search(r'properties: \{"amount": 5(\.0)?\}', printed)


def test_an_event_of_an_earlier_run_is_not_shown(run_target: Run, tmp_path: Path) -> None:
    run_target([EVENTS, event(1)], api_url="sandbox")
    run_target([USERS, user(1), EVENTS], api_url="sandbox")
    printed = summary(tmp_path, str(tmp_path / "output"))
    assert table(printed)["events"] == ["events", "0", "0", "0", "0", "0", "0"]
    assert "an event" not in printed


def test_nothing_loaded_yet(tmp_path: Path) -> None:
    assert "no run report in output/target-fullstory" in summary(tmp_path, code=1)


def test_meltano_tells_where_the_reports_are(run_target: Run, tmp_path: Path, monkeypatch: Any) -> None:
    """A project whose loader has an `output_dir` of its own."""
    run_target(lines("users", "u1"), api_url="sandbox", output_dir=str(tmp_path / "elsewhere"))
    settings = "settings: [{name: output_dir}], config: {output_dir: elsewhere}"
    loader = f"{{name: target-fullstory, namespace: t, {settings}}}"
    text = f"project_id: p\nsend_anonymous_usage_stats: false\nplugins:\n  loaders:\n  - {loader}\n"
    (tmp_path / "meltano.yml").write_text(text)
    for name in [name for name in os.environ if name.startswith("TARGET_FULLSTORY")]:
        monkeypatch.delenv(name)
    printed = summary(tmp_path)
    assert table(printed).keys() == {"users"}
    assert "elsewhere/run-" in printed
    assert "meltano state get" in printed
