"""Loads whose users change beyond `max_changed_percent`, and the plan that lets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests import executable
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, state, user
from tests.running import check_refused, command

pytestmark = pytest.mark.nights

Config = dict[str, Any]
Run = Callable[..., Outcome]


@pytest.fixture
def night(config: Config, sandbox: Sandbox) -> Config:
    """Settings of a stream of users that are sent when they change, a quarter of them at most."""
    config |= {"api_url": sandbox.url, "streams": {"users": {"kind": "users", "sync": "changed"}}}
    return config | {"max_changed_percent": 25, "delivery": "single"}


def plan_id(directory: Path, config: Config, lines: list[str]) -> str:
    done = command(directory, config, "plan", "--format", "json", text="".join(f"{one}\n" for one in lines))
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)["plan_id"]
    assert isinstance(told, str)
    return told


def approve(directory: Path, config: Config, lines: list[str], plan: str) -> Outcome:
    """Load with `--approve`."""
    text = "".join(f"{one}\n" for one in lines)
    return command_line(directory, config, text, "--approve", plan)


def command_line(directory: Path, config: Config, text: str, *options: str) -> Outcome:
    path = directory / "approved.json"
    path.write_text(json.dumps(config))
    done = executable.fork(["--config", str(path), *options], text.encode(), directory=directory)
    return Outcome(done.returncode, done.stdout, done.stderr, Path(config["output_dir"]))


def sent(api: SandboxApi) -> int:
    return sum(one["method"] == "POST" for one in api.requests())


def seats(api: SandboxApi) -> dict[str, int]:
    return {
        one["uid"]: api.user(one["uid"])["properties"]["seats"] for one in api.get("/v2/users")["results"]
    }


def test_too_many_changed(tmp_path: Path, night: Config, run_target: Run, api: SandboxApi) -> None:
    first = run_target([USERS, *(user(n, seats=1) for n in range(20)), state(night=1)], **night)
    assert first.code == 0, first.stderr
    within = [USERS, *(user(n, seats=2) for n in range(5)), state(night=2)]
    assert run_target(within, **night).code == 0

    news = [user(n, seats=1) for n in range(100, 110)]
    lines = [USERS, *news, *(user(n, seats=3) for n in range(3)), state(night=3)]
    lines += [*(user(n, seats=3) for n in range(3, 10)), state(night=4), EVENTS, event(1), state(night=5)]
    made = sent(api)
    done = run_target(lines, **night)
    assert done.code == 1
    (error,) = done.error_lines
    assert "Stream 'users'" in error
    assert "known users changed, more than max_changed_percent (25) allows" in error
    assert "--approve" in error
    assert all(one["bookmarks"]["night"] < 3 for one in done.states)
    assert sent(api) == made, "nothing of the stream is sent, nor what comes behind"

    told = plan_id(tmp_path, night, lines)
    for other in ("v" + 18 * "0", told.replace(".10", ".9"), told[:-5] + "00" + told[-3:]):
        refused = approve(tmp_path, night, lines, other)
        assert refused.code == 1, refused.stderr
        assert seats(api).get("u9", 1) == 1
    done = approve(tmp_path, night, lines, told)
    assert done.code == 0, done.stderr
    assert done.states[-1]["bookmarks"] == {"night": 5}
    assert [seats(api)[f"u{n}"] for n in range(11)] == [3] * 10 + [1]
    (event_there,) = api.events()
    assert event_there["name"] == "Ordered"


def test_what_is_no_plan_id(tmp_path: Path, night: Config) -> None:
    check_refused(command_line(tmp_path, night, f"{USERS}\n", "--approve", "yes"), "is not a plan id")


def test_an_option_before_a_command(tmp_path: Path, night: Config) -> None:
    done = command_line(tmp_path, night, "", "--approve", "v" + 18 * "0", "jobs")
    assert done.code == 1
    assert "Options of the command come after its name" in done.stderr
