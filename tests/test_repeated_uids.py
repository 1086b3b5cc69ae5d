"""A user who has a large share of a stream's records: it may be a placeholder, so somebody has to look."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.repeated_uids import RepeatedUids
from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, USERS, Outcome, event, record, user
from tests.running import command

Config = dict[str, Any]
SECRET = "placeholder-4711"
SLOW = {"users": {"added": "'x'"}, "events": {"added": "'x'"}}


def people(placeholders: int, others: int) -> list[str]:
    """Users, the placeholders among the others."""
    lines = [record("users", uid=SECRET, seats=n) for n in range(placeholders)] + list(
        map(user, range(others))
    )
    random.Random(1).shuffle(lines)
    return [USERS, *lines]


def orders(placeholders: int, others: int) -> list[str]:
    """Events of the placeholder, and of others, five by each."""
    lines = [event(n, user={"uid": SECRET}) for n in range(placeholders)]
    lines += [event(n, user={"uid": f"u{n // 5}"}) for n in range(placeholders, placeholders + others)]
    random.Random(1).shuffle(lines)
    return [EVENTS, *lines]


def warnings(done: Outcome) -> list[str]:
    found = [line for line in done.stderr.splitlines() if "one and the same uid" in line]
    assert SECRET not in done.stderr
    return found


@pytest.mark.parametrize("settings", [{}, {"stream_maps": SLOW}], ids=["fast", "slow"])
@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (people(30, 170), "Stream users: about 15% of its 200 records"),
        (people(40, 50), None),  # too few to tell
        (people(20, 200), None),
        (orders(400, 800), "Stream events: about 33% of its 1,200 records"),
        (orders(500, 300), None),  # too few to tell
        (orders(200, 1000), None),  # somebody who buys a lot
    ],
    ids=["users", "few users", "users who repeat", "events", "few events", "an active user"],
)
def test_a_load_warns_once(
    run_target: Callable[..., Outcome], sandbox: Sandbox, lines: list[str], told: str | None, settings: Config
) -> None:
    done = run_target(lines, api_url=sandbox.url, delivery="batch", **settings)
    assert done.code == 0, done.stderr
    found = warnings(done)
    assert len(found) == (told is not None)
    assert all(f"| WARNING  | target-fullstory               | {told} " in line for line in found)
    assert SECRET not in json.dumps(done.report)
    assert bool(done.report["repeated_uids"]) is bool(told)


def test_preview_warns(tmp_path: Path, config: Config) -> None:
    text = "\n".join(people(30, 170))
    done = command(tmp_path, config, "preview", "--records", "0", text=text)
    assert done.code == 0, done.stderr
    assert "\n  warning: about 15% of its 200 records have one and the same uid." in done.stdout
    done = command(tmp_path, config, "preview", "--records", "0", text="\n".join(people(0, 200)))
    assert "warning" not in done.stdout


def findings(done: Outcome) -> dict[str, str]:
    found = json.loads(done.stdout)["findings"]
    return {one["subject"]: one["told"] for one in found if one["verdict"] == "warning"}


def test_check_warns_of_the_last_run(
    run_target: Callable[..., Outcome], sandbox: Sandbox, tmp_path: Path, config: Config
) -> None:
    config["api_url"] = sandbox.url
    done = command(tmp_path, config, "check", "--format", "json")
    assert (done.code, findings(done)) == (0, {})
    run_target(people(30, 170), api_url=sandbox.url)
    done = command(tmp_path, config, "check", "--format", "json")
    assert done.code == 0, "a warning is no failure"
    ((subject, told),) = findings(done).items()
    assert subject == "stream users (last run)"
    assert told.startswith("about 15% of its 200 records")

    # Neither a run of other streams nor a small one, such as a replay, has anything to say of it.
    run_target(orders(400, 800), api_url=sandbox.url)
    run_target(people(0, 3), api_url=sandbox.url)
    done = command(tmp_path, config, "check", "--format", "json")
    assert findings(done).keys() == {"stream users (last run)", "stream events (last run)"}
    # A large one without a placeholder has; an unreadable report has not.
    run_target(people(0, 200), api_url=sandbox.url)
    (tmp_path / "output" / "run-9.json").write_text("{")
    done = command(tmp_path, config, "check", "--format", "json")
    assert findings(done).keys() == {"stream events (last run)"}


def test_check_warns_of_constants(sandbox: Sandbox, tmp_path: Path, config: Config) -> None:
    streams = {
        "a": {"kind": "users", "fields": {"uid": {"const": "unknown"}}},
        "b": {"kind": "events", "fields": {"name": "n", "user.uid": {"const": 0}}},
        "c": {"kind": "events", "json": {"name": "x", "user": {"uid": "unknown"}}},
        "d": {"kind": "users", "fields": {"uid": {"template": "user_{id}"}}},
        "e": {"kind": "events", "json": {"name": "x", "user": {"uid": ["var", "id"]}}},
    }
    done = command(
        tmp_path, config | {"api_url": sandbox.url, "streams": streams}, "check", "--format", "json"
    )
    assert done.code == 0, done.stderr
    keys = {"stream a": "fields.uid", "stream b": "fields.user.uid", "stream c": "json.user.uid"}
    told = findings(done)
    assert told.keys() == keys.keys()
    for subject, key in keys.items():
        assert told[subject].startswith(f"{key} is a constant")


def test_a_load_warns_of_constants(run_target: Callable[..., Outcome], sandbox: Sandbox) -> None:
    """However few records there are."""
    unknown = {"kind": "users", "fields": {"uid": {"const": "unknown"}}}
    done = run_target([USERS, user(1)], api_url=sandbox.url, streams={"users": unknown})
    assert done.code == 0
    told = "Stream users: fields.uid is a constant: all records of the stream go to one and the same user"
    assert told in done.stderr


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_many_records_are_counted_in_little_memory(chunk: int) -> None:
    """A tenth and a little more is found among any number of others, wherever it stands."""
    numbers = random.Random(2)
    keys = [SECRET if numbers.random() < 0.12 else f"u{n}" for n in range(60_000)]
    uids = RepeatedUids()
    for at in range(0, len(keys), chunk):
        part = keys[at : at + chunk]
        uids.add("users", "users", [None] * len(part), part)
        assert len(uids._streams["users"]._counts) < 2_000 + 1_001
    (found,) = uids.found().values()
    assert found.records == 60_000
    assert 0.1 < found.share < 0.14
