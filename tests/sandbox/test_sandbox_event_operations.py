"""Events: how they are identified, timed and described."""

from __future__ import annotations

import pytest

USER = {"uid": "u1"}


def test_an_event_is_stored_as_sent_with_what_is_known_of_its_user(api):
    user_id = api.post("/v2/users", USER)["id"]
    event = {
        "name": "Order placed",
        "timestamp": "2024-03-01T10:00:00.5+01:00",
        "user": USER,
        "session": {"use_most_recent": True},
        "context": {
            "browser": {"url": "https://example.com", "user_agent": "x", "initial_referrer": "y"},
            "mobile": {"app_id": "a", "app_version": "1", "app_name": "n", "build_variant": "b"},
            "device": {
                "manufacturer": "m",
                "model": "o",
                "screen_width": 1,
                "screen_height": 2,
                "viewport_width": 3,
                "viewport_height": 4,
            },
            "location": {
                "country": "US",
                "region": "GA",
                "city": "Atlanta",
                "latitude": 33.7,
                "longitude": -84.4,
                "ip_address": "127.0.0.1",
            },
        },
        "properties": {"total": 12.5, "items": ["a", "b"]},
        "schema": {"properties": {"items": "strs"}},
    }
    assert api.post("/v2/events", event) == {}
    [stored] = api.get("/sandbox/events", uid="u1", name="Order placed")["results"]
    assert {name: stored[name] for name in event} == {**event, "user": {"id": user_id, "uid": "u1"}}


@pytest.mark.parametrize(
    "identity",
    [
        {"user": USER},
        {"user": USER, "session": {"use_most_recent": True}},
        {"user": USER, "session": {"use_most_recent": False}},
        {"user": USER, "session": {}},
        {"session": {"id": "123456789:987654321"}},
        {"session": {"uid": "my-session"}},
        {"session": {"id": "1:2"}, "user": None},
        {"session": {"id": "1:2"}, "user": {}},
        {},
        {"user": {}, "session": {}},
    ],
)
def test_an_event_is_identified_in_one_way(api, identity):
    assert api.post("/v2/events", {"name": "Seen", **identity}) == {}


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        ({"user": {"uid": "u1", "id": "1000000001"}}, "conflicting_identity"),
        ({"user": USER, "session": {"id": "1:2"}}, "conflicting_identity"),
        ({"user": USER, "session": {"uid": "s"}}, "conflicting_identity"),
        ({"session": {"id": "1:2", "use_most_recent": True}}, "conflicting_identity"),
        ({"session": {"id": "1:2", "uid": "s"}}, "conflicting_identity"),
        ({"session": {"use_most_recent": True}}, "required_field"),
        ({"session": {"use_most_recent": False}}, "required_field"),
        ({"session": {"id": "https://app.example.com/session/1%3A2"}}, "invalid_session_id"),
        ({"session": {"id": "123"}}, "invalid_session_id"),
        ({"user": {"uid": "x" * 257}}, "value_too_long"),
        ({"session": {"uid": "x" * 257}}, "value_too_long"),
        ({"user": {"name": "x"}}, "unknown_field"),
        ({"user": "u1"}, "invalid_type"),
    ],
)
def test_any_other_identification_is_refused(api, identity, code):
    assert api.refused("POST", "/v2/events", {"name": "Seen", **identity}) == (400, code)


def test_an_unknown_uid_is_accepted_and_an_unknown_id_is_not(api):
    api.post("/v2/events", {"name": "Seen", "user": {"uid": "stranger"}})
    assert api.get("/sandbox/events")["results"][0]["user"] == {"uid": "stranger"}
    refused = api.refused("POST", "/v2/events", {"name": "Seen", "user": {"id": "1"}})
    assert refused == (404, "user_not_found")


@pytest.mark.parametrize(
    ("name", "code"), [(None, "required_field"), ("", "required_field"), ("x" * 251, "value_too_long")]
)
def test_a_name_has_1_to_250_characters(api, name, code):
    api.post("/v2/events", {"name": "x" * 250, "user": USER})
    assert api.refused("POST", "/v2/events", {"name": name, "user": USER}) == (400, code)
    assert api.refused("POST", "/v2/events", {"user": USER}) == (400, "required_field")


@pytest.mark.parametrize(
    "timestamp", ["2022-03-15T14:23:23Z", "2022-03-15T14:23:23.123456+05:30", "2024-02-29T00:00:00-00:00"]
)
def test_a_timestamp_is_a_date_a_time_and_an_offset(api, timestamp):
    api.post("/v2/events", {"name": "Seen", "user": USER, "timestamp": timestamp})
    assert api.get("/sandbox/events")["results"][0]["timestamp"] == timestamp


@pytest.mark.parametrize(
    "timestamp",
    [
        "yesterday",
        "1647354203",
        "2022-03-15",
        "2022-03-15T14:23:23",
        "2022-02-30T00:00:00Z",
        "2022-03-15 14:23:23Z",
        "2022-03-15T24:00:00Z",
    ],
)
def test_any_other_timestamp_is_refused(api, timestamp):
    event = {"name": "Seen", "user": USER, "timestamp": timestamp}
    assert api.refused("POST", "/v2/events", event) == (400, "invalid_timestamp")


def test_without_a_timestamp_it_is_the_server_s_time(api):
    api.post("/v2/events", {"name": "Seen", "user": USER})
    [event] = api.get("/sandbox/events")["results"]
    assert event["timestamp"] == event["received"]


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({"device": {"screen_width": "1024"}}, "invalid_type"),
        ({"device": {"screen_width": 10.5}}, "invalid_type"),
        ({"device": {"screen_width": 2**31}}, "invalid_context"),
        ({"location": {"country": "USA"}}, "invalid_context"),
        ({"location": {"country": "us"}}, "invalid_context"),
        ({"location": {"country": "ZZ"}}, "invalid_context"),
        ({"location": {"region": "Georgia"}}, "invalid_context"),
        ({"location": {"latitude": 91}}, "invalid_context"),
        ({"location": {"longitude": -181}}, "invalid_context"),
        ({"location": {"latitude": "1"}}, "invalid_type"),
        ({"location": {"ip_address": "localhost"}}, "invalid_context"),
        ({"browser": {"referrer": "x"}}, "unknown_field"),
        ({"page": {}}, "unknown_field"),
    ],
)
def test_a_context_that_is_wrong_is_refused(api, context, code):
    event = {"name": "Seen", "user": USER, "context": context}
    assert api.refused("POST", "/v2/events", event) == (400, code)


def test_properties_of_events_follow_the_rules_of_users(api):
    event = {"name": "Seen", "user": USER, "properties": {"bad name": 1}}
    assert api.refused("POST", "/v2/events", event) == (400, "invalid_property_name")
