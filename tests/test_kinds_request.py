"""Kind `request`: any other call of the Server API."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, SandboxApi, record, schema, state
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

COLUMNS = {"id": "string", "name": "string", "team": "string", "parts": {}}
THINGS = schema("things", COLUMNS, ["id"])


def thing(**columns: Any) -> str:
    return record("things", **columns)


def things(**mapping: Any) -> dict[str, Any]:
    return {"things": {"kind": "request", "method": "POST", "path": "/v2/things"} | mapping}


def accept(request: Request, number: int) -> Reply:
    return Reply(200, {"id": "1"})


def load(
    run_target: Callable[..., Outcome], lines: list[str], script: Any = accept, **settings: Any
) -> tuple[Outcome, list[Request]]:
    with ScriptedServer(script) as server:
        outcome = run_target([THINGS, *lines, state(done=True)], api_url=server.url, **settings)
    return outcome, server.requests


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "get"])
def test_every_method(method: str, run_target: Callable[..., Outcome]) -> None:
    mapping = things(method=method, path="/v2/things/{id}?dry=1")
    lines = [thing(id="1", name="n", parts={"a": [1, None, {"b": 2.5}]}, _sdc_sequence=4)]
    outcome, (request,) = load(run_target, lines, streams=mapping)
    assert outcome.code == 0, outcome.stderr
    assert (request.method, request.path) == (method.upper(), "/v2/things/1?dry=1")
    if method in {"DELETE", "get"}:
        assert request.body == b""
    else:
        assert request.json == {"name": "n", "parts": {"a": [1, None, {"b": 2.5}]}}
    assert (request.key is not None) == (method == "POST")
    assert outcome.block["responses"] == [
        {
            "stream": "things",
            "kind": "request",
            "status": 200,
            "method": method.upper(),
            "path": "/v2/things/1?dry=1",
        }
    ]
    assert outcome.block["streams"]["things"]["delivered"] == 1


def test_a_delete_with_a_body_where_it_is_asked_for(run_target: Callable[..., Outcome]) -> None:
    mapping = things(method="DELETE", properties=["name"])
    _, (request,) = load(run_target, [thing(id="1", name="n")], streams=mapping)
    assert request.json == {"name": "n"}


def test_values_in_the_path_are_encoded(run_target: Callable[..., Outcome]) -> None:
    ids = ["a/b", "c d", "é", "a?b#c", "..a", "%2e%2e", "x&y=1", "a\\b", "a\nb"]
    mapping = things(path="/v2/things/{id}/x?name={id}")
    outcome, requests = load(run_target, [thing(id=one) for one in ids], streams=mapping)
    assert outcome.code == 0, outcome.stderr
    encoded = ["a%2Fb", "c%20d", "%C3%A9", "a%3Fb%23c", "..a", "%252e%252e", "x%26y%3D1"]
    encoded += ["a%5Cb", "a%0Ab"]
    assert [one.path for one in requests] == [f"/v2/things/{id_}/x?name={id_}" for id_ in encoded]


def test_values_that_no_path_can_hold(run_target: Callable[..., Outcome]) -> None:
    values = [".", "..", "", None, {"a": 1}, "fine"]
    mapping = things(path="/v2/things/{parts}")
    outcome, requests = load(run_target, [thing(id="1", parts=one) for one in values], streams=mapping)
    assert outcome.code == 1
    assert [one.path for one in requests] == ["/v2/things/fine"]
    codes = [one["code"] for one in outcome.rejects]
    assert codes == ["invalid_path"] * 2 + ["missing_path_value"] * 3
    assert outcome.states[-1]["bookmarks"] == {"done": True}


def test_method_and_path_of_the_record(run_target: Callable[..., Outcome]) -> None:
    mapping = {"things": {"kind": "request", "fields": {"method": "name", "path": "team"}}}
    lines = [
        thing(id="1", name="delete", team="/v2/things/1"),
        thing(id="2", name="Put", team="/v2/things/é b"),
        *(
            thing(id="3", name="PUT", team=path)
            for path in (
                *("//evil.example/x", "https://evil.example", "v2/x", "/a/../b", "/a/%2E%2e/b"),
                *("/a\\b", "/a#b", "/a\tb", "/a//b", "/a/..%2fb", 7),
            )
        ),
        thing(id="4", name="PUT"),
        thing(id="5", name="TRACE", team="/v2/x"),
        thing(id="6", team="/v2/x"),
    ]
    outcome, requests = load(run_target, lines, streams=mapping, validate_records=False)
    assert [(one.method, one.path) for one in requests] == [
        ("DELETE", "/v2/things/1"),
        ("PUT", "/v2/things/%C3%A9%20b"),
    ]
    assert requests[1].json == {"id": "2"}
    codes = [one["code"] for one in outcome.rejects]
    assert codes == ["invalid_path"] * 11 + ["missing_path_value"] + ["invalid_method"] * 2


def test_columns_named_method_and_path_need_no_mapping(run_target: Callable[..., Outcome]) -> None:
    lines = [
        schema("calls", {"method": "string", "path": "string", "note": "string"}),
        record("calls", method="put", path="/v2/a?b=1", note="n"),
        record("calls", method="put", path="//evil.example", note="n"),
        record("calls", method="POST", path="/v2/{note}", note="n"),
    ]
    outcome, requests = load(
        run_target,
        lines,
        streams={"calls": {"kind": "request"}},
        unmapped_streams="ignore",
        max_rejected_records=1,
    )
    assert outcome.code == 0, outcome.stderr
    assert [(one.method, one.path, one.json) for one in requests] == [
        ("PUT", "/v2/a?b=1", {"note": "n"}),
        ("POST", "/v2/%7Bnote%7D", {"note": "n"}),
    ]
    assert [one["code"] for one in outcome.rejects] == ["invalid_path"]


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"path": "https://evil.example/v2"}, "streams.things.path"),
        ({"path": "//evil.example/v2"}, "two slashes"),
        ({"path": "/v2/../admin"}, "a step . or .."),
        ({"path": "/v2/{ids}"}, "did you mean 'id'?"),
        ({"path": "/v2/{id"}, "unmatched '{'"),
        ({"path": None}, "streams.things.path: kind 'request' needs a path, and the SCHEMA"),
        ({"path": ""}, "streams.things.path"),
        ({"method": "POTS"}, "did you mean 'POST'?"),
        ({"method": None}, "streams.things.method: kind 'request' needs a method, and the SCHEMA"),
        ({"method": ""}, "streams.things.method"),
        ({"fields": {"path": "team"}}, "contradicts fields.path"),
        ({"fields": {"body": "team"}}, "streams.things.fields.body"),
        ({"batch": {"sise": 3}}, "streams.things.batch.sise is no key of batch; did you mean 'size'?"),
        ({"batch": {"size": 0}}, "streams.things.batch.size"),
        ({"batch": {"group_by": "temas"}}, "did you mean 'team'?"),
        ({"method": "GET", "batch": {}}, "a GET has no body"),
        ({"properties": {"a": "id", "a.b": "team"}}, "the whole or its parts"),
        ({"exclude": ["nmae"]}, "did you mean 'name'?"),
        ({"kind": "users"}, "only kind 'request' has this key"),
    ],
)
def test_mistakes_end_the_run_before_anything_is_sent(
    mapping: dict[str, Any], said: str, run_target: Callable[..., Outcome]
) -> None:
    full = things(**mapping)
    full["things"] = {key: value for key, value in full["things"].items() if value is not None}
    outcome, requests = load(run_target, [thing(id="1")], streams=full)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert said in line
    assert not requests
    assert not outcome.stdout


def test_keys_split_at_their_dots_and_streams_named_like_keys(run_target: Callable[..., Outcome]) -> None:
    mapping = {
        "public": {
            "path": {
                "kind": "request",
                "method": "POST",
                "path": "/v2/things/{id}",
                "properties": {"user": {"uid": "id"}, "name": "name"},
            }
        }
    }
    stream = "public.path"
    with ScriptedServer(accept) as server:
        outcome = run_target(
            [schema(stream, COLUMNS, ["id"]), record(stream, id="1", name="n"), state(done=True)],
            api_url=server.url,
            streams=mapping,
        )
    assert outcome.code == 0, outcome.stderr
    (request,) = server.requests
    assert (request.path, request.json) == ("/v2/things/1", {"user": {"uid": "1"}, "name": "n"})


def test_what_json_cannot_hold_is_left_out_and_counted(run_target: Callable[..., Outcome]) -> None:
    line = '{"type":"RECORD","stream":"things","record":{"id":"1","parts":{"a":NaN,"b":[1,Infinity]}}}'
    outcome, (request,) = load(run_target, [line], streams=things())
    assert outcome.code == 0, outcome.stderr
    assert request.json == {"id": "1", "parts": {}}
    dropped = outcome.block["streams"]["things"]["dropped_properties"]
    assert dropped == {"parts.a": 1, "parts.b": 1}


# Shared requests


def test_records_share_requests_in_the_order_received(run_target: Callable[..., Outcome]) -> None:
    mapping = things(path="/v2/{team}/things", batch={"size": 3, "key": "items"})
    teams = ["a", "a", "a", "a", "b", "a"]
    lines = [thing(id=str(number), team=team) for number, team in enumerate(teams)]
    outcome, requests = load(run_target, lines, streams=mapping)
    assert outcome.code == 0, outcome.stderr
    assert [(one.path, [item["id"] for item in one.json["items"]]) for one in requests] == [
        ("/v2/a/things", ["0", "1", "2"]),
        ("/v2/a/things", ["3"]),
        ("/v2/b/things", ["4"]),
        ("/v2/a/things", ["5"]),
    ]
    assert len(outcome.block["responses"]) == 4
    assert outcome.block["streams"]["things"]["delivered"] == 6


def test_records_are_grouped_where_asked(run_target: Callable[..., Outcome]) -> None:
    mapping = things(batch={"size": 2, "group_by": "team"})
    teams = ["a", "b", "a", None, "a", "b", None]
    lines = [thing(id=str(number), team=team) for number, team in enumerate(teams)]
    _, requests = load(run_target, lines, streams=mapping)
    sent = [[item["id"] for item in one.json["requests"]] for one in requests]
    assert sent == [["0", "2"], ["1", "5"], ["3", "6"], ["4"]]
    assert requests[0].json["requests"][0] == {"id": "0", "team": "a"}


def test_too_large_a_request_goes_in_halves(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(413 if len(request.json["requests"]) > 2 else 200, {})

    lines = [thing(id=str(number)) for number in range(5)]
    outcome, requests = load(run_target, lines, script, streams=things(batch={"size": 5}))
    assert outcome.code == 0, outcome.stderr
    sent = [[item["id"] for item in one.json["requests"]] for one in requests]
    assert sent == [["0", "1", "2", "3", "4"], ["0", "1"], ["2", "3", "4"], ["2"], ["3", "4"]]
    assert outcome.block["streams"]["things"]["delivered"] == 5


def test_bodies_stay_within_the_limit(run_target: Callable[..., Outcome]) -> None:
    lines = [thing(id=str(number), name="x" * 300) for number in range(10)]
    outcome, requests = load(run_target, lines, streams=things(batch={}), max_batch_bytes=1024)
    assert outcome.code == 0
    assert all(len(one.body) <= 1024 for one in requests)
    assert [len(one.json["requests"]) for one in requests] == [2] * 5


@pytest.mark.parametrize("status", [400, 402, 404, 405, 410, 415, 422])
def test_a_refusal_rejects_its_records_alone(status: int, run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        refused = any(item["id"] == "2" for item in request.json["requests"])
        return Reply(status, {"code": "no_such", "message": "no"}) if refused else Reply()

    lines = [thing(id=str(number)) for number in range(6)]
    outcome, _ = load(run_target, lines, script, streams=things(batch={"size": 2}), max_rejected_records=2)
    assert outcome.code == 0, outcome.stderr
    assert [one["request"] for one in outcome.rejects] == [
        {"method": "POST", "path": "/v2/things", "body": {"requests": [{"id": number}]}}
        for number in ("2", "3")
    ]
    assert {one["code"] for one in outcome.rejects} == {"no_such"}
    assert outcome.block["streams"]["things"]["delivered"] == 4
    assert [one.get("code") for one in outcome.block["responses"]] == [None, "no_such", None]
    assert outcome.states[-1]["bookmarks"] == {"done": True}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, {}), "does not accept the API key"),
        (Reply(403, {}), "does not allow POST of stream 'things' (403)"),
        (Reply(408, {}), "Fullstory answered 408"),
    ],
    ids=["401", "403", "408"],
)
def test_what_concerns_more_ends_the_run(reply: Reply, said: str, run_target: Callable[..., Outcome]) -> None:
    mapping = things(path="/v2/things/{id}")
    lines = [thing(id="private-7")]
    outcome, _ = load(run_target, lines, lambda *_: reply, streams=mapping, retry_max_seconds=1)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert said in line
    assert "private-7" not in outcome.stderr
    assert not outcome.stdout


@pytest.mark.parametrize("body", [b"", b"[]", b'"done"', b"OK", b"\xff{"])
def test_any_body_is_an_answer(body: bytes, run_target: Callable[..., Outcome]) -> None:
    outcome, requests = load(run_target, [thing(id="1")], lambda *_: Reply(201, body), streams=things())
    assert outcome.code == 0, outcome.stderr
    assert len(requests) == 1
    assert outcome.block["streams"]["things"]["delivered"] == 1


@pytest.mark.parametrize("status", [302, 304, 307])
def test_a_redirect_rejects_that_record_alone(status: int, run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        elsewhere = Reply(status, b"", {"Location": "http://127.0.0.1:9/"})
        return elsewhere if request.path == "/v2/things/2" else Reply()

    outcome, requests = load(
        run_target,
        [thing(id=str(number)) for number in range(4)],
        script,
        streams=things(path="/v2/things/{id}"),
        max_rejected_records=1,
    )
    assert outcome.code == 0, outcome.stderr
    assert len(requests) == 4
    (rejected,) = outcome.rejects
    assert (rejected["code"], rejected["stage"]) == (f"http_{status}", "api")
    assert rejected["request"]["path"] == "/v2/things/2"
    assert outcome.block["streams"]["things"]["delivered"] == 3
    assert outcome.states[-1]["bookmarks"] == {"done": True}


def test_a_retry_keeps_its_key(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(fault="reset") if number == 0 else Reply(204, b"")

    outcome, requests = load(run_target, [thing(id="1"), thing(id="2")], script, streams=things())
    assert outcome.code == 0, outcome.stderr
    first, again, other = requests
    assert first.key == again.key != other.key


# Order


class Series:
    """Answers slowly, and notes requests of a stream that meet each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[str, str] = {}
        self.met: list[str] = []
        self.together = False

    def __call__(self, request: Request, number: int) -> Reply:
        stream = request.path
        with self._lock:
            if stream in self._busy:
                self.met.append(stream)
            self._busy[stream] = stream
            self.together |= len(self._busy) > 1
        time.sleep(0.02)
        with self._lock:
            del self._busy[stream]
        return Reply(200, {})


