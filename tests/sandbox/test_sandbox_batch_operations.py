"""Batch jobs: accepted at once, done later, answered for item by item."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_a_batch_of_users_is_accepted_then_processed_then_completed(start):
    with start(job_seconds=0.3) as api:
        job = api.post("/v2/users/batch", {"requests": [{"uid": "u1"}, {"uid": "u2"}]})["job"]
        assert job["status"] == "PROCESSING"
        assert set(job) == {"id", "status", "created"}
        path = f"/v2/users/batch/{job['id']}"
        assert api.get(path) == {"imports": 0, "errors": 0, "job": job}
        for results in ("imports", "errors"):
            early = api.call("GET", f"{path}/{results}")
            assert (early.status_code, early.json()) == (202, {})
        assert api.get("/v2/users")["total_records"] == "0"
        status = api.finished("users", job["id"])
        assert (status["imports"], status["errors"]) == (2, 0)
        assert status["job"]["status"] == "COMPLETED"
        assert status["job"]["finished"] > job["created"]
        assert api.get("/v2/users")["total_records"] == "2"


def test_failed_items_are_listed_and_the_good_ones_imported(api):
    items = [
        {"uid": "u1", "properties": {"plan": "pro"}},
        {"uid": "x" * 257},
        {"uid": "u2", "properties": {"bad name": 1}},
        {"id": "12", "email": "a@example.com"},
        {"display_name": "Somebody"},
    ]
    job_id = api.batch("users", items)
    status = api.finished("users", job_id)
    assert (status["imports"], status["errors"], status["job"]["status"]) == (2, 3, "FAILED")
    errors = api.get(f"/v2/users/batch/{job_id}/errors")
    assert errors["total_records"] == "3"
    assert [error["code"] for error in errors["results"]] == [
        "value_too_long",
        "invalid_property_name",
        "user_not_found",
    ]
    assert [error["user"] for error in errors["results"]] == items[1:4]
    assert all(set(error) == {"message", "code", "user"} for error in errors["results"])
    imports = api.get(f"/v2/users/batch/{job_id}/imports")
    assert imports["total_records"] == "2"
    ids = [user.pop("id") for user in imports["results"]]
    assert imports["results"] == [items[0], items[4]]
    assert api.get(f"/v2/users/{ids[0]}")["properties"] == {"plan": "pro"}


def test_a_batch_updates_users_by_id(api):
    user_id = api.post("/v2/users", {"display_name": "Somebody"})["id"]
    api.finished("users", api.batch("users", [{"id": user_id, "uid": "u1"}, {"uid": "u1", "email": "a@b.c"}]))
    assert api.get(f"/v2/users/{user_id}")["email"] == "a@b.c"
    job_id = api.batch("users", [{"id": user_id, "uid": "u2"}])
    assert api.finished("users", job_id)["errors"] == 1
    [error] = api.get(f"/v2/users/batch/{job_id}/errors")["results"]
    assert error["code"] == "uid_immutable"


def test_the_order_inside_a_batch_is_kept(api):
    items = [{"uid": "u1", "properties": {"version": number, f"p{number}": 1}} for number in range(50)]
    api.finished("users", api.batch("users", items))
    [user] = api.get("/v2/users", uid="u1")["results"]
    assert user["properties"] == {"version": 49, **{f"p{number}": 1 for number in range(50)}}


@pytest.mark.parametrize("uid", ["a\0b", "a'b", 'a"b', "é\U0001f600", " ", "1000000001", "%"])
def test_a_uid_may_be_any_text(api, uid):
    user_id = api.post("/v2/users", {"uid": uid})["id"]
    items = [{"uid": uid, "properties": {"seen": number}} for number in range(2)]
    job_id = api.batch("users", items)
    assert api.finished("users", job_id)["errors"] == 0
    api.post("/v2/events", {"name": "Seen", "user": {"uid": uid}})
    assert api.get("/sandbox/events", uid=uid)["results"][0]["user"] == {"id": user_id, "uid": uid}
    assert [user["id"] for user in api.get("/v2/users", uid=uid)["results"]] == [user_id]


def test_a_batch_counts_the_properties_of_a_user_over_its_items(api):
    halves = [{f"{half}{number}": 1 for number in range(250)} for half in "ab"]
    items = [{"uid": "u1", "properties": half} for half in (*halves, {"one_more": 1})]
    job_id = api.batch("users", items)
    api.finished("users", job_id)
    [error] = api.get(f"/v2/users/batch/{job_id}/errors")["results"]
    assert (error["code"], error["user"]) == ("too_many_properties", items[2])


def test_results_are_paged(api):
    items = [{"uid": f"u{number}" if number % 2 else "x" * 257} for number in range(14)]
    job_id = api.batch("users", items)
    api.finished("users", job_id)
    path = f"/v2/users/batch/{job_id}"
    imports, errors = api.pages(f"{path}/imports"), api.pages(f"{path}/errors")
    assert [len(page) for page in imports] == [len(page) for page in errors] == [3, 3, 1]
    assert [user["uid"] for page in imports for user in page] == [item["uid"] for item in items[1::2]]
    token = api.get(f"{path}/imports")["next_page_token"]
    refused = api.refused("GET", f"{path}/errors", params={"page_token": token})
    assert refused == (400, "invalid_page_token")


def test_imports_tell_types_when_asked(api):
    item = {"uid": "u1", "properties": {"seats": 3, "mrr": 1}, "schema": {"properties": {"seats": "int"}}}
    job_id = api.batch("users", [item])
    api.finished("users", job_id)
    path = f"/v2/users/batch/{job_id}/imports"
    [user] = api.get(path, include_schema="true")["results"]
    assert user["schema"] == {"properties": {"seats": "int", "mrr": "real"}}
    [user] = api.get(path)["results"]
    assert "schema" not in user


def test_a_batch_of_events(api):
    api.post("/v2/users", {"uid": "u1"})
    good = {"name": "Seen", "user": {"uid": "u1"}, "session": {"use_most_recent": True}}
    bad = {"name": "Seen", "user": {"uid": "u1"}, "session": {"id": "1:2"}}
    job_id = api.batch("events", [good, bad, {"user": {"uid": "u1"}}])
    status = api.finished("events", job_id)
    assert (status["imports"], status["errors"], status["job"]["status"]) == (1, 2, "FAILED")
    errors = api.get(f"/v2/events/batch/{job_id}/errors")["results"]
    assert [error["code"] for error in errors] == ["conflicting_identity", "required_field"]
    assert errors[0]["event"] == bad
    [imported] = api.get(f"/v2/events/batch/{job_id}/imports")["results"]
    assert imported["name"] == "Seen"
    assert "use_most_recent" not in imported["session"]
    [stored] = api.get("/sandbox/events")["results"]
    assert stored["job_id"] == job_id
    assert stored["timestamp"] == status["job"]["created"]


def test_events_of_a_batch_share_a_context_and_may_not_have_their_own_beside_it(api):
    shared = {"context": {"browser": {"url": "https://example.com"}}}
    plain = {"name": "Plain", "user": {"uid": "u1"}}
    own = {**plain, "context": {"location": {"city": "Oslo"}}}
    job_id = api.batch("events", [plain, own], shared=shared)
    api.finished("events", job_id)
    [error] = api.get(f"/v2/events/batch/{job_id}/errors")["results"]
    assert (error["code"], error["event"]) == ("conflicting_context", own)
    [stored] = api.get("/sandbox/events")["results"]
    assert stored["context"] == shared["context"]
    wrong = {"requests": [plain], "shared": {"context": {"location": {"country": "USA"}}}}
    assert api.refused("POST", "/v2/events/batch", wrong) == (400, "invalid_context")


def test_the_beta_paths_are_the_same_calls(api):
    job_id = api.post("/v2beta/events/batch", {"requests": [{"name": "x", "user": {"uid": "u"}}]})["job"][
        "id"
    ]
    api.finished("events", job_id)
    for suffix in ("", "/imports", "/errors"):
        assert api.get(f"/v2beta/events/batch/{job_id}{suffix}") == api.get(
            f"/v2/events/batch/{job_id}{suffix}"
        )


@pytest.mark.parametrize("kind", ["users", "events"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required_field"),
        ({"requests": []}, "required_field"),
        ({"requests": None}, "invalid_type"),
        ({"requests": {"uid": "u1"}}, "invalid_type"),
        ({"requests": ["u1"]}, "invalid_type"),
        ({"requests": [{}, {"properties": "x"}]}, "invalid_type"),
        ({"requests": [{}, {"something": "x"}]}, "unknown_field"),
        ({"requests": [{}], "something": 1}, "unknown_field"),
        ({"requests": [{}] * 50_001}, "too_many_batch_requests"),
    ],
)
def test_a_batch_that_is_malformed_is_refused_as_a_whole(api, kind, body, code):
    assert api.refused("POST", f"/v2/{kind}/batch", body) == (400, code)
    assert api.get("/sandbox/stats")["jobs"] == 0


def test_an_unknown_job_or_one_of_the_other_kind_is_not_found(api):
    job_id = api.batch("users", [{"uid": "u1"}])
    for path in (f"/v2/events/batch/{job_id}", "/v2/users/batch/nothing"):
        for suffix in ("", "/imports", "/errors"):
            assert api.refused("GET", path + suffix) == (404, "resource_not_found")


def test_200_batches_in_progress_are_the_limit(start):
    with start(job_seconds=3600) as api:
        for number in range(200):
            api.batch("users" if number % 2 else "events", [{"name": "x"} if number % 2 == 0 else {}])
        one_more = api.call("POST", "/v2/users/batch", "key", json={"requests": [{}]})
        assert (one_more.status_code, one_more.json()["code"]) == (429, "too_many_requests")
        assert int(one_more.headers["Retry-After"]) > 0


def test_the_limit_holds_for_batches_that_come_at_the_same_time(start, connect):
    with start(job_seconds=3600) as api:
        api.occupy(9)

        def submit(_):
            batch = {"requests": [{}] * 20_000}
            return connect(api.url).call("POST", "/v2/users/batch", json=batch).status_code

        with ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(submit, range(6)))
        assert sorted(statuses) == [200, 200, 429, 429, 429, 429]


def test_500_000_operations_in_progress_are_the_limit(start):
    with start(job_seconds=3600) as api:
        api.occupy(10)
        assert api.get("/sandbox/stats")["operations_in_progress"] == 500_000
        assert api.refused("POST", "/v2/events/batch", {"requests": [{}]}) == (429, "too_many_requests")


def test_jobs_finish_in_the_order_of_their_creation(start):
    with start(job_seconds=0.2) as api:
        jobs = [api.batch("users", [{"uid": "u1", "properties": {"v": number}}]) for number in range(8)]
        for job_id in jobs:
            api.finished("users", job_id)
        assert api.get("/v2/users", uid="u1")["results"][0]["properties"] == {"v": 7}


def test_shuffled_jobs_show_a_client_that_puts_one_user_into_two_unfinished_jobs(start):
    with start(job_seconds=0.15, shuffle_jobs=True, seed=3) as api:
        for round_number in range(3):
            for job_id in [
                api.batch("users", [{"uid": f"u{round_number}", "properties": {"v": number}}])
                for number in range(8)
            ]:
                api.finished("users", job_id)
        latest = [user["properties"]["v"] for user in api.get("/v2/users")["results"]]
        assert latest != [7, 7, 7]
        # A client that waits for the first job before it submits the second is safe.
        for number in range(2):
            api.finished("users", api.batch("users", [{"uid": "safe", "properties": {"v": number}}]))
        assert api.get("/v2/users", uid="safe")["results"][0]["properties"] == {"v": 1}


def test_50_000_users_are_accepted_quickly_and_others_are_answered_meanwhile(start):
    users = [
        {
            "uid": f"u{number}",
            "email": f"u{number}@example.com",
            "properties": {"seats": number, "x": "y" * 200},
        }
        for number in range(50_000)
    ]
    body = json.dumps({"requests": users}).encode()
    assert len(body) > 14_000_000
    with start(job_seconds=0) as api:
        began = time.monotonic()
        accepted = api.call("POST", "/v2/users/batch", "key", data=body)
        assert accepted.status_code == 200
        assert time.monotonic() - began < 10
        slowest = 0.0
        path = f"/v2/users/batch/{accepted.json()['job']['id']}"
        deadline = time.monotonic() + 30
        while api.get(path)["job"]["status"] == "PROCESSING" and time.monotonic() < deadline:
            began = time.monotonic()
            api.post("/v2/users", {"uid": "meanwhile"})
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.02)
        assert api.get(path)["imports"] == 50_000
        assert slowest < 3
        assert api.get("/sandbox/stats")["users"] == 50_001
