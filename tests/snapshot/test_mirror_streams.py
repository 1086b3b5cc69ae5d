"""Mirrors and what is beside them: other streams, other names, other modes, runs that are killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import lmdb
import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, record, schema, state, user
from tests.running import command
from tests.scripted import Reply, Request, ScriptedServer
from tests.snapshot.test_mirror_runs import DELETE, MARK, activate, figures, full, mirror, uids, versioned

pytestmark = pytest.mark.nights

Run = Callable[..., Outcome]


@pytest.fixture
def load(run_target: Run, sandbox: Sandbox) -> Run:
    def run(lines: list[Any], **config: Any) -> Outcome:
        settings = {"api_url": sandbox.url, "max_vanished_percent": None, "streams": mirror(**MARK)}
        return run_target([*lines, state(done=True)], **{**settings, **config})

    return run


def kept(output: Path) -> bytes:
    """All that the snapshot holds, as text to look into: names of few users are not compressed."""
    (path,) = (output / "snapshot").glob("*.mdb")
    with lmdb.open(str(path), subdir=False, lock=False, readonly=True) as found, found.begin() as transaction:
        return b"\n".join(key + b" " + value for key, value in transaction.cursor())


OTHERS = schema("others", {"uid": "string", "team": "string"}, ["uid"])


def others(numbers: range, version: int, team: str = "a") -> list[str]:
    rows = (record("others", uid=f"u{number}", team=team) for number in numbers)
    return [OTHERS, *(versioned(row, version) for row in rows), activate(version, "others")]


def test_two_streams_that_share_users(load: Run, api: SandboxApi) -> None:
    streams = mirror(**DELETE) | {"others": {"kind": "users", "sync": "changed"}}
    load([*full(range(9)), *others(range(9), 1)], streams=streams)
    done = load([*full(range(8), 2), *others(range(9), 2)], streams=streams)
    assert done.code == 0, done.stderr
    assert figures(done) == (1, 1, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(8)}
    # The other stream knows u8 still: it is sent again, and deleted no second time.
    done = load([*full(range(8), 3), *others(range(9), 3)], streams=streams)
    assert figures(done, "others") == (9, 1, 0)
    assert figures(done) is None
    assert uids(api)["u8"] == {"team": "a"}
    done = load([*full(range(8), 4), *others(range(9), 4)], streams=streams)
    assert figures(done, "others") == (9, 0, 0)


def test_two_mirrors_that_lose_the_same_user(load: Run, api: SandboxApi) -> None:
    streams = mirror(**DELETE) | {"others": {"kind": "users", "sync": "mirror", **DELETE}}
    load([*full(range(9)), *others(range(9), 1)], streams=streams)
    for night in (2, 3):
        done = load([*full(range(8), night), *others(range(8), night)], streams=streams)
        assert done.code == 0, done.stderr
    done = load([*full(range(8), 4), *others(range(8), 4)], streams=streams)
    assert figures(done) is figures(done, "others:vanished") is None
    assert uids(api).keys() == {f"u{number}" for number in range(8)}


def test_users_who_are_deleted_while_they_are_read_have_not_vanished(load: Run, api: SandboxApi) -> None:
    streams = mirror(**MARK) | {"gone": {"kind": "user_deletions"}}
    load(full(range(9)), streams=streams)
    deletion = [schema("gone", {"uid": "string"}), record("gone", uid="u3")]
    done = load([*full(range(9), 2), *deletion], streams=streams)
    assert done.code == 0, done.stderr
    assert figures(done) is None
    assert "u3" not in uids(api)


PEOPLE = schema("people", {"key": "string", "uid": "string", "n": "integer"}, ["key"])


def test_one_who_was_erased_and_is_gone_from_the_table_is_not_brought_back_by_the_mark(
    load: Run, api: SandboxApi
) -> None:
    streams = mirror(**MARK) | {"gone": {"kind": "user_deletions"}}
    load(full(range(30)), streams=streams)
    gone = [schema("gone", {"uid": "string"}, ["uid"]), record("gone", uid="u1")]
    done = load([*gone, state(erased=1)], streams=streams)
    assert done.code == 0, done.stderr
    assert "u1" not in uids(api)
    assert b"uu1\xff" not in kept(done.output_dir)
    assert b"uu2\xff" in kept(done.output_dir)
    done = load(full([0, *range(2, 30)], 2), streams=streams)
    assert done.code == 0, done.stderr
    assert "u1" not in uids(api)


@pytest.mark.parametrize("vanished", [MARK, DELETE], ids=["mark", "delete"])
def test_id_instead_of_uid(load: Run, api: SandboxApi, vanished: dict[str, Any]) -> None:
    load([USERS, *map(user, range(6))], streams={"users": {"kind": "users"}})
    ids = {one["uid"]: one["id"] for one in api.get("/v2/users")["results"]}
    fields = {"id": "key", "uid": "uid"}
    spec = {"kind": "users", "sync": "mirror", "fields": fields, "properties": ["n"], **vanished}

    def read(numbers: range, version: int) -> list[str]:
        # The even ones by their ids, the others by their uids.
        rows = [
            record(
                "people", key=ids[f"u{n}"] if n % 2 == 0 else None, uid=None if n % 2 == 0 else f"u{n}", n=n
            )
            for n in numbers
        ]
        return [PEOPLE, *(versioned(row, version) for row in rows), activate(version, "people")]

    done = load(read(range(6), 1), streams={"people": spec}, validate_records=False)
    assert done.code == 0, done.stderr
    done = load(read(range(4), 2), streams={"people": spec}, validate_records=False)
    assert done.code == 0, done.stderr
    assert figures(done, "people:vanished") == (2, 2, 0)
    gone = {"u4", "u5"}
    if vanished is MARK:
        assert {uid for uid, found in uids(api).items() if "active" in found} == gone
    else:
        assert uids(api).keys() == ids.keys() - gone


def test_a_stream_that_becomes_a_mirror_and_one_that_is_none_any_more(load: Run, api: SandboxApi) -> None:
    changed = {"users": {"kind": "users", "sync": "changed"}}
    first = load(full(range(40)), streams=changed)
    assert b"u17" not in kept(first.output_dir)
    # u39 is gone before there is a uid to delete it by.
    done = load(full(range(39), 2), streams=mirror(**DELETE))
    assert done.code == 0, done.stderr
    assert figures(done, "users") == (39, 0, 0)
    assert figures(done) is None
    assert "1 user of those who vanished cannot be marked or deleted: their uids were not kept" in done.stderr
    assert b"u17" in kept(done.output_dir)
    done = load(full(range(38), 3), streams=mirror(**DELETE))
    assert figures(done) == (1, 1, 0)
    assert "cannot be marked" not in done.stderr
    assert "u38" not in uids(api)
    assert b"u38" not in kept(done.output_dir)
    done = load(full(range(37), 4), streams=changed)
    assert b"u17" not in kept(done.output_dir)
    assert len(uids(api)) == 39


def test_a_switch_to_a_mirror_that_takes_several_runs(load: Run, api: SandboxApi) -> None:
    load(full(range(40)), streams={"users": {"kind": "users", "sync": "changed"}})
    spec = mirror(**DELETE)
    load([USERS, *(versioned(user(number), 2) for number in range(20))], streams=spec)
    done = load(full(range(40), 3), streams=spec)
    assert figures(done) is None
    done = load(full(range(10, 30), 4), streams=spec)
    assert figures(done) == (20, 20, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(10, 30)}


def test_a_killed_run_that_the_next_one_settles_leaves_the_uids(load: Run, config: dict[str, Any]) -> None:
    """Fullstory's answers get lost, so that the first run fails; what it had sent lies in `output_dir`."""
    answers = [True]

    def answer(request: Request, _: int) -> Reply:
        if answers == [False]:
            return Reply(500, fault="reset")
        return Reply(200, {"id": "1"})

    with ScriptedServer(answer) as server:
        settings = {
            "api_url": server.url,
            "streams": mirror(**MARK),
            "delivery": "single",
            "retry_max_seconds": 1,
        }
        load(full(range(1)), **settings)
        answers[0] = False
        assert load(full(range(9), 2), **settings).code == 1
        answers[0] = True
        # What was left is settled, and then u7 and u8 are not read.
        done = load(full(range(7), 3), **settings)
        assert done.code == 0, done.stderr
        done = load(full(range(7), 4), **settings)
        marked = {one.json["uid"] for one in server.requests if "active" in one.json.get("properties", {})}
        assert marked == {"u7", "u8"}, done.stderr


