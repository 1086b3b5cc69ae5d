"""The command `snapshot`: what is known of streams that send only what changed, and forgetting it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, EXECUTABLE, KEY, USERS, Outcome, SandboxApi, event, state, user
from tests.ecosystem.example_run import messages
from tests.ecosystem.pages import BLOCKS
from tests.ecosystem.project import ROOT, loader
from tests.running import check_refused, command
from tests.scripted import Reply, ScriptedServer
from tests.snapshot.bucket import URL, bucket

Config = dict[str, Any]
Run = Callable[..., Outcome]
CHANGED = {
    "users": {"kind": "users", "sync": "changed"},
    "events": {"kind": "events", "sync": "changed"},
    "people": {"kind": "users"},
}
LINES = [USERS, *map(user, range(5)), EVENTS, *map(event, range(3)), state(a=1)]


@pytest.fixture
def loaded(config: Config, run_target: Run, sandbox: Sandbox) -> Config:
    """The configuration of a load of five users and three events."""
    config |= {"api_url": sandbox.url, "streams": CHANGED}
    done = run_target(LINES)
    assert done.code == 0, done.stderr
    return config


def counts(run_target: Run) -> dict[str, tuple[int, int]]:
    """What is delivered, and what is unchanged, when the same is loaded again."""
    done = run_target(LINES)
    assert done.code == 0, done.stderr
    streams = done.block["streams"]
    return {name: (one["delivered"], one["unchanged"]) for name, one in streams.items()}


def known(directory: Path, config: Config, *arguments: str) -> tuple[dict[str, int], Outcome]:
    """The records known by stream, as the command prints them."""
    done = command(directory, config, "snapshot", *arguments, "--format", "json")
    assert done.code == 0, done.stderr
    return {one["stream"]: one["records"] for one in json.loads(done.stdout)["streams"]}, done


def test_what_is_known(tmp_path: Path, loaded: Config) -> None:
    _, done = known(tmp_path, loaded)
    document = json.loads(done.stdout)
    assert list(document) == ["destination", "path", "bytes", "streams"]
    assert document["destination"] == {"address": loaded["api_url"], "organization": "SANDBOX"}
    (file,) = (tmp_path / "output/snapshot").glob("*.mdb")
    assert (document["path"], document["bytes"]) == (str(file), file.stat().st_size)
    events, users = document["streams"]
    now = datetime.now(timezone.utc)
    for one, kind, records in ((events, "events", 3), (users, "users", 5)):
        assert (one["stream"], one["kind"], one["records"]) == (kind, kind, records)
        for time in (one["since"], one["loaded"]):
            age = now - datetime.fromisoformat(time.replace("Z", "+00:00"))
            assert timedelta(0) <= age < timedelta(hours=1)

    done = command(tmp_path, loaded, "snapshot", "users")
    assert done.code == 0, done.stderr
    head, row = done.stdout.splitlines()
    assert head.split() == ["stream", "kind", "records", "since", "last", "load"]
    assert re.fullmatch(r"users +users +5( +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d){2} *", row)
    assert f"The snapshot {file} has" in done.stderr
    assert "and knows 5 records of 1 stream" in done.stderr
    assert "u3" not in done.stdout + done.stderr


def test_a_forgotten_stream_is_sent_again(
    tmp_path: Path, loaded: Config, run_target: Run, api: SandboxApi
) -> None:
    assert counts(run_target) == {"users": (0, 5), "events": (0, 3)}
    left, done = known(tmp_path, loaded, "--forget", "users")
    assert left == {"events": 3}
    assert "Stream users is forgotten: the next load sends all of it" in done.stderr
    assert "WARNING" not in done.stderr
    assert counts(run_target) == {"users": (5, 0), "events": (0, 3)}
    assert counts(run_target) == {"users": (0, 5), "events": (0, 3)}

    left, done = known(tmp_path, loaded, "--forget", "events", "users", "events")
    assert left == {}
    assert "Stream events: events that are sent again may be in Fullstory twice" in done.stderr
    assert done.stderr.count("Stream events is forgotten") == 1
    assert command(tmp_path, loaded, "snapshot").stdout == ""
    assert counts(run_target) == {"users": (5, 0), "events": (3, 0)}
    assert len(api.events()) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--forget", "user"), "The snapshot knows no stream 'user'; did you mean 'users'?"),
        (("--forget", "users", "people"), "The snapshot knows no stream 'people'"),
        (("usr",), "no stream 'usr'; did you mean 'users'?"),
        (("--forget",), "--forget takes the streams to forget: snapshot --forget STREAM"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], told: str, tmp_path: Path, loaded: Config) -> None:
    check_refused(command(tmp_path, loaded, "snapshot", *arguments), told)
    assert known(tmp_path, loaded)[0] == {"events": 3, "users": 5}, "nothing was forgotten"


def test_before_the_first_load(tmp_path: Path, config: Config) -> None:
    """Nothing is known, and nothing is made."""
    config |= {"api_url": "sandbox", "streams": CHANGED}
    done = command(tmp_path, config, "snapshot")
    assert (done.code, done.stdout) == (0, ""), done.stderr
    listed, done = known(tmp_path, config)
    assert (listed, json.loads(done.stdout)["path"]) == ({}, None)
    check_refused(
        command(tmp_path, config, "snapshot", "--forget", "users"), "no stream 'users'; it knows none"
    )
    assert not done.output_dir.exists()


def test_a_stream_that_is_being_loaded(tmp_path: Path, loaded: Config) -> None:
    path = tmp_path / "load.json"
    path.write_text(json.dumps(loaded))
    load = subprocess.Popen(
        [*EXECUTABLE, "--config", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert load.stdin is not None
    assert load.stderr is not None
    try:
        load.stdin.write("\n".join([USERS, user(7)]) + "\n")
        load.stdin.flush()
        assert any("Stream users: fast path" in line for line in load.stderr)
        assert known(tmp_path, loaded)[0] == {"events": 3, "users": 5}, "it is shown meanwhile"
        done = command(tmp_path, loaded, "snapshot", "--forget", "events", "users")
        check_refused(done, "Stream 'users' is being loaded. Nothing was forgotten")
        assert known(tmp_path, loaded, "--forget", "events")[0] == {"users": 5}, "another stream is free"
        load.stdin.close()
        assert load.wait(60) == 0, load.stderr.read()
    finally:
        load.kill()
    assert known(tmp_path, loaded)[0] == {"users": 6}
    assert known(tmp_path, loaded, "--forget", "users")[0] == {}


def test_a_snapshot_in_a_bucket(
    tmp_path: Path, config: Config, run_target: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    config |= {"api_url": sandbox.url, "streams": CHANGED, "snapshot_path": URL}
    with bucket(monkeypatch) as store:
        listed, done = known(tmp_path, config)
        assert (listed, store.objects, done.output_dir.exists()) == ({}, {}, False), "none is begun"
        assert counts(run_target) == {"users": (5, 0), "events": (3, 0)}
        before = store.objects
        assert known(tmp_path, config)[0] == {"events": 3, "users": 5}
        assert store.objects == before, "looking changes nothing"
        assert known(tmp_path, config, "--forget", "users")[0] == {"events": 3}
        # As on another machine.
        shutil.rmtree(tmp_path / "output")
        assert known(tmp_path, config)[0] == {"events": 3}
        assert counts(run_target) == {"users": (5, 0), "events": (0, 3)}


def test_each_destination_has_its_own(tmp_path: Path, loaded: Config, run_target: Run) -> None:
    with ScriptedServer(lambda request, number: Reply(200, {"id": "1"})) as other:
        assert known(tmp_path, loaded | {"api_url": other.url})[0] == {}
        run_target([USERS, user(1)], api_url=other.url, delivery="single")
        assert known(tmp_path, loaded | {"api_url": other.url})[0] == {"users": 1}
    assert known(tmp_path, loaded)[0] == {"events": 3, "users": 5}


def test_whose_key_it_is_has_to_be_known(tmp_path: Path, loaded: Config) -> None:
    """Where the API does not tell, the key's fingerprint stands for it; where it cannot be asked, nothing."""
    with ScriptedServer(lambda request, number: Reply(404, {"code": "not_found"}), me=True) as untold:
        done = known(tmp_path, loaded | {"api_url": untold.url})[1]
        assert json.loads(done.stdout)["destination"]["organization"].startswith("key:")
    gone = command(tmp_path, loaded | {"api_url": untold.url, "retry_max_seconds": 0}, "snapshot")
    check_refused(gone, "/me")


def test_the_example_of_the_page(tmp_path: Path, config: Config, run_target: Run, sandbox: Sandbox) -> None:
    """docs/commands.md shows what is printed after the example's load, times aside."""
    (shown,) = (block for block in BLOCKS if block.document.name == "commands.md" and block.info == "text")
    streams = {
        name.lstrip("*"): mapping | {"sync": "changed"}
        for name, mapping in loader()["config"]["streams"].items()
    }
    records = {
        name: [json.loads(line) for line in (ROOT / f"examples/{name}.jsonl").read_text().splitlines()]
        for name in streams
    }
    config |= {"api_url": sandbox.url, "streams": streams}
    done = run_target([json.dumps(message) for message in messages(records)])
    assert done.code == 0, done.stderr
    printed = command(tmp_path, config, "snapshot").stdout
    assert KEY not in printed

    def without_times(text: str) -> list[str]:
        return [
            re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>", line).rstrip() for line in text.splitlines()
        ]

    assert without_times(printed) == without_times(shown.text)