def test_one_after_the_other_within_a_stream(run_target: Callable[..., Outcome]) -> None:
    streams = things() | {"others": {"kind": "request", "method": "POST", "path": "/v2/others"}}
    lines = [schema("others", {"id": "string"})]
    for number in range(30):
        lines += [thing(id=str(number)), record("others", id=str(number))]
    series = Series()
    outcome, requests = load(run_target, lines, series, streams=streams, batch_size_rows=7)
    assert outcome.code == 0, outcome.stderr
    assert not series.met
    assert series.together
    for path in ("/v2/things", "/v2/others"):
        ids = [one.json["id"] for one in requests if one.path == path]
        assert ids == [str(number) for number in range(30)]


def test_users_received_before_are_in_first(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    """An update by Fullstory's id finds the user, though its job takes a while."""
    users = schema("users", {"uid": "string"}, ["uid"])
    run_target([users, record("users", uid="a")], api_url=sandbox.url)
    (one,) = api.get("/v2/users")["results"]
    outcome = run_target(
        [
            *(users, THINGS),
            record("users", uid="a", plan="free"),
            thing(id=one["id"], parts={"plan": "pro"}),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams=things(path="/v2/users/{id}", properties={"properties": "parts"}),
        delivery="batch",
    )
    assert outcome.code == 0, outcome.stderr
    assert api.user("a")["properties"] == {"plan": "pro"}


def test_users_are_sent_before_the_calls_of_a_state(run_target: Callable[..., Outcome]) -> None:
    """The calls leave in the midst of the input, while the users received before them are still open."""
    lines = [schema("users", {"uid": "string"}, ["uid"]), record("users", uid="a")]
    lines += [thing(id=str(number)) for number in range(100)]
    outcome, requests = load(run_target, lines, streams=things())
    assert outcome.code == 0, outcome.stderr
    assert [one.path for one in requests] == ["/v2/users"] + ["/v2/things"] * 100


def test_after_a_signal_no_call_is_sent_twice(config: dict[str, Any], tmp_path: Path) -> None:
    """What came after the last STATE is left to the next run, which reads it again."""
    with ScriptedServer(accept) as server:
        settings = {"api_url": server.url, "streams": things()}
        with Live(config | settings, tmp_path) as live:
            live.feed(THINGS, thing(id="1"), state(at=1), thing(id="2"))
            live.wait_until_read()
            live.process.send_signal(signal.SIGTERM)
            assert live.end() == 0
            assert live.bookmarks[-1] == {"at": 1}
            counts = live.block["streams"]["things"]
    assert counts["received"] == counts["delivered"] == 1
    assert [one.json["id"] for one in server.requests] == ["1"]


def test_a_long_series_stops_in_its_midst(config: dict[str, Any], tmp_path: Path) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(200, {}, delay=0.05)

    with ScriptedServer(script) as server:
        settings = {"api_url": server.url, "streams": things(), "batch_size_rows": 500}
        with Live(config | settings, tmp_path, grace=0.5) as live:
            live.feed(THINGS, state(at=0), *(thing(id=str(n)) for n in range(500)), state(at=1))
            live.wait_for(lambda: len(server.requests) > 3)
            live.process.send_signal(signal.SIGTERM)
            assert live.end() == 0
            assert live.bookmarks[-1] == {"at": 0}
            counts = live.block["streams"]["things"]
        sent = len(server.requests)
    assert sent < 400
    assert counts["delivered"] in {0, sent, sent - 1}


def test_a_state_need_not_wait_for_a_full_batch(config: dict[str, Any], tmp_path: Path) -> None:
    """Calls cannot be recognised when they are repeated: a STATE follows soon."""
    with ScriptedServer(accept) as server:
        settings = {"api_url": server.url, "streams": things()}
        with Live(config | settings, tmp_path) as live:
            live.feed(THINGS, *(thing(id=str(n)) for n in range(100)), state(at=1))
            live.wait_for(lambda: live.states)
            assert live.bookmarks == [{"at": 1}]
            live.close_input()
            assert live.end() == 0
    assert len(server.requests) == 100


def test_a_run_that_fails_stops_its_other_series(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        return Reply(401, {}) if request.path == "/v2/others" else Reply(200, {}, delay=0.05)

    streams = things() | {"others": {"kind": "request", "method": "POST", "path": "/v2/others"}}
    lines = [schema("others", {"id": "string"}), *(thing(id=str(n)) for n in range(300))]
    began = time.monotonic()
    outcome, requests = load(run_target, [*lines, record("others", id="1")], script, streams=streams)
    assert outcome.code == 1
    assert len(requests) < 200
    assert time.monotonic() - began < 12
    assert not outcome.stdout
