"""The setting `max_rejected_percent`: a stream that is mostly rejected stops the run, its bookmark kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.reject_reasons import Reason, RejectReasons
from target_fullstory.accounting.rejection_limit import RejectionLimit, is_beyond
from target_fullstory.errors import MostlyRejectedError
from target_fullstory.sandbox import Sandbox
from tests import executable
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.running import command
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
ORDERS = schema("orders", {"name": "string", "user": "object", "items": "object"})
STREAMS = {"orders": {"kind": "events"}}


def bad_order(number: int) -> str:
    """The SCHEMA says an object, and an array comes."""
    return record("orders", name="Ordered", user={"uid": "u1"}, items=[number])


def good_order(number: int) -> str:
    return record("orders", name="Ordered", user={"uid": "u1"}, items={"n": number})


def bookmarks(done: Outcome) -> list[Any]:
    return [one["bookmarks"] for one in done.states]


def only_error(done: Outcome, *texts: str) -> None:
    assert done.code == 1, done.stderr
    (line,) = done.error_lines
    for text in (*texts, "max_rejected_percent"):
        assert text in line, line


@pytest.mark.parametrize("path", ["fast", "slow", "stream map"])
def test_it_stops_at_the_thousandth_record(
    path: str, run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    settings: dict[str, Any] = {"streams": STREAMS, "api_url": sandbox.url}
    if path == "slow":
        settings["max_events"] = 1_000_000
    if path == "stream map":
        settings["stream_maps"] = {"orders": {"name": "int(name)"}}
    lines = [ORDERS, *(bad_order(n) for n in range(1500)), *(good_order(n) for n in range(3000)), state(a=1)]
    done = run_target(lines, **settings)
    code = "stream_map_error" if path == "stream map" else "schema_violation"
    only_error(done, "orders", "1000 of 1000", code)
    assert done.states == []
    assert done.report["streams"]["orders"]["received"] == 1000
    assert len(done.rejects) == 1000

    again = run_target(lines, **settings)
    only_error(again, "orders", code)
    assert "Earlier runs left 1000 rejected records unresolved, in 1 file in " in again.stderr
    assert api.events() == []


def test_no_state_behind_the_last_one_within_the_limit(
    run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    """What came before is delivered, though it was in an open batch; nothing further is read."""
    lines = [USERS, ORDERS, *(user(n) for n in range(30)), state(at=1)]
    lines += [*(user(n) for n in range(30, 40)), *(bad_order(n) for n in range(25)), state(at=2)]
    lines += [*(user(n) for n in range(40, 60)), *(good_order(n) for n in range(100)), state(at=3)]
    done = run_target(lines, api_url=sandbox.url, streams=STREAMS)
    only_error(done, "orders", "25 of 25", "schema_violation", "No STATE behind them is written")
    assert bookmarks(done)
    assert all(found == {"at": 1} for found in bookmarks(done))
    assert int(api.get("/v2/users")["total_records"]) == 40
    counts = done.block["streams"]
    assert (counts["users"]["received"], counts["users"]["delivered"]) == (40, 40)
    assert (counts["orders"]["received"], counts["orders"]["rejected"]) == (25, 25)
    assert done.block["finished_at"] is not None


def test_events_behind_that_state_are_left_to_the_next_run(
    run_target: Run, sandbox: Sandbox, api: SandboxApi
) -> None:
    """Delivered now, they would be in another batch than when the tap sends them again: twice there."""
    lines = [EVENTS, USERS, *(event(n) for n in range(30)), state(at=1)]
    lines += [event(n) for n in range(30, 60)]
    bad = [record("users", uid=None, seats=n) for n in range(40)]
    done = run_target([*lines, *bad, state(at=2)], api_url=sandbox.url, delivery="batch")
    only_error(done, "users", "missing_uid")
    assert bookmarks(done)[-1] == {"at": 1}
    assert len(api.events()) == 30

    corrected = [user(n) for n in range(40)]
    behind = [EVENTS, USERS, *(event(n) for n in range(30, 60)), *corrected, event(60), state(at=2)]
    again = run_target(behind, api_url=sandbox.url, delivery="batch")
    assert again.code == 0, again.stderr
    assert len(api.events()) == 61


def test_it_looks_at_the_end(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    """Before it sends what is left: events behind the last STATE come again."""
    lines = [ORDERS, *(good_order(n) for n in range(5)), state(at=1), *(bad_order(n) for n in range(21))]
    lines += [good_order(n) for n in range(5, 8)]
    done = run_target(lines, api_url=sandbox.url, streams=STREAMS, max_rejected_records=None)
    only_error(done, "orders", "21 of 29")
    assert bookmarks(done)[-1] == {"at": 1}
    assert len(api.events()) == 5


@pytest.mark.parametrize(
    ("good", "bad", "percent", "stops"),
    [
        (0, 19, 50, False),
        (0, 20, 50, True),
        (10, 10, 50, False),
        (9, 11, 50, True),
        (18, 2, 10, False),
        (17, 3, 12.5, True),
        (19, 1, 0, True),
        (0, 20, 100, False),
        (0, 20, None, False),
        (0, 20, -1, False),
    ],
)
def test_how_much_is_too_much(
    good: int, bad: int, percent: float | None, stops: bool, run_target: Run, sandbox: Sandbox
) -> None:
    lines = [USERS, *(user(n) for n in range(good)), *[record("users", uid=None)] * bad, state(at=1)]
    settings = {"api_url": sandbox.url, "max_rejected_percent": percent, "max_rejected_records": None}
    done = run_target(lines, **settings)
    assert done.code == int(stops), done.stderr
    assert bool(done.states) != stops


def test_the_column_is_named() -> None:
    """Whoever rejects names it; here for one that has nothing to do with the mapping."""
    ledger, reasons = Ledger(responses=0), RejectReasons()
    ledger.open_stream("orders", "events")
    ledger.count("orders", received=20)
    for number in range(15):
        column = "items" if number else "seats"
        reasons.add(Reason("orders", "schema_violation", column, "map", own=True, harmless=False))
    with pytest.raises(MostlyRejectedError, match=r"'orders'.*14 of them for schema_violation, column items"):
        RejectionLimit(50, ledger, reasons).check()
    assert not is_beyond(None, 20, 20)


def test_what_fullstory_refuses_counts_before_the_state_is_written(run_target: Run) -> None:
    """Single requests: when the STATE comes none is refused, when it may be written all are."""

    def script(request: Request, number: int) -> Reply:
        return Reply(400, {"code": "invalid_value", "message": "No"})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(40)), state(at=1)]
        done = run_target(lines, api_url=server.url, delivery="single", max_rejected_records=None)
    only_error(done, "users", "40 of 40", "invalid_value")
    assert done.states == []
    assert {reject["stage"] for reject in done.rejects} == {"api"}


def test_what_a_job_refuses_counts_before_a_later_state_is_written(run_target: Run) -> None:
    """The first job has ended when the second is accepted: now the STATE behind both could be written."""
    refused = threading.Event()

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            first = request.json["requests"][0]["uid"] == "u0"
            if not first:
                refused.wait(20)
            return Reply(200, {"job": {"id": "job-1" if first else "job-2", "status": "PROCESSING"}})
        if request.path.split("?")[0].endswith("/errors"):
            threading.Timer(0.3, refused.set).start()
            results = [{"code": "bad_user", "message": "No", "user": {"uid": f"u{n}"}} for n in range(40)]
            return Reply(200, {"results": results, "total_records": "40"})
        if request.path.endswith("job-1"):
            return Reply(200, {"job": {"id": "job-1", "status": "FAILED"}, "imports": 0, "errors": 40})
        return Reply(200, {"job": {"id": "job-2", "status": "COMPLETED"}, "imports": 40, "errors": 0})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(40)), state(at=1), *(user(n) for n in range(40, 80))]
        done = run_target(
            [*lines, state(at=2)],
            api_url=server.url,
            delivery="batch",
            batch_size_rows=40,
            max_rejected_percent=40,
            max_rejected_records=None,
        )
    only_error(done, "users", "40 of 80", "bad_user")
    assert {"at": 2} not in bookmarks(done)
    assert bookmarks(done)[-1] == {"at": 1}
    assert "No STATE behind them" not in done.error_lines[0]
    assert "the next run reads again what came after it" in done.error_lines[0]
    assert done.block["rejects"]["reasons"] == [
        {"stream": "users", "code": "bad_user", "stage": "job", "count": 40}
    ]


def test_what_a_job_refuses_behind_a_state_that_is_written_is_told_so(run_target: Run) -> None:
    """A STATE is written when the job is accepted: the next run does not read these records again."""

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            return Reply(200, {"job": {"id": "job-1", "status": "PROCESSING"}})
        if request.path.split("?")[0].endswith("/errors"):
            results = [{"code": "bad_user", "message": "No", "user": {"uid": f"u{n}"}} for n in range(30)]
            return Reply(200, {"results": results, "total_records": "30"})
        return Reply(200, {"job": {"id": "job-1", "status": "FAILED"}, "imports": 0, "errors": 30})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(30)), state(at=1)]
        done = run_target(lines, api_url=server.url, delivery="batch", max_rejected_records=None)
    only_error(done, "users", "30 of 30", "bad_user", "was written before this was known", "replay")
    assert "No STATE behind them" not in done.error_lines[0]
    assert bookmarks(done)[-1] == {"at": 1}
    assert len(done.rejects) == 30


@pytest.mark.parametrize(("users", "code"), [(30, 1), (19, 0)])
def test_what_an_earlier_run_s_job_refused_fails_the_run_that_learns_of_it(
    users: int, code: int, run_target: Run
) -> None:
    """Nobody waits for the job: the first run is green, and its STATE covers what the job refuses later."""

    def script(request: Request, number: int) -> Reply:
        if request.method == "POST":
            return Reply(200, {"job": {"id": f"job-{number}", "status": "PROCESSING"}})
        if request.path.split("?")[0].endswith("/errors"):
            results = [{"code": "bad_user", "message": "No", "user": {"uid": f"u{n}"}} for n in range(users)]
            return Reply(200, {"results": results, "total_records": str(users)})
        if request.path == "/me":
            return Reply(200, {"role": "ARCHITECT", "orgId": "o"})
        return Reply(200, {"job": {"id": "job", "status": "FAILED"}, "imports": 0, "errors": users})

    settings = {"delivery": "batch", "max_rejected_records": None, "wait_for_jobs": False}
    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(users)), state(at=1)]
        first = run_target(lines, api_url=server.url, **settings)
        second = run_target([USERS, user(99), state(at=2)], api_url=server.url, **settings)
    assert first.code == 0, first.stderr
    assert second.code == code, second.stderr
    if code:
        (job,) = first.block["jobs"]
        only_error(second, f"job {job['id']} of an earlier run", f"{users} of {users}", "'users'", "replay")
        assert "No STATE behind them" not in second.error_lines[0]
    assert bookmarks(second)[-1] == {"at": 2}
    assert len(second.rejects) == users


def test_what_is_over_the_quota_does_not_count(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    """The user wants it held back: the bookmark goes on, and it is replayed later."""
    lines = [EVENTS, *(event(n) for n in range(100)), state(at=1)]
    done = run_target(lines, api_url=sandbox.url, max_events=30, max_rejected_records=None)
    assert done.code == 0, done.stderr
    assert bookmarks(done)[-1] == {"at": 1}
    assert len(api.events()) == 30
    rejects = done.block["rejects"]
    assert rejects["unresolved"] == {"count": 70, "files": [rejects["path"]]}
    # Of the others, all are bad.
    bad = [*(event(n, name=None) for n in range(20)), *(event(n) for n in range(100))]
    done = run_target([EVENTS, *bad, state(at=2)], api_url=sandbox.url, max_events=0)
    only_error(done, "events", "20 of 20", "missing_name")


def test_deletions_that_are_repeated_do_not_stop_every_run(run_target: Run, sandbox: Sandbox) -> None:
    """After a crash the tap sends them again; the users are gone, and will be tomorrow."""
    deletions = schema("user_deletions", {"uid": "string"})
    lines = [deletions, *(record("user_deletions", uid=f"u{n}") for n in range(30)), state(at=1)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    assert "30 records were rejected, more than max_rejected_records" in done.error_lines[0]
    assert bookmarks(done)[-1] == {"at": 1}
    bad = [record("user_deletions", uid=None) for n in range(20)]
    done = run_target([*lines[:-1], *bad, state(at=1)], api_url=sandbox.url)
    only_error(done, "user_deletions", "20 of", "20 of them for missing_uid")
    assert done.states == []


def test_the_environment_turns_it_off(
    sandbox: Sandbox, tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TARGET_FULLSTORY_MAX_REJECTED_PERCENT", "-1")
    (tmp_path / "input.jsonl").write_text(
        "".join(f"{line}\n" for line in [USERS, *[record("users", uid=None)] * 30, state(at=1)])
    )
    load = ["--config", "ENV", "--input", "input.jsonl"]
    config |= {"api_url": sandbox.url, "max_rejected_records": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = executable.start(["--config", "config.json", *load], directory=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_preview_shows_all_and_tells_that_a_load_would_stop(tmp_path: Path, config: dict[str, Any]) -> None:
    lines = [ORDERS, *(bad_order(n) for n in range(1200)), *(good_order(n) for n in range(300)), state(a=1)]
    text = "".join(f"{line}\n" for line in lines)
    done = command(tmp_path, config | {"streams": STREAMS}, "preview", "--records", "1", text=text)
    assert done.code == 1
    assert "orders (events): 1500 records, 300 would be sent, 1200 rejected" in done.stdout
    assert "a load would stop: more than max_rejected_percent (50)" in done.stdout
    assert done.error_lines == []


def test_a_replay_goes_to_its_end(tmp_path: Path, config: dict[str, Any], sandbox: Sandbox) -> None:
    """There is no bookmark to keep, and every record is safe in a file."""
    rejects = tmp_path / "output" / "rejects-r.jsonl"
    rejects.parent.mkdir()
    line = {"stream": "users", "kind": "users", "stage": "map", "code": "c", "message": "m"}
    rejects.write_text("".join(json.dumps(line | {"record": {"uid": None}}) + "\n" for _ in range(1500)))
    done = command(tmp_path, config | {"api_url": sandbox.url}, "replay", str(rejects))
    assert done.code == 1
    assert "1500 records were rejected" in done.error_lines[0]
    assert len(done.rejects) == 1500
    assert not rejects.exists()
    assert rejects.with_name("rejects-r.jsonl.replayed").exists()
