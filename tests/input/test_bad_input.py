"""Every bad input ends in one clear line and exit code 1, all before it delivered and checkpointed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests import executable
from tests.conftest import KEY, USERS, Outcome, SandboxApi, record, schema, state, user
from tests.scripted import Reply, ScriptedServer

Run = Callable[..., Outcome]

BAD_LINES = {
    "not JSON": (b'{"type": "RECO', "Line 4 of the input is not JSON"),
    "not UTF-8": (b'{"type": "RECORD\xff"}', "Line 4 of the input is not JSON"),
    "not an object": (b"[1]", "not an object"),
    "no type": (b'{"stream": "users"}', "no `type`"),
    "unknown type": (b'{"type": "RECROD", "stream": "users"}', "unknown type"),
    "record without a stream": (b'{"type": "RECORD", "record": {}}', "`stream`"),
    "record without a record": (b'{"type": "RECORD", "stream": "users"}', "`record`"),
    "record before its schema": (record("orders", id=1).encode(), "'orders' came before"),
    "schema without a schema": (b'{"type": "SCHEMA", "stream": "a"}', "`schema`"),
    "schema without properties": (
        b'{"type": "SCHEMA", "stream": "a", "schema": {}, "key_properties": []}',
        "`properties`",
    ),
    "schema that is no object": (b'{"type": "SCHEMA", "stream": "a", "schema": true}', "`schema`"),
    "state without a value": (b'{"type": "STATE"}', "`value`"),
    "state that is no object": (b'{"type": "STATE", "value": 7}', "`value`"),
    "nested too deeply": (b'{"type": ' + b"[" * 5000 + b"]" * 5000 + b"}", "Line 4 of the input is nested"),
    "a stream that is no text": (schema("\ud800", {"uid": "string"}).encode(), "`stream`"),
    "a record of a stream that is no text": (record("\ud800", uid="u").encode(), "came before"),
    "a mapping that does not fit": (schema("bad", {"id": "integer"}).encode(), "'nme'"),
    "a stream without a mapping": (schema("orders", {"id": "integer"}).encode(), "no mapping"),
}


@pytest.mark.parametrize(("line", "says"), BAD_LINES.values(), ids=BAD_LINES)
def test_what_came_before_is_delivered_and_checkpointed(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, line: bytes, says: str
) -> None:
    before = "".join(f"{text}\n" for text in (USERS, user(1, email="before@example.com"), state(n=1)))
    data = before.encode() + line + b"\n" + user(2).encode() + b"\n"
    done = run_target(
        data, api_url=sandbox.url, streams={"bad": {"kind": "users", "fields": {"uid": "id", "email": "nme"}}}
    )
    assert done.code == 1
    assert len(done.error_lines) == 1, done.stderr
    assert says in done.error_lines[0]
    assert "before@example.com" not in done.stderr
    assert done.states[-1]["bookmarks"] == {"n": 1}
    assert done.block["streams"]["users"]["delivered"] == 1
    assert int(api.get("/v2/users")["total_records"]) == 1


def test_a_line_that_does_not_end(run_target: Run, sandbox: Sandbox) -> None:
    before = "".join(f"{text}\n" for text in (USERS, user(1), state(n=1))).encode()
    done = run_target(before + b'{"' + b"x" * (65 << 20), api_url=sandbox.url)
    assert done.code == 1
    assert "longer than" in done.error_lines[0]
    assert done.states[-1]["bookmarks"] == {"n": 1}


def test_blank_lines_and_carriage_returns_are_nothing(run_target: Run, sandbox: Sandbox) -> None:
    data = "\r\n".join([USERS, "", user(1), "   ", state(n=1)]).encode()
    assert run_target(data, api_url=sandbox.url).code == 0


def test_no_input_at_all(run_target: Run, sandbox: Sandbox) -> None:
    done = run_target(b"", api_url=sandbox.url)
    assert (done.code, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"api_key": None}, "api_key is missing"),
        ({"api_key": 12345678}, "api_key is to be a string"),
        ({"batch_size_rows": 60_000}, "batch_size_rows"),
        ({"delivery": "both"}, "delivery"),
        ({"streams": {"a": {"kind": "usres"}}}, "users"),
        ({"api_url": "http://example.com"}, "plain http"),
    ],
)
def test_a_mistaken_configuration(
    run_target: Run, sandbox: Sandbox, settings: dict[str, Any], says: str
) -> None:
    done = run_target([USERS, user(1), state(n=1)], **({"api_url": sandbox.url} | settings))
    assert (done.code, done.stdout) == (1, "")
    assert len(done.error_lines) == 1, done.stderr
    assert says in done.error_lines[0]
    assert "12345678" not in done.stderr


def test_a_key_that_fullstory_does_not_know(run_target: Run) -> None:
    with Sandbox(SandboxOptions(api_key="another")) as strict:
        done = run_target([USERS, user(1), state(n=1)], api_url=strict.url)
    assert (done.code, done.stdout) == (1, "")
    assert len(done.error_lines) == 1
    assert "does not accept the API key" in done.error_lines[0]
    assert KEY not in done.stderr


def test_a_key_that_may_not_read_jobs(run_target: Run) -> None:
    lines = [USERS, *(user(n) for n in range(30)), state(n=1)]
    with Sandbox(SandboxOptions(role="USER", job_seconds=0.05)) as standard:
        done = run_target(lines, api_url=standard.url)
        assert done.code == 1
        assert "Admin or Architect" in done.error_lines[-1]
        assert done.states[-1]["bookmarks"] == {"n": 1}, "the batch was accepted"
        done = run_target(lines, api_url=standard.url, wait_for_jobs=False)
        assert done.code == 0, done.stderr
        assert done.block["jobs"][0]["status"] == "PROCESSING"
        assert run_target(lines, api_url=standard.url, delivery="single").code == 0


def test_the_records_that_spoil_a_batch_are_found_by_halving(run_target: Run) -> None:
    """A whole-batch 400 names no record; the halves tell which one it was."""
    jobs: dict[str, int] = {}

    def script(request: Any, number: int) -> Reply:
        if request.method == "GET":
            job = {"id": request.path.rsplit("/", 1)[1], "status": "COMPLETED"}
            return Reply(200, {"job": job, "imports": jobs[job["id"]], "errors": 0})
        requests = request.json["requests"]
        if any(item["uid"] in {"u7", "u90"} for item in requests):
            return Reply(400, {"code": "spoilt", "message": "something in here"})
        jobs[f"j{number}"] = len(requests)
        return Reply(200, {"job": {"id": f"j{number}", "status": "PROCESSING"}})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(100)), state(n=1)]
        done = run_target(lines, api_url=server.url, delivery="batch")
    assert done.code == 1
    assert [(r["code"], r["request"]["uid"], r["stage"]) for r in done.rejects] == [
        ("spoilt", "u7", "api"),
        ("spoilt", "u90", "api"),
    ]
    assert sum(jobs.values()) == 98
    counts = done.block["streams"]["users"]
    assert (counts["delivered"], counts["rejected"]) == (98, 2)
    assert done.states[-1]["bookmarks"] == {"n": 1}


def test_a_413_halves_the_limit_for_the_run(run_target: Run) -> None:
    sizes: list[tuple[int, int]] = []
    jobs: dict[str, int] = {}

    def script(request: Any, number: int) -> Reply:
        if request.method == "GET":
            job = {"id": request.path.rsplit("/", 1)[1], "status": "COMPLETED"}
            return Reply(200, {"job": job, "imports": jobs[job["id"]], "errors": 0})
        if len(request.body) > 3000:
            sizes.append((len(request.body), 413))
            return Reply(413, b"<html>Request Entity Too Large</html>")
        sizes.append((len(request.body), 200))
        jobs[f"j{number}"] = len(request.json["requests"])
        return Reply(200, {"job": {"id": f"j{number}", "status": "PROCESSING"}})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n, email="x" * 100) for n in range(300)), state(n=1)]
        done = run_target(lines, api_url=server.url, delivery="batch", max_batch_bytes=10_000, concurrency=1)
    assert done.code == 0, done.stderr
    refused = [size for size, status in sizes if status == 413]
    assert 1 <= len(refused) <= 3, "the limit holds for the rest of the run"
    assert done.block["streams"]["users"]["delivered"] == 300


def test_a_record_too_large_for_the_api_is_rejected_alone(run_target: Run) -> None:
    def script(request: Any, _: int) -> Reply:
        if len(request.body) > 5000:
            return Reply(413, {"code": "too_large", "message": "no"})
        return Reply(200, {"id": "1"})

    columns = {"uid": "string", **{f"c{n}": "string" for n in range(3)}}
    with ScriptedServer(script) as server:
        lines = [
            schema("users", columns, ["uid"]),
            user(1, c0="x" * 3000, c1="x" * 3000),
            user(2),
            state(n=1),
        ]
        done = run_target(lines, api_url=server.url)
    assert [reject["code"] for reject in done.rejects] == ["request_too_large"]
    assert done.block["streams"]["users"]["delivered"] == 1


def test_numbers_that_only_python_writes(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    lines = [
        schema("users", {"uid": "string", "a": "number", "b": "number", "c": "number"}, ["uid"]),
        '{"type": "RECORD", "stream": "users", "record": {"uid": "u1", "a": NaN, "b": Infinity, "c": 1}}',
        state(n=1),
    ]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 0, done.stderr
    assert api.user("u1")["properties"] == {"c": 1}
    assert done.block["streams"]["users"]["dropped_properties"] == {"a": 1, "b": 1}


def test_half_a_surrogate_pair(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    lines = [
        schema("users", {"uid": "string", "note": "string", "plan": "string"}, ["uid"]),
        '{"type":"RECORD","stream":"users","record":{"uid":"u1","note":"\\ud800","plan":"pro"}}',
        '{"type":"RECORD","stream":"users","record":{"uid":"\\ud800","plan":"pro"}}',
        state(n=1),
    ]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    assert api.user("u1")["properties"] == {"plan": "pro"}
    assert [reject["code"] for reject in done.rejects] == ["missing_uid"]


@pytest.mark.parametrize(("content", "says"), [(None, "config.json"), ("{", "not JSON")])
def test_a_configuration_file_that_cannot_be_read(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    done = executable.fork(["--config", str(path)], directory=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
