"""Keys, roles, rates and sizes: what is refused before a request is looked at."""

from __future__ import annotations

import base64

import pytest

from target_fullstory.sandbox.http.access_and_rate import RateLimit
from target_fullstory.sandbox.rules.refusals import ApiError


@pytest.mark.parametrize("authorization", [None, "", "Basic", "Basic ", "Bearer any-key", "any-key"])
def test_a_request_needs_a_key(api, connect, authorization):
    stranger = connect(api.url, authorization)
    for method, path in (("GET", "/me"), ("POST", "/v2/users"), ("GET", "/webhooks/v1/event_types")):
        assert stranger.refused(method, path) == (401, "unauthorized")


def test_any_key_will_do_where_none_is_set(api):
    assert api.get("/me") == {"email": "sandbox@example.com", "orgId": "SANDBOX", "role": "ARCHITECT"}


def test_only_the_key_that_is_set_is_accepted_raw_or_as_basic_credentials(start, connect):
    encoded = base64.b64encode(b"na1.secret:").decode()
    with start(api_key="na1.secret") as api:
        assert api.refused("GET", "/me") == (401, "unauthorized")
        for good in ("Basic na1.secret", "basic na1.secret", f"Basic {encoded}"):
            assert connect(api.url, good).get("/me")
        for bad in ("Basic na1.secre", "Basic na1.secret2", f"Basic {encoded[:-4]}"):
            assert connect(api.url, bad).refused("GET", "/me") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("role", "may_write", "may_read", "may_delete"),
    [
        ("ARCHITECT", True, True, True),
        ("ADMIN", True, True, False),
        ("USER", True, False, False),
        ("VIEW_ONLY", False, False, False),
    ],
)
def test_what_a_key_may_do_depends_on_its_role(start, role, may_write, may_read, may_delete):
    writes = [
        ("POST", "/v2/users"),
        ("POST", "/v2/users/1"),
        ("POST", "/v2/events"),
        ("POST", "/v2/users/batch"),
        ("POST", "/v2/events/batch"),
    ]
    reads = [
        ("GET", "/v2/users"),
        ("GET", "/v2/users/1"),
        ("GET", "/v2/users/batch/1"),
        ("GET", "/v2/events/batch/1"),
        ("GET", "/v2/events/batch/1/imports"),
        ("GET", "/v2/events/batch/1/errors"),
        ("POST", "/webhooks/v1/endpoints"),
        ("DELETE", "/webhooks/v1/endpoints/1"),
        ("GET", "/webhooks/v1/event_types"),
    ]
    deletes = [("DELETE", "/v2/users/1"), ("DELETE", "/v2/users?uid=1")]
    with start(role=role) as api:
        assert api.get("/me")["role"] == role
        for calls, allowed in ((writes, may_write), (reads, may_read), (deletes, may_delete)):
            for method, path in calls:
                response = api.call(method, path)
                assert (response.status_code != 403) is allowed, (method, path)
                if not allowed:
                    assert response.json()["code"] == "forbidden"


def test_more_requests_per_second_than_allowed_are_refused_for_a_while(start):
    with start(rate_limit=5) as api:
        responses = [api.call("GET", "/me") for _ in range(15)]
        statuses = [response.status_code for response in responses]
        assert statuses[:5] == [200] * 5
        refused = [response for response in responses if response.status_code == 429]
        assert refused
        assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
        assert refused[0].json()["code"] == "too_many_requests"
        assert api.get("/sandbox/stats")["requests"] == 15


def test_the_rate_limit_refills():
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    limit.take()
    limit.take()
    with pytest.raises(ApiError) as refused:
        limit.take()
    assert refused.value.retry_after == 1
    now[0] = 0.5
    limit.take()
    now[0] = 100.0
    limit.take()
    limit.take()
    with pytest.raises(ApiError):
        limit.take()


def test_a_slow_rate_tells_how_long_to_wait():
    now = [0.0]
    limit = RateLimit(0.1, clock=lambda: now[0])
    limit.take()
    with pytest.raises(ApiError) as refused:
        limit.take()
    assert refused.value.retry_after == 10


def test_a_body_that_is_too_large_is_refused_even_while_it_is_sent(start):
    with start(max_body_bytes=1000) as api:
        api.post("/v2/users", {"uid": "u1", "properties": {"x": "y" * 900}})
        large = {"properties": {"x": "y" * 5_000_000}}
        assert api.refused("POST", "/v2/users", large) == (413, "request_too_large")
        chunks = (b"x" * 10_000 for _ in range(100))
        assert api.refused("POST", "/v2/users", data=chunks) == (413, "request_too_large")


def test_a_chunked_body_is_read(api):
    chunks = iter([b'{"uid":', b' "u1"}'])
    assert api.call("POST", "/v2/users", data=chunks).status_code == 200


def test_unknown_paths_and_methods_are_refused_in_the_api_s_shape(api):
    assert api.refused("GET", "/v3/users") == (404, "resource_not_found")
    assert api.refused("PUT", "/v2/users") == (405, "method_not_allowed")
