"""The command `replay`: rejected records, sent again the way a load would send them."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, EXECUTABLE, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
Config = dict[str, Any]


@pytest.fixture
def to_sandbox(sandbox: Sandbox, config: Config) -> Config:
    config["api_url"] = sandbox.url
    return config


def rejects_file(done: Outcome) -> Path:
    return Path(done.block["rejects"]["path"])


def entry(**members: Any) -> str:
    head = {"stream": "users", "kind": "users", "stage": "api", "code": "c", "message": "m"}
    return json.dumps(head | members) + "\n"


def reports(output_dir: Path) -> list[dict[str, Any]]:
    # Runs of the same second are in no order by their names.
    paths = sorted(output_dir.glob("run-*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in paths]


def test_a_record_is_mapped_again_with_its_schema(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    """The mapping was at fault: it is corrected, and the rejects are sent again."""
    people = schema("people", {"key": "string", "nick": "string", "seats": "integer"}, ["key"])
    lines = [
        *(people, record("people", key="k1", nick=None, seats=3)),
        *(record("people", key="k2", nick="n2", seats=4), state(a=1)),
    ]
    wrong = {"people": {"kind": "users", "fields": {"uid": "nick"}}}
    loaded = run_target(lines, streams=wrong)
    assert [reject["code"] for reject in loaded.rejects] == ["missing_uid"]
    before = rejects_file(loaded).read_bytes()
    replayed = Path(f"{rejects_file(loaded)}.replayed")

    to_sandbox["streams"] = {"people": {"kind": "users"}}
    done = command(tmp_path, to_sandbox, "replay", str(rejects_file(loaded)))
    assert done.code == 0, done.stderr
    assert done.stdout == "", "no STATE: there is no tap"
    # By the key column and with the type that the SCHEMA tells.
    found = api.user("k1")
    assert found["properties"]["seats"] == 3
    assert found["schema"]["properties"]["seats"] == "int"
    assert replayed.read_bytes() == before
    assert list(done.output_dir.glob("rejects-*")) == [replayed]
    # With the SCHEMA that is still there, for both of its names.
    again = command(tmp_path, to_sandbox, "replay", str(replayed))
    assert again.code == 0, again.stderr
    assert "SCHEMA of stream people is not known" not in again.stderr
    assert list(done.output_dir.glob("rejects-*")) == [replayed]
    counts = reports(done.output_dir)[-1]["streams"]["people"]
    assert (counts["received"], counts["delivered"]) == (1, 1)


def test_without_its_schema_a_record_goes_without_types(
    to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    rejects = tmp_path / "some.jsonl"
    rejects.write_text(entry(stage="map", record={"uid": "u1", "seats": 3}))
    done = command(tmp_path, to_sandbox, "replay", str(rejects))
    assert done.code == 0, done.stderr
    assert "SCHEMA of stream users is not known" in done.stderr
    assert api.user("u1")["schema"]["properties"]["seats"] == "real"

    given = tmp_path / "tap.jsonl"
    given.write_text(f"{USERS}\n{user(9)}\n{schema('unmapped', {'a': 'string'})}\n")
    rejects.write_text(entry(stage="map", record={"uid": "u2", "seats": 3}))
    done = command(tmp_path, to_sandbox, "replay", "--schema", str(given), str(rejects))
    assert done.code == 0, done.stderr
    assert api.user("u2")["schema"]["properties"]["seats"] == "int"
    assert api.get("/v2/users", uid="u9")["results"] == [], "records of that file are not sent"


def test_requests_go_as_they_are_and_in_order(to_sandbox: Config, api: SandboxApi, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    timed = {"name": "Ordered", "timestamp": "2026-01-01T00:00:00Z", "user": {"uid": "u1"}}
    first.write_text(
        entry(request={"uid": "u1", "properties": {"plan": "free", "seats": 1}})
        + entry(stream="e", kind="events", stage="job", job_id="j", request=timed)
    )
    second.write_text(entry(record={"uid": "u1", "plan": "pro"}, stage="map"))
    done = command(tmp_path, to_sandbox, "replay", str(first), str(second))
    assert done.code == 0, done.stderr
    assert api.user("u1")["properties"] == {"plan": "pro", "seats": 1}
    assert [one["name"] for one in api.events(uid="u1")] == ["Ordered"]
    streams = reports(done.output_dir)[-1]["streams"]
    assert {name: counts["kind"] for name, counts in streams.items()} == {"users": "users", "e": "events"}


def test_an_event_that_was_refused_gets_an_answer_of_its_own(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    """Fullstory keeps the refusal for the load's key; the same replay twice is one event all the same."""
    unknown = event(1, user={"id": "12345"})
    loaded = run_target([EVENTS, unknown, state(a=1)], delivery="single")
    (reject,) = loaded.rejects
    assert reject["stage"] == "api"
    keys = []

    def script(request: Request, number: int) -> Reply:
        keys.append(request.key)
        return Reply()

    with ScriptedServer(script) as server:
        elsewhere = to_sandbox | {"api_url": server.url}
        for suffix in ("", ".replayed"):
            done = command(tmp_path, elsewhere, "replay", f"{rejects_file(loaded)}{suffix}")
            assert done.code == 0, done.stderr
    assert len(keys) == 2
    assert keys[0] == keys[1], "a replay that is repeated is recognised"
    sent = [one for one in api.requests() if one["path"] == "/v2/events"]
    assert len(sent) == 1
    assert keys[0] != sent[0]["idempotency_key"]


