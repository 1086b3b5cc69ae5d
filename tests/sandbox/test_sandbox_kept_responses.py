"""Idempotency keys: a request with one has its effect once, whatever happens to its answers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from target_fullstory.sandbox.http.kept_responses import KeptResponses
from target_fullstory.sandbox.operations.calls_and_responses import ApiResponse, Call, refusal
from target_fullstory.sandbox.rules.refusals import ApiError
from target_fullstory.sandbox.store.database import Database

EVENT = {"name": "Seen", "user": {"uid": "u1"}}


@pytest.mark.parametrize(
    ("path", "body", "counted"),
    [
        ("/v2/users", {"display_name": "Somebody"}, "users"),
        ("/v2/events", EVENT, "events"),
        ("/v2/users/batch", {"requests": [{"uid": "u1"}]}, "jobs"),
        ("/v2/events/batch", {"requests": [EVENT]}, "jobs"),
    ],
)
def test_the_first_answer_is_given_again(api, path, body, counted):
    answers = [api.post(path, body, key="k") for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert api.get("/sandbox/stats")[counted] == 1
    api.post(path, body, key="another")
    assert api.get("/sandbox/stats")[counted] == 2
    log = api.get("/sandbox/requests")["results"]
    assert [entry["replayed"] for entry in log] == [False, True, True, False]


def test_without_a_key_every_request_counts(api):
    for _ in range(2):
        api.post("/v2/events", EVENT)
    assert api.get("/sandbox/events")["total"] == 2


def test_the_same_key_with_another_request_is_refused(api):
    api.post("/v2/users", {"uid": "u1"}, key="k")
    reused = (400, "idempotency_key_reused")
    assert api.refused("POST", "/v2/users", {"uid": "u2"}, key="k") == reused
    assert api.refused("POST", "/v2/events", {"uid": "u1"}, key="k") == reused
    assert api.post("/v2/users", {"uid": "u1"}, key="k")


def test_both_versions_of_a_path_are_the_same_request(api):
    first = api.post("/v2/users", {"display_name": "x"}, key="k")
    assert api.post("/v2beta/users", {"display_name": "x"}, key="k") == first


def test_a_refusal_is_kept_too(api):
    refused = (404, "user_not_found")
    event = {"name": "Seen", "user": {"id": "1000000001"}}
    assert api.refused("POST", "/v2/events", event, key="k") == refused
    assert api.refused("POST", "/v2/events", event, key="k") == refused
    log = api.get("/sandbox/requests")["results"]
    assert [entry["replayed"] for entry in log] == [False, True]


def test_other_calls_take_no_notice_of_a_key(api):
    user_id = api.post("/v2/users", {"uid": "u1"})["id"]
    for name in ("Ann", "Bob"):
        api.post(f"/v2/users/{user_id}", {"display_name": name}, key="k")
    assert api.get(f"/v2/users/{user_id}")["display_name"] == "Bob"


def test_too_many_requests_is_not_kept(start):
    with start(job_seconds=3600) as api:
        api.occupy(10)
        batch = {"requests": [{"uid": "u1"}]}
        assert api.refused("POST", "/v2/users/batch", batch, key="k")[0] == 429
        assert api.refused("POST", "/v2/users/batch", batch, key="k")[0] == 429
        log = api.get("/sandbox/requests")["results"]
        assert [entry["replayed"] for entry in log[-2:]] == [False, False]


def test_requests_at_the_same_time_with_one_key_have_one_effect(api, connect):
    def create(_):
        response = connect(api.url).call("POST", "/v2/users", "k", json={"display_name": "Somebody"})
        return response.status_code, response.json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(40)))
    assert {status for status, _ in answers} <= {200, 409}
    assert {body["code"] for status, body in answers if status == 409} <= {"idempotency_conflict"}
    assert len({body["id"] for status, body in answers if status == 200}) == 1
    assert api.get("/sandbox/stats")["users"] == 1


def call(body=b"{}", key="k"):
    return Call("POST", "/v2/users", {}, {}, body, key)


def test_while_the_first_request_still_runs_the_second_is_a_conflict_and_nothing_is_kept():
    running, go_on = threading.Event(), threading.Event()

    def plan(_):
        running.set()
        assert go_on.wait(10)
        return lambda: ApiResponse(200, b"{}")

    handler = KeptResponses(Database(None)).guard(plan)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(handler, call())
        assert running.wait(10)
        with pytest.raises(ApiError) as conflict:
            handler(call())
        assert (conflict.value.status, conflict.value.code) == (409, "idempotency_conflict")
        go_on.set()
        assert first.result(10).replayed is False
    assert handler(call()).replayed is True


@pytest.mark.parametrize(
    ("status", "kept"),
    [(200, True), (400, True), (404, True), (500, True), (429, False), (502, False), (503, False)],
)
def test_what_is_kept_depends_on_the_status(status, kept):
    handler = KeptResponses(Database(None)).guard(
        lambda _: lambda: refusal(ApiError(status, "some_code", "Some message"))
    )
    assert [handler(call()).replayed for _ in range(2)] == [False, kept]


def test_an_answer_is_kept_for_24_hours():
    now = [0.0]
    handler = KeptResponses(Database(None), clock=lambda: now[0]).guard(
        lambda _: lambda: ApiResponse(200, b"{}")
    )
    replayed = []
    for hours in (0, 23.9, 24.1, 30):
        now[0] = hours * 3600
        replayed.append(handler(call()).replayed)
    assert replayed == [False, True, False, True]


def test_an_effect_and_its_kept_answer_are_stored_together():
    database = Database(None)
    keys = KeptResponses(database)

    def broken(_):
        def perform():
            database.write("INSERT INTO events (name, received, body) VALUES ('x', '', '')")
            raise ZeroDivisionError

        return perform

    with pytest.raises(ZeroDivisionError):
        keys.guard(broken)(call())
    assert database.number("SELECT COUNT(*) FROM events") == 0
    assert database.number("SELECT COUNT(*) FROM idempotency") == 0
