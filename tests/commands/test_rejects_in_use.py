"""A rejects file that a load still writes, or that is being replayed, is left to that alone."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXECUTABLE, USERS, state, user
from tests.reliability.live import Live
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Config = dict[str, Any]
SETTINGS: Config = {"delivery": "single", "max_rejected_records": None, "max_rejected_percent": None}


class Server:
    """Refuses what loads send, and takes what replays send, as long as `go_on` is set."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.replaying = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, request: Request, number: int) -> Reply:
        if request.headers["integration-source"] != "replay":
            return Reply(400, {"code": "invalid", "message": "No"})
        self.replaying.set()
        self.go_on.wait(20)
        self.taken.append(request.json["uid"])
        return Reply(200, {"id": "1"})


def entries(*uids: str) -> str:
    head = {"stream": "users", "kind": "users", "stage": "api", "code": "c", "message": "m"}
    return "".join(json.dumps(head | {"request": {"uid": uid}}) + "\n" for uid in uids)


def refused_in(path: Path) -> list[str]:
    return [json.loads(line)["request"]["uid"] for line in path.read_text().splitlines()]


def begin_replay(config: Config, directory: Path, path: Path) -> subprocess.Popen[bytes]:
    (directory / "replay.json").write_text(json.dumps(config))
    command = [*EXECUTABLE, "replay", "--config", str(directory / "replay.json"), str(path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def test_a_file_that_a_load_writes_is_neither_replayed_nor_discarded(config: Config, tmp_path: Path) -> None:
    """What the load writes behind the replay's last line would be renamed with the rest."""
    server = Server()
    with ScriptedServer(server) as running:
        config |= SETTINGS | {"api_url": running.url}
        replay = config | {"integration_source": "replay"}
        with Live(config | {"batch_wait_limit_seconds": 0.2}, tmp_path) as live:
            live.feed(USERS, user(1), state(at=1))
            live.wait_for(lambda: live.states)
            (path,) = (tmp_path / "output").glob("rejects-*.jsonl")
            check_refused(
                command(tmp_path, replay, "replay", str(path)), str(path), "in use", "keeps its name"
            )
            discarding = command(tmp_path, config, "rejects", "--discard", str(path))
            check_refused(discarding, str(path), "in use")
            # To look at it is no harm.
            assert json.loads(command(tmp_path, config, "rejects", "--format", "json").stdout)[
                "unresolved"
            ] == {"count": 1, "files": [str(path)]}
            live.feed(user(2), state(at=2))
            live.close_input()
            assert live.end() == 0, live.story
        assert server.taken == []
        assert refused_in(path) == ["u1", "u2"]
        done = command(tmp_path, replay, "replay", str(path))
        assert done.code == 0, done.stderr
        assert sorted(server.taken) == ["u1", "u2"]  # two users: they go side by side
        assert not path.exists()


def test_one_replay_at_a_time(config: Config, tmp_path: Path) -> None:
    server = Server()
    server.go_on.clear()
    path = tmp_path / "output" / "rejects-r.jsonl"
    path.parent.mkdir()
    path.write_text(entries("u1"))
    with ScriptedServer(server) as running:
        config |= SETTINGS | {"api_url": running.url, "integration_source": "replay"}
        first = begin_replay(config, tmp_path, path)
        assert server.replaying.wait(20)
        check_refused(command(tmp_path, config, "replay", str(path)), "in use")
        check_refused(command(tmp_path, config, "rejects", "--discard", str(path)), "in use")
        server.go_on.set()
        told = first.communicate(timeout=30)[1].decode()
    assert first.returncode == 0, told
    assert server.taken == ["u1"]
    assert path.with_name(f"{path.name}.replayed").exists()


@pytest.mark.parametrize("how", ["appended", "replaced"])
def test_a_file_that_changes_during_its_replay_keeps_its_name(
    how: str, config: Config, tmp_path: Path
) -> None:
    """By somebody who takes no lock, as a load where there are none."""
    server = Server()
    server.go_on.clear()
    path = tmp_path / "output" / "rejects-r.jsonl"
    path.parent.mkdir()
    path.write_text(entries("u1"))
    with ScriptedServer(server) as running:
        config |= SETTINGS | {"api_url": running.url, "integration_source": "replay"}
        replaying = begin_replay(config, tmp_path, path)
        assert server.replaying.wait(20)
        if how == "appended":
            with path.open("a") as file:
                file.write(entries("u2"))
        else:
            path.unlink()
            path.write_text(entries("u2"))
        server.go_on.set()
        told = replaying.communicate(timeout=30)[1].decode()
    assert server.taken == ["u1"]
    assert refused_in(path)[-1] == "u2"
    assert "has changed during the replay and keeps its name" in told


def test_a_file_that_is_named_twice_is_sent_once(config: Config, tmp_path: Path) -> None:
    server = Server()
    path = tmp_path / "output" / "rejects-r.jsonl"
    path.parent.mkdir()
    path.write_text(entries("u1"))
    with ScriptedServer(server) as running:
        config |= SETTINGS | {"api_url": running.url, "integration_source": "replay"}
        done = command(tmp_path, config, "replay", str(path), "output/../output/rejects-r.jsonl")
    assert done.code == 0, done.stderr
    assert server.taken == ["u1"]


def test_more_files_than_may_stay_open(config: Config, tmp_path: Path) -> None:
    """They are refused before anything is sent; given up they may be all at a time."""
    directory = tmp_path / "output"
    directory.mkdir()
    paths = [directory / f"rejects-{number:04}.jsonl" for number in range(1100)]
    for path in paths:
        path.write_text(entries("u1"))
    server = Server()
    with ScriptedServer(server) as running:
        config |= SETTINGS | {"api_url": running.url, "integration_source": "replay"}
        check_refused(command(tmp_path, config, "replay", *map(str, paths)), "500", "Nothing was sent")
        done = command(tmp_path, config, "rejects", "--discard", *map(str, paths))
    assert done.code == 0, done.stderr
    assert server.taken == []
    assert len(list(directory.glob("*.discarded"))) == 1100