def test_soft_deleted_users_are_not_marked(load: Run, api: SandboxApi) -> None:
    people = schema("users", {"uid": "string", "deleted": "boolean"}, ["uid"])
    spec = {"soft_delete": {"column": "deleted"}, **MARK}

    def read(version: int, *rows: str) -> list[str]:
        return [people, *(versioned(row, version) for row in rows), activate(version)]

    settings = {"streams": mirror(**spec), "hard_delete": True}
    load(read(1, user(1), user(2), user(3)), **settings)
    done = load(read(2, user(1), user(2), user(3, deleted=True)), **settings)
    assert done.code == 0, done.stderr
    assert uids(api).keys() == {"u1", "u2"}
    done = load(read(3, user(1), user(2)), **settings)
    assert done.code == 0, done.stderr
    assert uids(api).keys() == {"u1", "u2"}, "it would have been made anew"


def test_a_stream_map_gives_a_mirror_its_records(load: Run, api: SandboxApi) -> None:
    maps = {"users": {"uid": "uid", "email": "email", "__alias__": "people", "__else__": None}}
    settings = {"streams": {"people": mirror(**DELETE)["users"]}, "stream_maps": maps}
    done = load(full(range(5), 1, email="a@example.com"), **settings)
    assert done.code == 0, done.stderr
    done = load(full(range(4), 2, email="a@example.com"), **settings)
    assert done.code == 0, done.stderr
    assert figures(done, "people:vanished") == (1, 1, 0)
    assert uids(api).keys() == {f"u{number}" for number in range(4)}