def test_a_deletion_goes_again(run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path) -> None:
    """A user was not there; in a stream of users with hard_delete too, beside updates."""
    to_sandbox["hard_delete"] = True
    lines = [
        *(schema("user_deletions", {"uid": "string"}), record("user_deletions", uid="u1")),
        schema("users", {"uid": "string", "_sdc_deleted_at": "string"}, ["uid"]),
        *(record("users", uid="u2", _sdc_deleted_at="2026-01-01T00:00:00Z"), state(a=1)),
    ]
    loaded = run_target(lines)
    # Several threads send: either may be refused first.
    assert sorted((reject["stream"], reject["kind"]) for reject in loaded.rejects) == [
        ("user_deletions", "user_deletions"),
        ("users", "user_deletions"),
    ]
    run_target([USERS, user(1), user(2), user(3), state(a=1)], output_dir=str(tmp_path / "other"))
    done = command(tmp_path, to_sandbox, "replay", str(rejects_file(loaded)))
    assert done.code == 0, done.stderr
    assert [one["uid"] for one in api.get("/v2/users")["results"]] == ["u3"]


def test_what_is_refused_again_goes_to_a_new_file(
    to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects-r.jsonl"
    text = (
        entry(stage="map", record={"uid": None})
        + entry(request={"uid": "u1"})
        + entry(code="lost", message="gone")
        + entry(stage="map", code="odd", record="{'uid': '\\ud800'}")
    )
    rejects.write_text(text)
    done = command(tmp_path, to_sandbox, "replay", str(rejects))
    assert done.code == 1
    assert "3 records were rejected" in done.error_lines[0]
    assert [reject["code"] for reject in done.rejects] == ["missing_uid", "lost", "odd"]
    replayed = Path(f"{rejects}.replayed")
    assert replayed.read_text() == text
    assert not rejects.exists()
    assert api.user("u1")
    allowed = to_sandbox | {"max_rejected_records": 3}
    assert command(tmp_path, allowed, "replay", str(replayed)).code == 0


def test_the_quota_of_events_keeps_the_request(to_sandbox: Config, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects-r.jsonl"
    requests = [{"name": f"n{n}", "user": {"uid": "u1"}} for n in range(2)]
    rejects.write_text("".join(entry(stream="e", kind="events", request=request) for request in requests))
    done = command(tmp_path, to_sandbox | {"max_events": 1}, "replay", str(rejects))
    assert done.code == 1
    (reject,) = done.rejects
    assert (reject["code"], reject["request"]) == ("event_quota", requests[1])
    assert "record" not in reject


def test_a_record_that_a_stream_map_refused_goes_through_it_again(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    maps = {"users": {"seats": "int(email)", "__alias__": "members"}}
    streams = {"members": {"kind": "users"}}
    lines = [USERS, user(1, email="many"), user(2, email="2"), state(a=1)]
    loaded = run_target(lines, stream_maps=maps, streams=streams)
    assert [reject["code"] for reject in loaded.rejects] == ["stream_map_error"]
    to_sandbox |= {"stream_maps": {"users": {"seats": "7", "__alias__": "members"}}}
    to_sandbox["streams"] = streams
    done = command(tmp_path, to_sandbox, "replay", str(rejects_file(loaded)))
    assert done.code == 0, done.stderr
    assert api.user("u1")["properties"]["seats"] == 7


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 is not a line of a rejects file"),
        ('{"kind": "users"}', "line 2 is not a line of a rejects file"),
        (entry(kind="people"), "line 2 is not a line of a rejects file"),
        (entry(kind="events", record={}), "line 2: a record of stream 'users' was rejected as events"),
        (entry(stream="nowhere", record={}), "line 2: stream 'nowhere' has no mapping"),
        (entry(request={"email": "a@b.example"}), "line 2: `request` is not a request of kind users"),
        (entry(stream="e", kind="events", request=[]), "not a request of kind events"),
    ],
)
def test_a_line_that_cannot_be_is_told_before_anything_is_sent(
    to_sandbox: Config, api: SandboxApi, tmp_path: Path, line: str, told: str
) -> None:
    rejects = tmp_path / "rejects-r.jsonl"
    rejects.write_text(entry(request={"uid": "u1"}) + line)
    check_refused(command(tmp_path, to_sandbox, "replay", str(rejects)), str(rejects), told)
    assert api.requests() == []
    assert not list(tmp_path.glob("output/*"))


def test_a_replay_that_is_stopped_says_so(config: Config, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects-r.jsonl"
    lines = [entry(request={"uid": f"u{n}"}) for n in range(400)]
    rejects.write_text("".join(lines))
    asked = threading.Event()

    def script(request: Request, number: int) -> Reply:
        asked.set()
        return Reply(body={"id": "1"}, delay=0.05)

    with ScriptedServer(script) as server:
        settings = {"api_url": server.url, "delivery": "single", "batch_size_rows": 1}
        path = tmp_path / "command.json"
        path.write_text(json.dumps(config | settings))
        arguments = ["replay", "--config", str(path), str(rejects)]
        process = subprocess.Popen(
            [*EXECUTABLE, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert asked.wait(30)
        process.terminate()
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    (told,) = re.findall(r"Stopped after (\d+) of 400 records", stderr)
    uids = [request.json["uid"] for request in server.requests]
    assert sorted(uids) == sorted(f"u{n}" for n in range(int(told))), "what was taken is sent"
    assert rejects.read_text() == "".join(lines)


def test_a_role_that_will_not_do_is_found_first(config: Config, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects-r.jsonl"
    call = {"method": "DELETE", "path": "/v2/users?uid=u2", "uid": "u2"}
    gone = entry(stream="gone", kind="user_deletions", request=call)
    rejects.write_text(entry(request={"uid": "u1"}) + gone)
    with Sandbox(SandboxOptions(role="ADMIN")) as running:
        done = command(tmp_path, config | {"api_url": running.url}, "replay", str(rejects))
        check_refused(done, "'gone'", "Architect")
        assert [one["path"] for one in SandboxApi(running.url).requests()] == ["/me"]


def test_files_that_are_missing_or_empty(to_sandbox: Config, tmp_path: Path) -> None:
    check_refused(command(tmp_path, to_sandbox, "replay", "nowhere.jsonl"), "nowhere.jsonl")
    check_refused(command(tmp_path, to_sandbox, "replay"), "REJECTS")
    (tmp_path / "empty.jsonl").touch()
    done = command(tmp_path, to_sandbox, "replay", "empty.jsonl")
    assert (done.code, done.error_lines) == (0, [])
    assert "nothing to send again" in done.stderr


@pytest.mark.parametrize(
    "maps",
    [
        {"buyers": {"__source__": "customers", "label": "name.upper()"}},
        {"buyers": {"__source__": "cust*", "label": "name.upper()"}},
        {"cust*": {"__alias__": "'buyers'", "label": "name.upper()"}},
    ],
)
def test_the_schema_is_found_whatever_names_the_tap_s_stream(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path, maps: dict[str, Any]
) -> None:
    settings = {"stream_maps": maps, "unmapped_streams": "ignore", "streams": {"buyers": {"kind": "users"}}}
    columns = {"id": "string", "name": {"type": ["string", "null"]}, "seats": "integer"}
    lines = [schema("customers", columns, ["id"])]
    lines += [
        record("customers", id="a", name=None, seats=1),
        record("customers", id="b", name="B", seats="2"),
    ]
    loaded = run_target([*lines, state(a=1)], **settings, max_rejected_records=None)
    assert [(reject["code"], reject["source"]) for reject in loaded.rejects] == [
        ("stream_map_error", "customers"),
        ("schema_violation", "customers"),
    ]
    next(iter(maps.values()))["label"] = "str(name).upper()"
    file = rejects_file(loaded)
    file.write_text(file.read_text().replace('"seats":"2"', '"seats":2'))
    done = command(tmp_path, to_sandbox | settings, "replay", str(file))
    assert done.code == 0, done.stderr
    assert "SCHEMA of stream" not in done.stderr
    for uid, label in (("a", "NONE"), ("b", "B")):
        found = api.user(uid)
        assert found["properties"]["label"] == label
        assert found["schema"]["properties"]["seats"] == "int"


def two_of_one_name(label: str) -> Config:
    """Two streams with columns of their own become one."""
    maps = {
        "a": {"__alias__": "'buyers'", "label": label.replace("COLUMN", "name")},
        "b": {"__alias__": "'buyers'", "label": label.replace("COLUMN", "title")},
    }
    return {"stream_maps": maps, "streams": {"buyers": {"kind": "users"}}, "max_rejected_records": None}


A = schema("a", {"id": "string", "name": {"type": ["string", "null"]}, "seats": "integer"}, ["id"])
B = schema("b", {"key": "string", "title": {"type": ["string", "null"]}, "seats": "string"}, ["key"])


def test_two_streams_of_one_name_go_each_through_its_own_map(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    settings = two_of_one_name("COLUMN.upper()")
    lines = [A, B, record("a", id="a1", name=None, seats=1), record("b", key="b1", title=None, seats="1")]
    lines += [record("a", id="a2", name="n", seats="x"), record("b", key="b2", title="t", seats=2)]
    loaded = run_target([*lines, state(a=1)], **settings, max_rejected_percent=None)
    assert [(reject["code"], reject["stream"], reject["source"]) for reject in loaded.rejects] == [
        ("stream_map_error", "buyers", "a"),
        ("stream_map_error", "buyers", "b"),
        ("schema_violation", "buyers", "a"),
        ("schema_violation", "buyers", "b"),
    ]
    settings = two_of_one_name("COLUMN.upper() if COLUMN else 'of COLUMN'")
    done = command(tmp_path, to_sandbox | settings, "replay", str(rejects_file(loaded)))
    assert done.code == 0, done.stderr
    assert {user["uid"]: user["properties"] for user in api.get("/v2/users")["results"]} == {
        "a1": {"label": "of name", "seats": 1},
        "b1": {"label": "of title", "seats": "1"},
    }
    # What is rejected again tells the tap's stream again, and its SCHEMAs are there again.
    (new,) = (path for path in done.output_dir.glob("rejects-*.jsonl"))
    assert [json.loads(line)["source"] for line in new.read_text().splitlines()] == ["a", "b"]
    new.write_text(new.read_text().replace('"seats":"x"', '"seats":3').replace('"seats":2', '"seats":"4"'))
    again = command(tmp_path, to_sandbox | settings, "replay", str(new))
    assert again.code == 0, again.stderr
    assert "SCHEMA of stream" not in again.stderr
    assert api.user("a2")["schema"]["properties"]["seats"] == "int"
    assert api.user("b2")["schema"]["properties"]["seats"] == "str"


def test_lines_of_one_of_several_streams_of_a_name_must_tell_which(
    run_target: Run, to_sandbox: Config, api: SandboxApi, tmp_path: Path
) -> None:
    """A file of a version that did not write `source`."""
    lines = [A, B, record("a", id="a1", name=None, seats=1), state(a=1)]
    loaded = run_target(lines, **two_of_one_name("COLUMN.upper()"))
    file = rejects_file(loaded)
    file.write_text(file.read_text().replace('"source":"a",', ""))
    settings = to_sandbox | two_of_one_name("str(COLUMN)")
    check_refused(
        command(tmp_path, settings, "replay", str(file)), "'buyers'", "add the tap's stream as `source`"
    )
    assert api.get("/v2/users")["results"] == []
    # With one stream of that name there is no doubt.
    del settings["stream_maps"]["b"]
    done = command(tmp_path, settings, "replay", str(file))
    assert done.code == 0, done.stderr
    assert api.user("a1")["properties"]["label"] == "None"
