"""Users: created, updated, merged, listed and deleted as Fullstory does."""

from __future__ import annotations

import pytest


def test_a_user_is_created_once_and_updated_by_uid_after_that(api):
    created = api.post("/v2/users", {"uid": "u1", "email": "a@example.com", "display_name": "Ann"})
    updated = api.post("/v2/users", {"uid": "u1", "email": "b@example.com"})
    assert created == updated == {"id": created["id"]}
    user = api.get(f"/v2/users/{created['id']}")
    assert (user["uid"], user["email"], user["display_name"]) == ("u1", "b@example.com", "Ann")
    assert user["id"] == created["id"]
    assert user["is_being_deleted"] is False
    assert user["app_url"].startswith("https://")


def test_properties_merge_and_the_latest_value_wins(api):
    api.post("/v2/users", {"uid": "u1", "properties": {"plan": "free", "seats": 1}})
    user_id = api.post("/v2/users", {"uid": "u1", "properties": {"plan": "pro", "trial": False}})["id"]
    properties = api.get(f"/v2/users/{user_id}")["properties"]
    assert properties == {"plan": "pro", "seats": 1, "trial": False}


def test_nested_objects_merge_name_by_name(api):
    api.post("/v2/users", {"uid": "u1", "properties": {"address": {"city": "Oslo", "zip": "0150"}}})
    user_id = api.post("/v2/users", {"uid": "u1", "properties": {"address": {"city": "Bergen"}}})["id"]
    properties = api.get(f"/v2/users/{user_id}")["properties"]
    assert properties == {"address": {"city": "Bergen", "zip": "0150"}}


def test_a_property_cannot_be_removed_only_overwritten(api):
    api.post("/v2/users", {"uid": "u1", "properties": {"plan": "pro"}})
    user_id = api.post("/v2/users", {"uid": "u1", "properties": {}})["id"]
    assert api.get(f"/v2/users/{user_id}")["properties"] == {"plan": "pro"}


def test_a_null_field_is_the_same_as_an_absent_one(api):
    user_id = api.post("/v2/users", {"uid": "u1", "email": "a@example.com"})["id"]
    api.post("/v2/users", {"uid": "u1", "email": None, "properties": None, "schema": None})
    assert api.get(f"/v2/users/{user_id}")["email"] == "a@example.com"


def test_a_user_without_uid_is_anonymous_and_each_time_another_one(api):
    first = api.post("/v2/users", {"display_name": "Somebody"})["id"]
    second = api.post("/v2/users", {"display_name": "Somebody"})["id"]
    assert first != second
    assert "uid" not in api.get(f"/v2/users/{first}")


def test_update_by_id_sets_the_uid_once(api):
    user_id = api.post("/v2/users", {"display_name": "Somebody"})["id"]
    assert api.post(f"/v2/users/{user_id}", {"uid": "u1"}) == {"id": user_id}
    assert api.post(f"/v2/users/{user_id}", {"uid": "u1", "email": "a@example.com"}) == {"id": user_id}
    assert api.refused("POST", f"/v2/users/{user_id}", {"uid": "u2"}) == (400, "uid_immutable")
    assert api.post("/v2/users", {"uid": "u1"}) == {"id": user_id}


def test_an_anonymous_user_that_gets_a_known_uid_is_merged_into_its_owner(api):
    owner = api.post("/v2/users", {"uid": "u1", "properties": {"plan": "pro"}})["id"]
    anonymous = api.post("/v2/users", {"email": "a@example.com", "properties": {"plan": "free", "x": 1}})[
        "id"
    ]
    api.post("/v2/events", {"name": "Seen", "user": {"id": anonymous}})
    assert api.post(f"/v2/users/{anonymous}", {"uid": "u1"}) == {"id": owner}
    assert api.refused("GET", f"/v2/users/{anonymous}") == (404, "user_not_found")
    user = api.get(f"/v2/users/{owner}")
    assert user["properties"] == {"plan": "pro", "x": 1}
    assert user["email"] == "a@example.com"
    [event] = api.get("/sandbox/events")["results"]
    assert event["user"] == {"id": owner, "uid": "u1"}


@pytest.mark.parametrize(("field", "longest"), [("uid", 256), ("display_name", 256), ("email", 128)])
def test_the_length_of_fields_is_limited(api, field, longest):
    api.post("/v2/users", {field: "é" * longest})
    refused = api.refused("POST", "/v2/users", {field: "é" * (longest + 1)})
    assert refused == (400, "value_too_long")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"uid": "u1", "name": "Ann"}, "unknown_field"),
        ({"uid": "u1", "id": "7"}, "unknown_field"),
        ({"uid": 1}, "invalid_type"),
        ({"uid": "u1", "properties": ["a"]}, "invalid_type"),
        (["u1"], "invalid_type"),
    ],
)
def test_unknown_fields_and_wrong_types_are_refused(api, body, code):
    assert api.refused("POST", "/v2/users", body) == (400, code)
    assert api.get("/sandbox/stats")["users"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b'{"uid": "\xff"}', b'{"properties":' + b'{"a":' * 9999])
