"""Custom properties: which names, values and declared types pass."""

from __future__ import annotations

import pytest


def stored(api, properties, declared=None):
    body = {"uid": "u1", "properties": properties}
    if declared is not None:
        body["schema"] = {"properties": declared}
    return api.get(f"/v2/users/{api.post('/v2/users', body)['id']}")["properties"]


@pytest.mark.parametrize(
    "properties",
    [
        {"a": "text", "B2_c": 1, "real": 1.5, "yes": True, "nothing": None},
        {"list": ["a", "b"], "numbers": [1, 2.5], "flags": [True], "empty": []},
        {"nested": {"deeper": {"deepest": ["x"]}}},
        {"a" * 512: 1},
        {"a" * 255: {"b" * 256: 1}},
        {"big": 2**53, "small": -1.5e-7},
        {f"p{number}": number for number in range(500)},
    ],
)
def test_these_properties_are_stored_as_they_are(api, properties):
    assert stored(api, properties) == properties


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"first name": 1}, "invalid_property_name"),
        ({"_private": 1}, "invalid_property_name"),
        ({"2nd": 1}, "invalid_property_name"),
        ({"": 1}, "invalid_property_name"),
        ({"a.b": 1}, "invalid_property_name"),
        ({"naïve": 1}, "invalid_property_name"),
        ({"trailing\n": 1}, "invalid_property_name"),
        ({"fine": {"not-fine": 1}}, "invalid_property_name"),
        ({"a" * 513: 1}, "property_name_too_long"),
        ({"a" * 256: {"b" * 256: 1}}, "property_name_too_long"),
        ({"list": [{"a": 1}]}, "invalid_property_value"),
        ({"list": [["a"]]}, "invalid_property_value"),
        ({"list": ["a", None]}, "invalid_property_value"),
        ({"nested": {"list": [{}]}}, "invalid_property_value"),
        ({f"p{number}": number for number in range(501)}, "too_many_properties"),
    ],
)
def test_these_properties_refuse_the_request(api, properties, code):
    assert api.refused("POST", "/v2/users", {"uid": "u1", "properties": properties}) == (400, code)
    assert api.get("/sandbox/stats")["users"] == 0


def test_a_name_refused_once_is_refused_again(api):
    for _ in range(2):
        refused = api.refused("POST", "/v2/users", {"properties": {"x": {"bad name": 1}}})
        assert refused == (400, "invalid_property_name")


def test_a_value_over_8192_bytes_is_left_out_and_the_rest_is_taken(api):
    properties = {
        "fits": "a" * 8192,
        "too_long": "a" * 8193,
        "too_long_in_utf8": "é" * 4097,
        "fits_in_utf8": "é" * 4096,
        "list": ["a" * 100] * 90,
        "nested": {"too_long": "a" * 8193, "kept": 1, "sum_counts_not": "a" * 8192},
    }
    assert stored(api, properties) == {
        "fits": "a" * 8192,
        "fits_in_utf8": "é" * 4096,
        "nested": {"kept": 1, "sum_counts_not": "a" * 8192},
    }
    assert api.get("/sandbox/stats")["dropped_properties"] == 4


def test_a_user_has_at_most_500_properties_over_all_updates(api):
    stored(api, {f"p{number}": number for number in range(499)})
    stored(api, {"one_more": 1, "p0": "replaced"})
    too_many = {"uid": "u1", "properties": {"another": 1}}
    assert api.refused("POST", "/v2/users", too_many) == (400, "too_many_properties")


def test_an_event_has_no_such_limit(api):
    properties = {f"p{number}": number for number in range(501)}
    api.post("/v2/events", {"name": "Seen", "user": {"uid": "u1"}, "properties": properties})


@pytest.mark.parametrize(
    ("type_name", "good", "bad"),
    [
        ("str", ["", "x"], [1, True, ["x"]]),
        ("int", [0, -5, 2**53, 5.0], [1.5, "5", True, [1]]),
        ("real", [0, 1.5], ["1.5", False]),
        ("bool", [True, False], [0, "true"]),
        (
            "date",
            ["2024-02-29", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00.123+02:00"],
            ["2023-02-29", "yesterday", "01/02/2024", "2024-01-01T25:00:00Z", 1700000000],
        ),
        ("strs", [["a"], []], ["a", [1]]),
        ("ints", [[1, 2]], [[1.5], 1]),
        ("reals", [[1, 2.5]], [["1"]]),
        ("bools", [[True]], [[1]]),
        ("dates", [["2024-01-01"]], [["soon"], "2024-01-01"]),
    ],
)
def test_a_value_must_be_of_its_declared_type(api, type_name, good, bad):
    for value in good:
        assert stored(api, {"p": value}, {"p": type_name}) == {"p": value}
    for value in bad:
        body = {"uid": "u1", "properties": {"p": value}, "schema": {"properties": {"p": type_name}}}
        assert api.refused("POST", "/v2/users", body) == (400, "type_mismatch"), value


def test_nested_properties_are_declared_with_dots(api):
    stored(api, {"address": {"floor": 3}}, {"address.floor": "int"})
    body = {"properties": {"address": {"floor": 3.5}}, "schema": {"properties": {"address.floor": "int"}}}
    assert api.refused("POST", "/v2/users", body) == (400, "type_mismatch")


def test_a_null_or_absent_value_has_any_type(api):
    assert stored(api, {"p": None}, {"p": "int", "q": "date", "r.s": "str"}) == {"p": None}


@pytest.mark.parametrize("type_name", ["integer", "string", "", 1, {"floor": "int"}, None])
def test_an_unknown_type_is_refused(api, type_name):
    body = {"properties": {"p": 1}, "schema": {"properties": {"p": type_name}}}
    assert api.refused("POST", "/v2/users", body) == (400, "invalid_schema_type")
