"""Webhook endpoints: configured here, never called."""

from __future__ import annotations

import pytest

BODY = {"url": "https://example.com/hook", "event_types": [{"event_name": "note.created"}], "secret": "s"}


def test_an_endpoint_is_created(api):
    endpoint = api.post("/webhooks/v1/endpoints", BODY)
    assert endpoint.pop("id")
    assert endpoint.pop("created") == endpoint.pop("modified")
    assert endpoint == {
        "enabled": True,
        "url": BODY["url"],
        "eventTypes": [{"eventName": "note.created", "subcategory": ""}],
    }


def test_an_update_keeps_what_is_absent_and_enables_what_is_not_disabled(api):
    endpoint = api.post("/webhooks/v1/endpoints", BODY)
    path = f"/webhooks/v1/endpoints/{endpoint['id']}"
    disabled = api.post(path, {"disabled": True})
    assert {**endpoint, "enabled": False, "modified": disabled["modified"]} == disabled
    custom = {"event_name": "recording.event.custom", "subcategory": "Order placed"}
    changed = api.post(path, {"event_types": [custom], "url": "", "secret": ""})
    assert changed["enabled"] is True
    assert changed["url"] == BODY["url"]
    assert changed["eventTypes"] == [{"eventName": "recording.event.custom", "subcategory": "Order placed"}]


def test_a_new_url_changes_the_id(api):
    endpoint = api.post("/webhooks/v1/endpoints", BODY)
    path = f"/webhooks/v1/endpoints/{endpoint['id']}"
    assert api.post(path, {"url": BODY["url"]})["id"] == endpoint["id"]
    moved = api.post(path, {"url": "https://example.com/other"})
    assert moved["id"] != endpoint["id"]
    assert api.refused("POST", path, {}) == (404, "resource_not_found")
    assert api.post(f"/webhooks/v1/endpoints/{moved['id']}", {})["url"] == "https://example.com/other"


def test_an_endpoint_is_deleted_once(api):
    path = f"/webhooks/v1/endpoints/{api.post('/webhooks/v1/endpoints', BODY)['id']}"
    assert api.call("DELETE", path).json() == {}
    assert api.refused("DELETE", path) == (404, "resource_not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"url": None}, "required_field"),
        ({"url": "example.com"}, "invalid_url"),
        ({"event_types": []}, "required_field"),
        ({"event_types": [{"event_name": "nothing.like.it"}]}, "invalid_event_type"),
        ({"event_types": [{"event_name": "recording.event.custom"}]}, "required_field"),
        ({"events": []}, "unknown_field"),
    ],
)
def test_a_wrong_endpoint_is_refused(api, change, code):
    assert api.refused("POST", "/webhooks/v1/endpoints", {**BODY, **change}) == (400, code)


def test_the_event_types_tell_whether_they_need_a_subcategory(api):
    definitions = api.get("/webhooks/v1/event_types")["eventDefs"]
    assert api.get("/webhooks/v1/event-types")["eventDefs"] == definitions
    needs = {definition["eventName"]: definition["hasSubcategories"] for definition in definitions}
    assert needs["recording.event.custom"] is True
    assert needs["note.created"] is False
