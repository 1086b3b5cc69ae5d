"""The main job, through the executable and real HTTP: records become users and events."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests import executable
from tests.conftest import (
    EVENTS,
    EXECUTABLE,
    KEY,
    USERS,
    Outcome,
    SandboxApi,
    event,
    record,
    schema,
    state,
    user,
)
from tests.scripted import Reply, ScriptedServer

Run = Callable[..., Outcome]


def assert_adds_up(counts: dict[str, Any]) -> None:
    ends = ("delivered", "rejected", "merged", "ignored", "unchanged")
    assert counts["received"] == sum(counts[end] for end in ends), counts


def test_users_and_events_need_no_mapping(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    lines = [USERS, user(1, email="one@example.com", seats=3), EVENTS, event(1, amount=9.5), state(users=1)]
    done = run_target(lines, start=True, api_url=sandbox.url)
    assert done.code == 0, done.stderr
    found = api.user("u1")
    assert (found["email"], found["properties"]) == ("one@example.com", {"seats": 3})
    (made,) = api.events()
    assert made["properties"] == {"amount": 9.5}
    assert done.states[-1]["bookmarks"] == {"users": 1}
    assert done.block["streams"]["users"]["delivered"] == 1
    assert done.block["streams"]["events"]["delivered"] == 1


def test_a_mapped_table(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    streams = {
        "customers": {
            "kind": "users",
            "fields": {
                "uid": {"template": "user_{id}"},
                "email": "contact.email",
                "display_name": "full_name",
            },
            "exclude": ["ssn"],
        },
        "ord*": {
            "kind": "events",
            "fields": {
                "name": {"const": "Order Placed"},
                "timestamp": "created_at",
                "user.uid": {"template": "user_{customer_id}"},
                "session.use_most_recent": {"const": True},
                "context.browser.url": "page_url",
            },
        },
    }
    contact = {"type": "object", "properties": {"email": {"type": "string"}}}
    lines = [
        schema(
            "customers",
            {"id": "integer", "full_name": "string", "contact": contact, "ssn": "string", "plan": "string"},
            ["id"],
        ),
        record("customers", id=7, full_name="Ann", contact={"email": "a@example.com"}, ssn="1", plan="pro"),
        schema(
            "orders",
            {"customer_id": "integer", "created_at": "string", "page_url": "string", "total": "number"},
        ),
        record("orders", customer_id=7, created_at="2026-02-03", page_url="https://example.com/", total=5),
        state(orders=1),
    ]
    done = run_target(lines, api_url=sandbox.url, streams=streams)
    assert done.code == 0, done.stderr
    found = api.user("user_7")
    assert (found["email"], found["display_name"]) == ("a@example.com", "Ann")
    assert "ssn" not in found["properties"]
    assert found["properties"]["plan"] == "pro"
    (made,) = api.events(name="Order Placed")
    assert made["timestamp"] == "2026-02-03T00:00:00Z"
    assert made["user"]["uid"] == "user_7"
    assert made["session"] == {"use_most_recent": True}
    assert made["context"] == {"browser": {"url": "https://example.com/"}}


def test_120_000_records_make_three_jobs(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    lines = [USERS, *(user(n, seats=n) for n in range(120_000)), state(users=120_000)]
    done = run_target(lines, api_url=sandbox.url, timeout=240)
    assert done.code == 0, done.stderr
    jobs = done.block["jobs"]
    # In order of their acceptance, which is not that of the batches.
    assert sorted(job["records"] for job in jobs) == [20_000, 50_000, 50_000]
    assert {job["status"] for job in jobs} == {"COMPLETED"}
    assert sum(job["imports"] for job in jobs) == 120_000
    counts = done.block["streams"]["users"]
    assert (counts["received"], counts["delivered"]) == (120_000, 120_000)
    assert int(api.get("/v2/users")["total_records"]) == 120_000
    assert done.stderr.count("created:") == 3
    assert done.stderr.count("finished:") == 3
    told = [line for line in done.stderr.splitlines() if "So far: " not in line]  # that is by time
    own = [line for line in told if "METRIC: " not in line]
    assert len(own) < 20, "nothing is logged per record"
    assert len(told) - len(own) < 60, "nothing is measured per record"


@pytest.mark.parametrize(
    ("delivery", "records", "paths"),
    [
        ("auto", 25, {"/v2/users"}),
        ("auto", 26, {"/v2/users/batch"}),
        ("single", 26, {"/v2/users"}),
        ("batch", 1, {"/v2/users/batch"}),
    ],
)
def test_delivery(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, delivery: str, records: int, paths: set[str]
) -> None:
    lines = [USERS, *(user(n) for n in range(records)), state(a=1)]
    assert run_target(lines, api_url=sandbox.url, delivery=delivery).code == 0
    made = {made["path"] for made in api.requests() if made["method"] == "POST"}
    assert made == paths


def test_a_user_known_by_fullstorys_id_alone(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    run_target([USERS, user(1, email="one@example.com"), state(a=1)], api_url=sandbox.url)
    known = api.user("u1")["id"]
    lines = [
        schema("people", {"fs_id": "string", "plan": "string"}),
        record("people", fs_id=known, plan="pro"),
        state(a=2),
    ]
    done = run_target(
        lines, api_url=sandbox.url, streams={"people": {"kind": "users", "fields": {"id": "fs_id"}}}
    )
    assert done.code == 0, done.stderr
    assert api.user("u1")["properties"]["plan"] == "pro"


def test_bad_records_go_to_the_rejects_file_and_the_rest_goes_on(
    run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    lines = [
        USERS,
        user(1),
        record("users", email="nobody@example.com"),
        record("users", uid="x" * 257),
        user(2, seats="many"),
        user(3, email="e" * 129),
        user(4),
        EVENTS,
        event(1, name=None),
        event(2, timestamp="yesterday"),
        event(3),
        state(users=6),
    ]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1, "more than max_rejected_records"
    assert len(done.error_lines) == 1
    assert "6 records were rejected" in done.error_lines[0]
    assert [reject["code"] for reject in done.rejects] == [
        "missing_uid",
        "uid_too_long",
        "schema_violation",
        "email_too_long",
        "missing_name",
        "invalid_timestamp",
    ]
    first = done.rejects[0]
    assert first["record"] == {"email": "nobody@example.com"}
    assert (first["stream"], first["kind"], first["stage"]) == ("users", "users", "map")
    assert first["at"].endswith("Z")
    (path,) = done.output_dir.glob("rejects-*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rejects = done.block["rejects"]
    assert (rejects["count"], rejects["path"]) == (6, str(path))
    assert [reason["code"] for reason in rejects["reasons"]] == [reject["code"] for reject in done.rejects]
    assert {reason["count"] for reason in rejects["reasons"]} == {1}
    assert rejects["unresolved"] == {"count": 6, "files": [rejects["path"]]}
    for counts in done.block["streams"].values():
        assert_adds_up(counts)
    assert done.states[-1]["bookmarks"] == {"users": 6}
    assert int(api.get("/v2/users")["total_records"]) == 2
    assert len(api.events()) == 1


@pytest.mark.parametrize(("limit", "code"), [(0, 1), (1, 0), (None, 0), (-1, 0)])
def test_max_rejected_records(run_target: Run, sandbox: Sandbox, limit: int | None, code: int) -> None:
    lines = [USERS, record("users", uid=None), user(1), state(a=1)]
    done = run_target(lines, api_url=sandbox.url, max_rejected_records=limit)
    assert done.code == code
    assert done.block["streams"]["users"]["delivered"] == 1


def test_what_a_job_refuses_is_in_the_rejects_file(run_target: Run, sandbox: Sandbox) -> None:
    """The real API finds some mistakes only while it works on the job."""
    lines = [
        schema("people", {"fs_id": "string", "plan": "string"}),
        *(record("people", fs_id=f"nobody{n}", plan="pro") for n in range(150)),
        state(a=1),
    ]
    done = run_target(
        lines,
        api_url=sandbox.url,
        delivery="batch",
        streams={"people": {"kind": "users", "fields": {"id": "fs_id"}}},
    )
    assert done.code == 1
    (job,) = done.block["jobs"]
    assert (job["status"], job["errors"], job["imports"]) == ("FAILED", 150, 0)
    assert len(done.rejects) == 150, "all pages of /errors are read"
    assert {reject["stage"] for reject in done.rejects} == {"job"}
    assert {reject["job_id"] for reject in done.rejects} == {job["id"]}
    assert {reject["request"]["id"] for reject in done.rejects} == {f"nobody{n}" for n in range(150)}
    counts = done.block["streams"]["people"]
    assert (counts["delivered"], counts["rejected"]) == (0, 150)
    assert_adds_up(counts)


def test_updates_of_one_user_merge_and_the_later_value_wins(
    run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    lines = [
        USERS,
        user(1, email="old@example.com", seats=1),
        *(user(n) for n in range(2, 40)),
        user(1, seats=2),
        state(a=1),
    ]
    done = run_target(lines, api_url=sandbox.url, delivery="batch")
    counts = done.block["streams"]["users"]
    assert (counts["received"], counts["delivered"], counts["merged"]) == (40, 39, 1)
    found = api.user("u1")
    assert (found["email"], found["properties"]) == ("old@example.com", {"seats": 2})


def test_users_are_in_before_the_events_received_after_them(run_target: Run) -> None:
    """A job of users runs long; the events wait for its end."""
    with Sandbox(SandboxOptions(job_seconds=1.0)) as slow:
        lines = [EVENTS, event(1), USERS, *(user(n) for n in range(30)), event(2), state(a=1)]
        done = run_target(lines, api_url=slow.url)
        assert done.code == 0, done.stderr
        api = SandboxApi(slow.url)
        posts = [made["path"] for made in api.requests() if made["method"] == "POST"]
        assert posts == ["/v2/users/batch", "/v2/events", "/v2/events"]
        asked = [made["path"] for made in api.requests()]
        first_event = asked.index("/v2/events")
        assert any("/v2/users/batch/" in path for path in asked[:first_event])
        (job,) = done.block["jobs"]
        assert job["finished"] is not None


def test_unmapped_streams(run_target: Run, sandbox: Sandbox) -> None:
    lines = [USERS, user(1), state(a=1), schema("other", {"id": "integer"}), record("other", id=1)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    assert "'other' has no mapping" in done.error_lines[-1]
    assert done.block["streams"]["users"]["delivered"] == 1, "what came before is in"

    done = run_target(lines, api_url=sandbox.url, unmapped_streams="ignore")
    assert done.code == 0
    other = done.block["streams"]["other"]
    assert (other["received"], other["ignored"]) == (1, 1)


def test_state_passes_through_untouched(run_target: Run, sandbox: Sandbox) -> None:
    value = {"bookmarks": {"a": {"n": 1.10}}, "x": [1, None]}
    lines = [USERS, user(1), json.dumps({"type": "STATE", "value": value})]
    done = run_target(lines, api_url=sandbox.url, state_key=None)
    assert done.states == [value]


def test_an_old_block_that_the_tap_echoes_is_replaced(run_target: Run, sandbox: Sandbox) -> None:
    old = {"bookmarks": {}, "target_fullstory": {"version": 1, "run_id": "old", "jobs": [{"id": "x"}]}}
    done = run_target([USERS, user(1), json.dumps({"type": "STATE", "value": old})], api_url=sandbox.url)
    assert done.block["run_id"] != "old"
    assert done.block["jobs"] == []


def test_no_state_in_means_no_state_out(run_target: Run, sandbox: Sandbox) -> None:
    done = run_target([USERS, user(1)], api_url=sandbox.url)
    assert (done.code, done.stdout) == (0, "")
    assert done.report["streams"]["users"]["delivered"] == 1


def test_the_run_report(run_target: Run, sandbox: Sandbox) -> None:
    lines = [USERS, *(user(n) for n in range(30)), state(a=1)]
    report = run_target(lines, api_url=sandbox.url).report
    assert report["streams"]["users"]["received"] == 30
    assert len(report["jobs"]) == 1
    assert report["config"]["api_key"] == "****"
    assert report["timings"]["seconds"] > 0


def test_the_key_appears_nowhere(run_target: Run, sandbox: Sandbox) -> None:
    done = run_target([USERS, record("users", uid=None), user(1), state(a=1)], api_url=sandbox.url)
    texts = [done.stdout, done.stderr, *(p.read_text() for p in done.output_dir.iterdir())]
    assert all(KEY not in text for text in texts)


def test_dropped_values_are_counted_and_told_once(run_target: Run, sandbox: Sandbox) -> None:
    lines = [
        schema("users", {"uid": "string", "note": "string"}, ["uid"]),
        user(1, note="x" * 9000),
        user(2, note="y" * 9000),
        state(a=1),
    ]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 0
    assert done.block["streams"]["users"]["dropped_properties"] == {"note": 2}
    assert done.stderr.count("property note") == 1


def test_max_events(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    lines = [EVENTS, *(event(n) for n in range(5)), state(a=1)]
    done = run_target(lines, api_url=sandbox.url, max_events=3, max_rejected_records=None)
    assert done.code == 0
    assert [reject["code"] for reject in done.rejects] == ["event_quota"] * 2
    assert len(api.events()) == 3


def test_the_embedded_sandbox(run_target: Run) -> None:
    done = run_target([USERS, user(1), state(a=1)], api_url="sandbox", api_key=None)
    assert done.code == 0, done.stderr
    assert "holds 1 user, 0 events, 0 batch jobs" in done.stderr
    assert (done.output_dir / "sandbox.db").exists()


def test_stream_maps_flattening_and_record_metadata(
    run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    contact = {"type": "object", "properties": {"city": {"type": "string"}}}
    lines = [
        schema("people", {"id": "integer", "age": "integer", "contact": contact}, ["id"]),
        record("people", id=1, age=20, contact={"city": "Delft"}),
        record("people", id=2, age=10, contact={"city": "Leiden"}),
        state(a=1),
    ]
    done = run_target(
        lines,
        api_url=sandbox.url,
        streams={"people": {"kind": "users"}},
        stream_maps={"people": {"__filter__": "age >= 18", "doubled": "int(age)"}},
        flattening_enabled=True,
        flattening_max_depth=1,
        add_record_metadata=True,
    )
    assert done.code == 0, done.stderr
    assert api.user("1")["properties"] == {"age": 20, "contact__city": "Delft", "doubled": 20}
    counts = done.block["streams"]["people"]
    assert (counts["received"], counts["delivered"], counts["ignored"]) == (2, 1, 1)


def test_a_job_that_a_killed_run_left_is_waited_for(run_target: Run, tmp_path: Path) -> None:
    """Its older values must not come after the newer ones of this run."""
    with Sandbox(SandboxOptions(job_seconds=2.0)) as slow:
        api = SandboxApi(slow.url)
        lines = [USERS, *(user(n, seats=1) for n in range(30)), state(a=1)]
        config = {"api_url": slow.url, "api_key": KEY, "output_dir": str(tmp_path / "output")}
        path = tmp_path / "killed.json"
        path.write_text(json.dumps(config))
        killed = subprocess.Popen(
            [*EXECUTABLE, "--config", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write("".join(f"{line}\n" for line in lines).encode())
        killed.stdin.close()
        killed.stdout.readline()  # the STATE: the job is accepted
        killed.kill()
        killed.wait()

        done = run_target([USERS, user(1, seats=2), state(a=2)], api_url=slow.url)
        assert done.code == 0, done.stderr
        assert "was left by an earlier run" in done.stderr
        assert api.user("u1")["properties"]["seats"] == 2
        assert list(done.output_dir.glob("jobs-*")) == []


def test_two_streams_of_users_keep_the_order(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    columns = {"uid": "string", "v": "integer"}
    lines = [
        schema("a", columns, ["uid"]),
        schema("b", columns, ["uid"]),
        record("a", uid="x", v=1),
        record("b", uid="y", v=2),
        record("b", uid="x", v=3),
        record("a", uid="y", v=4),
        state(n=1),
    ]
    done = run_target(lines, api_url=sandbox.url, streams={"?": {"kind": "users"}}, delivery="batch")
    assert done.code == 0, done.stderr
    assert [api.user(uid)["properties"]["v"] for uid in "xy"] == [3, 4]


def test_a_stream_whose_sink_an_alias_takes_over(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    """Its records were decoded for the old sink until then."""
    lines = [
        USERS,
        user(1, seats=1),
        schema("guests", {"uid": "string", "zip": "integer", "seats": "integer"}, ["uid"]),
        record("guests", uid="g1", zip=5, seats=2),
        user(2, seats=3),
        user(3, seats=4),
        state(n=1),
    ]
    done = run_target(lines, api_url=sandbox.url, stream_maps={"guests": {"__alias__": "users"}})
    assert done.code == 0, done.stderr
    assert [api.user(uid)["properties"]["seats"] for uid in ("u1", "g1", "u2", "u3")] == [1, 2, 3, 4]


def test_a_stream_map_that_fails_for_a_record(run_target: Run, sandbox: Sandbox) -> None:
    lines = [
        schema("users", {"uid": "string", "seats": "integer"}, ["uid"]),
        user(1, seats=0),
        user(2, seats=2),
        state(n=1),
    ]
    maps = {"users": {"uid": "uid", "share": "float(1/seats)"}}
    done = run_target(lines, api_url=sandbox.url, stream_maps=maps)
    assert done.code == 1
    assert [reject["code"] for reject in done.rejects] == ["stream_map_error"]
    assert done.block["streams"]["users"]["delivered"] == 1


def test_flattening_of_a_required_column(run_target: Run, sandbox: Sandbox) -> None:
    message = json.loads(schema("users", {"uid": "string"}, ["uid"]))
    info = {"type": "object", "properties": {"city": {"type": "string"}}}
    message["schema"]["properties"]["info"] = info
    message["schema"]["required"] = ["uid", "info"]
    lines = [json.dumps(message), user(1, info={"city": "Delft"}), state(n=1)]
    done = run_target(lines, api_url=sandbox.url, flattening_enabled=True, flattening_max_depth=1)
    assert done.code == 0, done.stderr


def test_records_are_not_validated_where_that_is_off(run_target: Run, sandbox: Sandbox) -> None:
    lines = [
        schema("users", {"uid": "string", "k": "string", "seats": "integer"}, ["uid", "k"]),
        user(1, seats="many"),
        state(n=1),
    ]
    assert run_target(lines, api_url=sandbox.url).code == 1
    done = run_target(lines, api_url=sandbox.url, validate_records=False)
    assert done.code == 0, done.stderr


def test_an_event_of_an_unknown_user_is_rejected_alone(run_target: Run, sandbox: Sandbox) -> None:
    events = schema(
        "events", {"name": "string", "user": {"type": "object", "properties": {"id": {"type": "string"}}}}
    )
    lines = [
        events,
        record("events", name="a", user={"id": "999"}),
        record("events", name="b", user={"id": "1000000001"}),
        state(n=1),
    ]
    run_target([USERS, user(1), state(n=0)], api_url=sandbox.url)
    done = run_target(lines, api_url=sandbox.url)
    assert [reject["code"] for reject in done.rejects] == ["user_not_found"]
    assert done.block["streams"]["events"]["delivered"] == 1
    assert [answer["status"] for answer in done.block["responses"]] in ([404, 200], [200, 404])


def test_a_refused_key_ends_the_run_though_another_request_is_being_tried_again(run_target: Run) -> None:
    refused = threading.Event()

    def script(request: Any, _: int) -> Reply:
        if request.json["uid"] == "u1":
            # Before that the other would not be sent: everything waits as long as Fullstory asks.
            assert refused.wait(30)
            return Reply(503, headers={"Retry-After": "120"})
        refused.set()
        return Reply(401)

    with ScriptedServer(script) as server:
        began = time.monotonic()
        done = run_target([USERS, user(1), user(2), state(n=1)], api_url=server.url, retry_max_seconds=300)
    assert done.code == 1
    assert "does not accept the API key" in done.error_lines[-1]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BATCH_SIZE_ROWS", "abc", "BATCH_SIZE_ROWS"),
        ("WAIT_FOR_JOBS", "perhaps", "WAIT_FOR_JOBS"),
        ("STREAMS", "not json", "STREAMS"),
        ("MAX_EVENTS", "", None),
        ("MAX_REJECTED_RECORDS", "null", None),
        ("JOB_POLL_INTERVAL_SECONDS", "0.5", None),
        ("STREAMS", '{"users": {"kind": "users"}}', None),
    ],
)
def test_settings_from_the_environment(
    sandbox: Sandbox, tmp_path: Path, name: str, value: str, says: str | None
) -> None:
    prefix = "TARGET_FULLSTORY_"
    given = {
        f"{prefix}API_KEY": KEY,
        f"{prefix}API_URL": sandbox.url,
        f"{prefix}OUTPUT_DIR": str(tmp_path),
        f"{prefix}{name}": value,
    }
    data = f"{USERS}\n{user(1)}\n{state(n=1)}\n".encode()
    done = executable.fork(["--config", "ENV"], data, directory=tmp_path, environment=os.environ | given)
    if says is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert says in done.stderr.splitlines()[-1]
        assert "report it" not in done.stderr


def test_a_journal_of_another_address_is_left_to_a_run_there(
    run_target: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    left = tmp_path / "output" / "jobs-earlier.jsonl"
    left.parent.mkdir()
    left.write_text('{"id":"j1","kind":"users","stream":"users","api_url":"https://api.fullstory.com"}\n')
    assert run_target([USERS, user(1), state(n=1)], api_url=sandbox.url).code == 0
    assert left.exists()


def test_files_with_records_are_for_their_owner_alone(run_target: Run) -> None:
    lines = [USERS, user(1), record("users", uid=None), state(n=1)]
    done = run_target(lines, api_url="sandbox")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in done.output_dir.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_records_that_need_care_keep_their_place(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    """Every third record of a user leaves the fast path; the last value must still win."""
    lines = [
        schema(
            "users", {"uid": "string", "v": "integer", "on": {"type": "string", "format": "date"}}, ["uid"]
        )
    ]
    for n in range(200):
        more = [{}, {"odd name": n}, {"on": "not a date"}, {"on": "2026-01-01"}][n % 4]
        lines.append(user(n % 3, v=n, **more))
    lines += ["", state(n=1)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 0, done.stderr
    assert "fast path" in done.stderr
    assert [api.user(f"u{n}")["properties"]["v"] for n in range(3)] == [198, 199, 197]
    counts = done.block["streams"]["users"]
    assert (counts["received"], counts["delivered"], counts["merged"]) == (200, 3, 197)
    assert api.user("u0")["properties"]["odd_name"] == 189
