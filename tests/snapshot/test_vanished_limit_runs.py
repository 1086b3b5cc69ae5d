"""Loads whose users vanish beyond `max_vanished_percent`, and the plan that lets them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, record, schema, state, user
from tests.running import command
from tests.snapshot.test_change_limit_runs import approve, plan_id

pytestmark = pytest.mark.nights

Config = dict[str, Any]
Run = Callable[..., Outcome]
MARK = {"mark": {"active": False}}


@pytest.fixture
def night(config: Config, sandbox: Sandbox) -> Config:
    """Settings of two mirrors."""
    mirror = {"kind": "users", "sync": "mirror", "full_table": True, "vanished": MARK}
    streams = {"users": mirror, "staff": mirror | {"vanished": "delete", "fields": {"uid": "uid"}}}
    return config | {"api_url": sandbox.url, "streams": streams, "batch_threshold": 0}


def full(users: Iterable[int], staff: Iterable[int] = (), **columns: Any) -> list[str]:
    head = [USERS, schema("staff", {"uid": "string"}, ["uid"])]
    members = [record("staff", uid=f"s{number}") for number in staff]
    return [*head, *(user(number, **columns) for number in users), *members, state(read=1)]


def marked(api: SandboxApi) -> set[str]:
    found: set[str] = set()
    token: dict[str, str] = {}
    while True:
        page = api.get("/v2/users", **token)
        found |= {one["uid"] for one in page["results"] if one["properties"].get("active") is False}
        if not page.get("next_page_token"):
            return found
        token = {"page_token": page["next_page_token"]}


def told_by(done: Outcome) -> str:
    """The plan id in the message that ended a load."""
    (error,) = done.error_lines
    return error.partition("--approve ")[2].partition(",")[0]


def test_too_many_vanished(tmp_path: Path, night: Config, run_target: Run, api: SandboxApi) -> None:
    assert run_target(full(range(100)), **night).code == 0
    within = [*range(90)]
    assert run_target(full(within), **night).code == 0
    assert len(marked(api)) == 10

    kept = range(60)
    before = plan_id(tmp_path, night, full(kept, seats=7))
    done = run_target(full(kept, seats=7), **night)
    assert done.code == 1
    (error,) = done.error_lines
    assert (
        "Stream 'users': 30 of 90 known users vanished, more than max_vanished_percent (10) allows" in error
    )
    assert len(marked(api)) == 10, "none is marked"
    assert api.user("u59")["properties"]["seats"] == 7, "all else is sent"
    assert done.states[-1]["bookmarks"] == {"read": 1}
    after = plan_id(tmp_path, night, full(reversed(kept), seats=8))
    assert told_by(done) == before == after

    others = approve(tmp_path, night, full(range(59), seats=7), before)
    assert others.code == 1
    assert "not those of the plan" in others.error_lines[0]
    assert len(marked(api)) == 10
    done = approve(tmp_path, night, full(kept, seats=9), before)
    assert done.code == 0, done.stderr
    assert marked(api) == {f"u{number}" for number in range(60, 100)}
    # Nobody is left to vanish: the same again does nothing.
    assert approve(tmp_path, night, full(kept, seats=9), before).code == 0


def test_two_mirrors_at_once(tmp_path: Path, night: Config, run_target: Run, api: SandboxApi) -> None:
    assert run_target(full(range(40), range(30)), **night).code == 0
    lines = full(range(20), range(10))
    done = run_target(lines, **night)
    assert done.code == 1
    (error,) = done.error_lines
    assert "'users': 20 of 40" in error
    assert "'staff': 20 of 30" in error
    told = plan_id(tmp_path, night, lines)
    assert told_by(done) == told
    assert api.get("/v2/users", uid="s29")["results"]
    done = approve(tmp_path, night, lines, told)
    assert done.code == 0, done.stderr
    assert marked(api) == {f"u{number}" for number in range(20, 40)}
    assert not api.get("/v2/users", uid="s29")["results"]
    assert api.get("/v2/users", uid="s9")["results"]


def test_the_plan_of_a_mirror(tmp_path: Path, night: Config, run_target: Run, api: SandboxApi) -> None:
    assert run_target(full(range(100), range(40)), **night).code == 0
    lines = full(range(95), range(30), seats=1)
    requests = len(api.requests())
    text = "".join(f"{line}\n" for line in lines)
    table = command(tmp_path, night, "plan", text=text)
    assert table.code == 0, table.stderr
    assert (
        "Stream staff: 10 of 40 known users vanished, more than max_vanished_percent (10) allows."
        in table.stdout
    )
    assert f"--approve {plan_id(tmp_path, night, lines)}" in table.stdout
    done = command(tmp_path, night, "plan", "--format", "json", text=text)
    plan = json.loads(done.stdout)
    assert {one["path"] for one in api.requests()[requests:]} == {"/me"}
    (beyond,) = plan["beyond"]
    assert beyond == {
        "stream": "staff",
        "setting": "max_vanished_percent",
        "percent": 10,
        "known": 40,
        "vanished": 10,
    }
    assert [plan["streams"][name]["vanished"] for name in ("users", "staff")] == [5, 10]
    done_load = approve(tmp_path, night, lines, plan["plan_id"])
    assert done_load.code == 0, done_load.stderr
    for name, counts in done_load.block["streams"].items():
        told = plan["streams"][name]
        assert (told["received"], told["sent"]) == (counts["received"], counts["delivered"]), name
    assert plan["jobs"] == len(done_load.block["jobs"])


def test_half_a_read_has_no_vanished(tmp_path: Path, night: Config, run_target: Run) -> None:
    assert run_target(full(range(40)), **night).code == 0
    head, *half = full(range(20))[:-1]
    done = command(tmp_path, night, "plan", "--format", "json", text="\n".join([head, *half]) + "\n")
    plan = json.loads(done.stdout)
    assert plan["streams"]["users"]["vanished"] is None
    assert plan["plan_id"] is None