def test_what_is_no_json_is_refused(api, body):
    assert api.refused("POST", "/v2/users", data=body) == (400, "invalid_json")


@pytest.mark.parametrize("user_id", ["1", "nobody", "9" * 40, "-1"])
def test_an_unknown_id_is_not_found(api, user_id):
    for method, body in (("GET", None), ("POST", {"email": "a@example.com"}), ("DELETE", None)):
        assert api.refused(method, f"/v2/users/{user_id}", body) == (404, "user_not_found")


def test_listing_is_paged_and_filtered(api):
    for number in range(7):
        api.post("/v2/users", {"uid": f"u{number}", "display_name": "Ann" if number % 2 else "Bob"})
    api.post("/v2/users", {"email": "anonymous@example.com"})
    assert [len(page) for page in api.pages("/v2/users")] == [3, 3, 2]
    assert api.get("/v2/users")["total_records"] == "8"
    assert [user["uid"] for user in api.get("/v2/users", uid="u3")["results"]] == ["u3"]
    anns = [user["uid"] for page in api.pages("/v2/users", display_name="Ann") for user in page]
    assert anns == ["u1", "u3", "u5"]
    assert api.get("/v2/users", email="anonymous@example.com")["total_records"] == "1"
    assert api.get("/v2/users", is_identified="true")["total_records"] == "7"
    assert api.get("/v2/users", is_identified="false")["total_records"] == "1"
    nobody = api.get("/v2/users", uid="nobody")
    assert nobody == {"results": [], "total_records": "0"}


def test_a_page_token_serves_only_its_own_listing(api):
    for number in range(4):
        api.post("/v2/users", {"uid": f"u{number}"})
    token = api.get("/v2/users")["next_page_token"]
    for query in ({"page_token": "nonsense"}, {"page_token": token, "is_identified": "true"}):
        assert api.refused("GET", "/v2/users", params=query) == (400, "invalid_page_token")


def test_a_flag_is_true_or_false(api):
    refused = api.refused("GET", "/v2/users", params={"is_identified": "maybe"})
    assert refused == (400, "invalid_parameter")


def test_include_schema_tells_declared_and_inferred_types(api):
    properties = {
        "seats": 3,
        "mrr": 2,
        "name": "x",
        "active": True,
        "tags": ["a"],
        "address": {"since": "2024-01-01"},
        "nothing": None,
        "empty": [],
    }
    declared = {"seats": "int", "address.since": "date", "later": "real"}
    body = {"uid": "u1", "properties": properties, "schema": {"properties": declared}}
    user_id = api.post("/v2/users", body)["id"]
    expected = {
        "seats": "int",
        "mrr": "real",
        "name": "str",
        "active": "bool",
        "tags": "strs",
        "address.since": "date",
    }
    assert api.get(f"/v2/users/{user_id}", include_schema="true")["schema"]["properties"] == expected
    [listed] = api.get("/v2/users", include_schema="true")["results"]
    assert listed["schema"]["properties"] == expected
    assert "schema" not in api.get(f"/v2/users/{user_id}")


def test_deleting_a_user_deletes_its_events(api):
    first = api.post("/v2/users", {"uid": "u1"})["id"]
    api.post("/v2/users", {"uid": "u2"})
    for uid in ("u1", "u2"):
        api.post("/v2/events", {"name": "Seen", "user": {"uid": uid}})
    assert api.call("DELETE", f"/v2/users/{first}").json() == {}
    assert api.call("DELETE", "/v2/users", params={"uid": "u2"}).json() == {}
    assert api.get("/sandbox/stats")["users"] == 0
    assert api.get("/sandbox/events")["total"] == 0
    assert api.refused("DELETE", "/v2/users", params={"uid": "u2"}) == (404, "user_not_found")
    assert api.refused("DELETE", "/v2/users") == (400, "required_field")


def test_the_id_of_a_deleted_user_does_not_come_back(api):
    first = api.post("/v2/users", {"uid": "u1"})["id"]
    api.call("DELETE", f"/v2/users/{first}")
    assert api.post("/v2/users", {"uid": "u1"})["id"] != first


def test_the_beta_paths_are_the_same_calls(api):
    user_id = api.post("/v2beta/users", {"uid": "u1"})["id"]
    assert api.get(f"/v2beta/users/{user_id}") == api.get(f"/v2/users/{user_id}")
