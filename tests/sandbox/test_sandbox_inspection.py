"""Looking into the sandbox, and starting over."""

from __future__ import annotations


def test_events_are_filtered_limited_and_paged(api):
    for number in range(5):
        api.post("/v2/events", {"name": f"n{number % 2}", "user": {"uid": f"u{number % 3}"}})
    page = api.get("/sandbox/events", limit=2)
    assert (len(page["results"]), page["total"]) == (2, 5)
    pages = api.pages("/sandbox/events", limit=2)
    assert [event["seq"] for page in pages for event in page] == sorted(
        event["seq"] for page in pages for event in page
    )
    assert [len(page) for page in pages] == [2, 2, 1]
    assert api.get("/sandbox/events", uid="u0")["total"] == 2
    assert api.get("/sandbox/events", uid="u0", name="n1")["total"] == 1
    refused = api.refused("GET", "/sandbox/events", params={"limit": 0})
    assert refused == (400, "invalid_parameter")


def test_requests_are_logged_without_the_key(api):
    headers = {"Integration-Source": "some-integration", "User-Agent": "some-client"}
    api.session.headers.update(headers)
    api.post("/v2/users", {"uid": "u1"}, key="k1")
    api.refused("GET", "/v2/users/1", params={"include_schema": "true"})
    log = api.get("/sandbox/requests")
    assert log["total"] == 2
    first, second = log["results"]
    assert first.pop("at") <= second.pop("at")
    assert first == {
        "method": "POST",
        "path": "/v2/users",
        "query": "",
        "status": 200,
        "bytes": len(b'{"uid": "u1"}'),
        "idempotency_key": "k1",
        "replayed": False,
        "integration_source": "some-integration",
        "user_agent": "some-client",
        "content_type": "application/json",
        "fault": None,
    }
    assert (second["status"], second["query"]) == (404, "include_schema=true")
    assert "any-key" not in str(log)
    assert [entry["status"] for entry in api.get("/sandbox/requests", limit=1)["results"]] == [404]


def test_it_needs_no_key(api, connect):
    stranger = connect(api.url, authorization=None)
    for path in ("/sandbox/stats", "/sandbox/events", "/sandbox/requests"):
        assert stranger.get(path)


def test_stats_count(api):
    api.post("/v2/users", {"uid": "u1"})
    api.post("/v2/events", {"name": "Seen", "user": {"uid": "u1"}})
    api.finished("users", api.batch("users", [{"uid": "u2"}]))
    stats = api.get("/sandbox/stats")
    assert stats.pop("requests") > 3
    assert stats == {
        "users": 2,
        "events": 1,
        "jobs": 1,
        "jobs_in_progress": 0,
        "operations_in_progress": 0,
        "dropped_properties": 0,
        "faults": {},
    }


def test_reset_forgets_everything_even_unfinished_jobs(start):
    with start(job_seconds=0.3) as api:
        api.post("/v2/users", {"uid": "u1"}, key="k")
        job_id = api.batch("users", [{"uid": "u2"}])
        api.post("/sandbox/reset", None)
        assert api.get("/sandbox/stats") == {
            "users": 0,
            "events": 0,
            "jobs": 0,
            "jobs_in_progress": 0,
            "operations_in_progress": 0,
            "requests": 0,
            "dropped_properties": 0,
            "faults": {},
        }
        assert api.refused("GET", f"/v2/users/batch/{job_id}") == (404, "resource_not_found")
        api.post("/v2/users", {"uid": "another"}, key="k")
        api.finished("users", api.batch("users", [{"uid": "u3"}]))
        assert {user["uid"] for user in api.get("/v2/users")["results"]} == {"another", "u3"}


def test_the_root_tells_what_there_is(start):
    with start(role="ADMIN", rate_limit=50.0, api_key="secret-key") as api:
        api.session.headers.pop("Authorization", None)
        offered = api.get("/")
        for call in offered["sandbox"]:
            method, path = call.split()
            if method == "GET":
                assert api.get(path) is not None, call
        assert "secret-key" not in str(offered)
    assert offered["role"] == "ADMIN"
    assert offered["limits"]["requests_per_second"] == 50
    assert offered["limits"]["requests_in_a_batch"] == 50_000
    assert {"POST /v2/users/batch", "GET /v2/events/batch/{job_id}/errors", "GET /me"} <= set(offered["api"])
    assert set(offered["sandbox"]) == {
        "GET /sandbox/stats",
        "GET /sandbox/events",
        "GET /sandbox/requests",
        "POST /sandbox/reset",
    }
