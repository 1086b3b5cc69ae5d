"""`sync: mirror` through the executable: users whom a complete read no longer brings."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import USERS, Outcome, SandboxApi, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

pytestmark = pytest.mark.nights

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
    told = "marked" if vanished is MARK else "deleted"
    assert f"Stream users: 3 users vanished, to be {told}" in done.stderr
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


@pytest.mark.parametrize("hundredth", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_one_in_a_hundred_and_one_in_five(hundredth: int, load: Run, api: SandboxApi) -> None:
    """Of a thousand users in `make test`, of ten thousand in `make soak`."""
    known, kept, few = 100 * hundredth, 99 * hundredth, 20 * hundredth
    limited = {"vanished": DELETE, "max_vanished_percent": 10, "delivery": "batch"}
    load(full(range(known)), **limited)
    done = load(full(range(hundredth, known), 2), **limited)
    assert done.code == 0, done.stderr
    assert figures(done) == (hundredth, hundredth, 0)
    assert figures(done, "users") == (kept, 0, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(hundredth, known)}
    # One is new and one has changed: these are sent, and nobody is deleted.
    rows = [
        *full(range(few + hundredth, known), 3)[:-2],
        versioned(user(known), 3),
        versioned(user(few + hundredth, seats=1), 3),
    ]
    done = load([*rows, activate(3), state(read=3)], **limited)
    assert done.code == 1
    (error,) = done.error_lines
    assert f"Stream 'users': {few} of {kept} known users vanished" in error
    assert "vanished, more than max_vanished_percent (10)" in error
    assert figures(done) is None
    assert done.states[-1]["bookmarks"] == {"read": 3}
    there = uids(api)
    assert len(there) == kept + 1
    assert there[f"u{few + hundredth}"] == {"seats": 1}
    # The same input, where that many may vanish.
    done = load([*rows, activate(3), state(read=3)], **{**limited, "max_vanished_percent": None})
    assert done.code == 0, done.stderr
    assert figures(done) == (few, few, 0)
    assert len(uids(api)) == kept - few + 1


def test_activate_version_before_the_rows(load: Run, api: SandboxApi) -> None:
    load(full(range(9)))
    before = uids(api)
    some = [versioned(user(number), 2) for number in range(5)]
    done = load([USERS, activate(2), *some, state(read=2)])
    assert done.code == 0
    assert uids(api) == before
    assert "no ACTIVATE_VERSION after its last record. If it reads the whole table each time" in done.stderr
    # Nothing changed, so the tap sends no row at all.
    assert figures(load([USERS, activate(2), state(read=2)])) is None
    done = load([USERS, activate(3), *full(range(8), 3)])
    assert figures(done) == (1, 1, 0)


def test_full_table_without_versions(load: Run, api: SandboxApi) -> None:
    spec = DELETE | {"full_table": True}
    load([USERS, *map(user, range(9)), state(read=1)], spec)
    # A tap that was killed between two lines has sent no STATE behind the last one.
    done = load([USERS, user(1), state(read=2), user(2)], spec)
    assert "sent neither ACTIVATE_VERSION nor STATE after its last record" in done.stderr
    done = load([USERS, *map(user, range(8)), state(read=2)], DELETE)
    assert figures(done) is None, "nobody said that this was all"
    done = load([USERS, *map(user, range(8)), state(read=2)], spec)
    assert figures(done) == (1, 1, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(8)}


def test_a_read_that_is_resumed(load: Run, api: SandboxApi) -> None:
    load(full(range(40)))
    before = uids(api)
    load([USERS, *(versioned(user(number), 2) for number in range(20))])
    rest = [USERS, *(versioned(user(number), 2) for number in range(20, 39)), activate(2), state(read=2)]
    done = load(rest)
    assert done.code == 0
    assert (
        "nobody is marked or deleted as vanished: the tap resumed a read that an earlier run" in done.stderr
    )
    assert uids(api) == before
    done = load(full(range(39), 3))
    assert figures(done) == (1, 1, 0)


def test_a_record_that_is_rejected_may_be_anybodys(load: Run, api: SandboxApi) -> None:
    load(full(range(40)))
    before = uids(api)
    for bad in (user(38, seats="x"), '{"type":"RECORD","stream":"users","record":{"uid":null}}'):
        lines = [USERS, *(versioned(user(number), 2) for number in range(38)), versioned(bad, 2)]
        done = load([*lines, activate(2), state(read=2)])
        assert done.code == 1
        assert "vanished: 1 record rejected, and whose they are is not known" in done.stderr
    assert uids(api) == before


def test_a_run_that_is_stopped_or_fails(load: Run, api: SandboxApi) -> None:
    load(full(range(40)))
    before = uids(api)
    done = load([*full(range(20), 2), "no message"])
    assert done.code == 1
    assert "vanished: the input did not end in order" in done.stderr
    assert uids(api) == before
    with ScriptedServer(lambda *_: Reply(401)) as server:
        done = load(full(range(20), 3, seats=1), api_url=server.url)
    assert done.code == 1
    assert "vanished: the run failed" in done.stderr


def test_a_mark_that_fails_is_tried_again_the_next_night(load: Run) -> None:
    refuses = True

    def answer(request: Request, _: int) -> Reply:
        if refuses and "active" in request.json.get("properties", {}):
            return Reply(400, {"code": "invalid", "message": "no"})
        return Reply(200, {"id": "1"})

    with ScriptedServer(answer) as server:
        config = {"api_url": server.url, "delivery": "single"}
        load(full(range(9)), **config)
        for night in (2, 3):
            done = load(full(range(8), night), **config)
            assert done.code == 1
            assert figures(done) == (1, 0, 1)
            assert done.rejects[-1]["stream"] == "users:vanished"
        refuses = False
        done = load(full(range(8), 4), **config)
        assert done.code == 0
        assert figures(done) == (1, 1, 0)
        marked = [one.json for one in server.requests if "active" in one.json.get("properties", {})]
        assert marked == [{"uid": "u8", "properties": {"active": False, "left_on": "2026-02-01"}}] * 3
        assert figures(load(full(range(8), 5), **config)) is None


def test_one_whose_mark_failed_and_who_comes_back_is_sent(load: Run) -> None:
    def answer(request: Request, _: int) -> Reply:
        refused = "active" in request.json.get("properties", {})
        return Reply(400, {"code": "invalid", "message": "no"}) if refused else Reply(200, {"id": "1"})

    with ScriptedServer(answer) as server:
        config = {"api_url": server.url, "delivery": "single"}
        load(full(range(3)), **config)
        load(full(range(2), 2), **config)
        # The mark may have been carried out all the same.
        assert figures(load(full(range(3), 3), **config), "users") == (3, 1, 0)


def test_one_who_is_deleted_already_is_done(load: Run, api: SandboxApi) -> None:
    load(full(range(9)), DELETE)
    (gone,) = api.get("/v2/users", uid="u8")["results"]
    api.delete(f"/v2/users/{gone['id']}")
    done = load(full(range(8), 2), DELETE)
    assert done.code == 0, done.stderr
    assert figures(done) == (1, 1, 0)
    assert figures(load(full(range(8), 3), DELETE)) is None


def test_a_key_that_may_not_delete_is_refused_before_anything_is_sent(run_target: Run) -> None:
    with Sandbox(SandboxOptions(role="ADMIN")) as sandbox:
        streams = mirror(**DELETE) | {"others": {"kind": "users"}}
        done = run_target(full(range(3)), api_url=sandbox.url, streams=streams)
        assert done.code == 1
        (error,) = done.error_lines
        assert "Stream 'users' maps to user_deletions, which takes a key of the role Architect" in error
        assert uids(SandboxApi(sandbox.url)) == {}
        done = run_target(full(range(3)), api_url=sandbox.url, streams=mirror(**MARK))
        assert done.code == 0


def test_a_run_that_is_stopped_by_a_signal(
    load: Run, api: SandboxApi, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    load(full(range(9)))
    before = uids(api)
    settings = config | {"api_url": sandbox.url, "streams": mirror(**MARK), "max_vanished_percent": None}
    with Live(settings, tmp_path) as live:
        live.feed(*full(range(5), 2))
        live.wait_until_read()
        live.process.send_signal(signal.SIGTERM)
        assert live.end() == 0
    assert uids(api) == before


def test_jobs_that_the_run_does_not_wait_for_otherwise(load: Run, api: SandboxApi) -> None:
    config = {"delivery": "batch", "wait_for_jobs": False}
    load(full(range(9)), DELETE, **config)
    done = load(full(range(8), 2, seats=1), DELETE, **config)
    assert done.code == 0, done.stderr
    assert figures(done) == (1, 1, 0)
    assert uids(api) == {f"u{number}": {"seats": 1} for number in range(8)}