def test_a_property_that_fullstory_does_not_take_is_refused_at_the_start(load: Run, api: SandboxApi) -> None:
    done = load(full(range(3)), streams=mirror(vanished={"mark": {"active": None}}))
    assert done.code == 1
    assert uids(api) == {}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (1, 2))])
def test_night_after_night_fullstory_has_what_the_last_complete_read_had(
    load: Run, api: SandboxApi, seed: int
) -> None:
    random = Random(seed)
    there: dict[str, dict[str, Any]] = {}
    table: dict[int, int] = {}
    treated = 0
    for night in range(1, 9):
        for number in random.sample(range(60), 12):
            table[number] = random.randrange(3)
        for number in random.sample(sorted(table), random.randrange(6)):
            del table[number]
        order = random.sample(sorted(table), len(table))
        # Records come twice, too.
        order += random.sample(order, 3)
        read = [versioned(user(number, seats=table[number]), night) for number in order]
        end = random.choice(["complete", "complete", "cut", "rejected", "silent"])
        if end == "cut":
            read = read[: len(read) // 2]
        if end == "rejected":
            read.insert(random.randrange(len(read)), versioned(user(99, seats="x"), night))
        lines = [USERS, *read, *([activate(night)] if end in {"complete", "rejected"} else [])]
        done = load(lines, streams=mirror(**DELETE), delivery=random.choice(["single", "batch", "auto"]))
        assert done.code == (end == "rejected"), done.stderr
        came = {f"u{number}" for number in (order[: len(read)] if end == "cut" else order)}
        there |= {uid: {"seats": table[int(uid[1:])]} for uid in came}
        gone = there.keys() - came if end == "complete" else set()
        there = {uid: found for uid, found in there.items() if uid not in gone}
        assert (figures(done) or (0, 0, 0)) == (len(gone), len(gone), 0), (night, end)
        assert uids(api) == there, (night, end)
        treated += len(gone)
    assert treated


def test_a_replay_reads_no_table(
    load: Run, api: SandboxApi, config: dict[str, Any], tmp_path: Path, sandbox: Sandbox
) -> None:
    streams = mirror(**DELETE, full_table=True)
    load(full(range(30)), streams=streams)
    bad = load([*full(range(30), 2)[:-2], versioned(user(30, seats="x"), 2)], streams=streams)
    assert bad.code == 1
    (rejects,) = bad.output_dir.glob("rejects-*.jsonl")
    rejects.write_text(rejects.read_text().replace('"x"', "5"))
    settings = config | {"api_url": sandbox.url, "streams": streams, "max_vanished_percent": None}
    done = command(tmp_path, settings, "replay", str(rejects))
    assert done.code == 0, done.stderr
    assert uids(api).keys() == {f"u{number}" for number in range(31)}
    done = load(full(range(31), 3, seats=None), streams=streams)
    assert done.code == 0, done.stderr
    done = load(full(range(30), 4), streams=streams)
    assert figures(done) == (1, 1, 0)


def test_one_who_comes_back_while_the_mark_is_in_progress_is_sent(load: Run) -> None:
    looks = {"left": 0}

    def answer(request: Request, number: int) -> Reply:
        if request.method == "POST":
            rows = len(request.json["requests"])
            return Reply(200, {"job": {"id": f"{number}-{rows}", "status": "PROCESSING"}})
        job = request.path.split("/")[4]
        if looks["left"] and job.endswith("-1"):
            looks["left"] -= 1
            return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})
        done = {"id": job, "status": "COMPLETED", "finished": "2026-02-01T00:00:00Z"}
        return Reply(200, {"job": done, "imports": int(job.split("-")[1]), "errors": 0})

    with ScriptedServer(answer) as server:
        settings = {"api_url": server.url, "delivery": "batch"}
        assert load(full(range(9)), **settings).code == 0
        looks["left"] = 1_000
        left = load(full(range(8), 2), job_timeout_seconds=1, **settings)
        assert "has not finished in 1 s" in left.stderr
        looks["left"] = 3
        done = load(full(range(9), 3), **settings)
        assert done.code == 0, done.stderr
        assert figures(done, "users") == (9, 1, 0)
        sent = [one.json["requests"] for one in server.requests if one.method == "POST"]
        assert sent[1][0]["properties"]["active"] is False
        assert sent[2] == [{"uid": "u8", "properties": {}}]


def test_nobody_vanishes_while_one_of_a_mirrors_streams_is_missing(
    run_target: Callable[..., Outcome], sandbox: Sandbox, api: SandboxApi
) -> None:
    """Two of the tap's streams bring its users; one night the tap sends nothing of the second."""
    maps = {"east": {"__alias__": "users"}, "west": {"__alias__": "users"}}
    mirror = {"kind": "users", "sync": "mirror", "full_table": True, "vanished": "delete"}
    settings: dict[str, Any] = {"api_url": sandbox.url, "stream_maps": maps, "streams": {"users": mirror}}

    def part(name: str, users: int) -> list[str]:
        made = (record(name, uid=f"{name}{number}") for number in range(users))
        return [schema(name, {"uid": "string"}, ["uid"]), *made]

    run_target([*part("east", 3), *part("west", 3), state(a=1)], **settings)
    done = run_target([*part("east", 2), state(a=1)], **settings)
    assert done.code == 0, done.stderr
    assert "'west', which has brought users of it too, is missing" in done.stderr
    assert len(api.get("/v2/users")["results"]) == 6
    run_target([*part("east", 2), *part("west", 3), state(a=1)], **settings)
    assert len(api.get("/v2/users")["results"]) == 5
