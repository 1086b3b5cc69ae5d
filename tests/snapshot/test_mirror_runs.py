"""`sync: mirror` through the executable: users whom a complete read no longer brings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, state, user

Run = Callable[..., Outcome]
MARK = {"vanished": {"mark": {"active": False, "left_on": "2026-02-01"}}}
DELETE = {"vanished": "delete"}
both = pytest.mark.parametrize("vanished", [MARK, DELETE], ids=["mark", "delete"])


def mirror(**more: Any) -> dict[str, Any]:
    return {"users": {"kind": "users", "sync": "mirror", **more}}


def versioned(line: str, version: int) -> str:
    return json.dumps(json.loads(line) | {"version": version})


def activate(version: int, stream: str = "users") -> str:
    return json.dumps({"type": "ACTIVATE_VERSION", "stream": stream, "version": version})


def full(numbers: Iterable[int], version: int = 1, **columns: Any) -> list[str]:
    """A complete read of so many users."""
    rows = (versioned(user(number, **columns), version) for number in numbers)
    return [USERS, *rows, activate(version), state(read=version)]


def uids(api: SandboxApi) -> dict[str, Any]:
    found: dict[str, Any] = {}
    token: dict[str, str] = {}
    while True:
        page = api.get("/v2/users", **token)
        found |= {one["uid"]: one["properties"] for one in page["results"]}
        if not page.get("next_page_token"):
            return found
        token = {"page_token": page["next_page_token"]}


def figures(done: Outcome, stream: str = "users:vanished") -> tuple[int, int, int] | None:
    found = done.block["streams"].get(stream)
    if found is None:
        return None
    ends = ("delivered", "rejected", "merged", "ignored", "unchanged")
    assert found["received"] == sum(found[end] for end in ends), found
    return found["received"], found["delivered"], found["rejected"]


@pytest.fixture
def load(run_target: Run, sandbox: Sandbox) -> Run:
    def run(lines: list[Any], vanished: dict[str, Any] | None = None, **config: Any) -> Outcome:
        settings = {
            "api_url": sandbox.url,
            "streams": mirror(**(vanished or MARK)),
            "max_vanished_percent": None,
        }
        return run_target(lines, **{**settings, **config})

    return run


@both
@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_exactly_those_who_vanished_after_all_else(
    load: Run, api: SandboxApi, vanished: dict[str, Any], delivery: str
) -> None:
    done = load(full(range(60)), vanished, delivery=delivery)
    assert done.code == 0, done.stderr
    assert figures(done) is None
    # Some unchanged, some changed, one new; 5, 15 and 59 are gone.
    kept = [number for number in range(61) if number not in {5, 15, 59}]
    rows = [versioned(user(number, seats=2 if number % 10 == 0 else None), 2) for number in kept]
    done = load([USERS, *rows, activate(2), state(read=2)], vanished, delivery=delivery)
    assert done.code == 0, done.stderr
    assert figures(done) == (3, 3, 0)
    assert figures(done, "users") == (58, 7, 0)
    kind = "users" if vanished is MARK else "user_deletions"
    assert done.block["streams"]["users:vanished"]["kind"] == kind
    gone = {"u5", "u15", "u59"}
    there = uids(api)
    if vanished is MARK:
        assert {uid for uid, found in there.items() if found.get("active") is False} == gone
        assert api.user("u5")["schema"]["properties"]["left_on"] == "str"
    else:
        assert there.keys() == {f"u{number}" for number in kept}
    sent = [one["stream"] for one in done.block["responses"]]
    assert sent == sorted(sent), "they come last"
    assert (sent[0], sent[-1]) == ("users", "users:vanished")
    finished = [one["finished"] for one in done.block["jobs"] if one["stream"] == "users"]
    assert all(one["created"] >= max(finished) for one in done.block["jobs"] if one["stream"] != "users")
    # They are not known any more: nothing is left to be done.
    done = load(full(kept, 3, seats=None), vanished, delivery=delivery)
    assert done.code == 0
    assert figures(done) is None


@both
def test_one_who_comes_back_is_sent_again(load: Run, api: SandboxApi, vanished: dict[str, Any]) -> None:
    load(full(range(10), 1, email="a@example.com"), vanished)
    load(full(range(9), 2, email="a@example.com"), vanished)
    done = load(full(range(10), 3, email="a@example.com"), vanished)
    assert figures(done, "users") == (10, 1, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(10)}


def ends_early(lines: list[str]) -> list[str]:
    """What a tap that is killed halfway through has sent."""
    return lines[: len(lines) // 2]


@both
@pytest.mark.parametrize("full_table", [False, True])
def test_half_a_table_read(load: Run, api: SandboxApi, vanished: dict[str, Any], full_table: bool) -> None:
    spec = vanished | {"full_table": full_table}
    load(full(range(40)), spec)
    before = uids(api)
    done = load(ends_early(full(range(40), 2)), spec)
    assert done.code == 0, done.stderr
    assert "nobody is marked or deleted as vanished: the tap sent n" in done.stderr
    # The last line torn, as by a kill.
    torn = "\n".join(ends_early(full(range(40), 3))).encode()[:-9]
    assert load(torn, spec).code == 1
    assert uids(api) == before
