"""Configurations that are refused: the text of each error is recorded."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, Json, table

_COLUMNS: Json = {
    "id": "integer",
    "uid": "string",
    "email": "string",
    "name": "string",
    "at": "date-time",
    "contact": {"type": "object", "properties": {"city": {"type": "string"}}},
    "tags": {"type": "array", "items": {"type": "string"}},
}
_NAME = {"name": {"const": "N"}}
_POST = {"kind": "request", "method": "POST", "path": "/v2/x"}


def _json(kind: str, **template: Any) -> Json:
    head: Json = {"uid": "u"} if kind == "users" else {"name": "N"}
    return {"kind": kind, "json": head | template}


_MAPPINGS: dict[str, Any] = {
    "text": "users",
    "no kind": {},
    "unknown kind": {"kind": "user"},
    "unknown key": {"kind": "users", "propertys": []},
    "fields of another type": {"kind": "users", "fields": []},
    "exclude of another type": {"kind": "users", "exclude": "ssn"},
    "unknown field": {"kind": "users", "fields": {"emial": "email"}},
    "unknown event field": {"kind": "events", "fields": {**_NAME, "context.browser.uri": "name"}},
    "absent column": {"kind": "users", "fields": {"email": "emial"}},
    "absent nested column": {"kind": "users", "fields": {"email": "contact.town"}},
    "absent property": {"kind": "users", "properties": ["plan"]},
    "absent renamed property": {"kind": "users", "properties": {"plan": "contact.plan"}},
    "absent excluded column": {"kind": "users", "exclude": ["ssn"]},
    "path into a scalar": {"kind": "users", "properties": ["name.first"]},
    "path into an array": {"kind": "users", "properties": ["tags.first"]},
    "property twice": {"kind": "users", "properties": ["name", "name"]},
    "property excluded": {"kind": "users", "properties": ["name"], "exclude": ["name"]},
    "property without a name": {"kind": "users", "properties": {"": "name"}},
    "property too long": {"kind": "users", "properties": {"n" * 513: "name"}},
    "empty column": {"kind": "users", "fields": {"email": ""}},
    "source of another type": {"kind": "users", "fields": {"email": 5}},
    "source of two forms": {"kind": "users", "fields": {"email": {"const": "a", "template": "b"}}},
    "source of no form": {"kind": "users", "fields": {"email": {"colum": "email"}}},
    "open template": {"kind": "users", "fields": {"uid": {"template": "u_{id"}}},
    "empty template": {"kind": "users", "fields": {"uid": {"template": "u_{}"}}},
    "template of an absent column": {"kind": "users", "fields": {"uid": {"template": "{idd}"}}},
    "constant null": {"kind": "users", "fields": {"uid": {"const": None}}},
    "constant object": {"kind": "users", "fields": {"uid": {"const": {}}}},
    "constant too long": {"kind": "users", "fields": {"uid": {"const": "x" * 257}}},
    "constant no time": {"kind": "events", "fields": {**_NAME, "timestamp": {"const": "noon"}}},
    "constant no number": {
        "kind": "events",
        "fields": {**_NAME, "context.device.screen_width": {"const": "wide"}},
    },
    "whole and parts": {"kind": "events", "fields": {**_NAME, "user": "contact", "user.uid": "id"}},
    "template for an object": {"kind": "events", "fields": {**_NAME, "user": {"template": "{id}"}}},
    "batch of users": {"kind": "users", "batch": {}},
    "path of events": {"kind": "events", "path": "/x"},
    "properties of deletions": {"kind": "user_deletions", "properties": ["name"]},
    "no action": {"kind": "webhook_endpoints"},
    "unknown action": {"kind": "webhook_endpoints", "fields": {"action": {"const": "drop"}}},
    "no method": {"kind": "request", "path": "/v2/x"},
    "no path": {"kind": "request", "method": "POST"},
    "unknown method": _POST | {"method": "POTS"},
    "path elsewhere": _POST | {"path": "//evil.example"},
    "path without a slash": _POST | {"path": "v2/x"},
    "path up": _POST | {"path": "/v2/../x"},
    "path with a fragment": _POST | {"path": "/v2#x"},
    "open placeholder": _POST | {"path": "/v2/{id"},
    "absent placeholder": _POST | {"path": "/v2/{idd}"},
    "two methods": _POST | {"fields": {"method": "name"}},
    "field of a request": _POST | {"fields": {"email": "email"}},
    "body of a GET": _POST | {"method": "GET", "properties": ["name"]},
    "unknown batch key": _POST | {"batch": {"sise": 5}},
    "batch of none": _POST | {"batch": {"size": 0}},
    "absent group": _POST | {"batch": {"group_by": "team"}},
    "value and object": _POST | {"properties": {"a": "name", "a.b": "email"}},
    "json beside fields": {"kind": "users", "json": {"uid": "u"}, "fields": {"uid": "id"}},
    "json of a list": {"kind": "users", "json": ["var", "contact"]},
    "json without a uid": {"kind": "users", "json": {"email": "e"}},
    "json without a name": {"kind": "events", "json": {"timestamp": 5}},
    "json unknown field": _json("users", emial="e"),
    "json unknown function": _json("users", email=["upper", ["var", "email"]]),
    "json nearly a function": _json("users", properties={"a": ["concatt", "a"]}),
    "json absent column": _json("users", email=["var", "emial"]),
    "json var of two": _json("users", email=["var", "a", "b"]),
    "json var of a number": _json("users", email=["var", 5]),
    "json empty concat": _json("users", email=["concat"]),
    "json list in a concat": _json("users", email=["concat", ["list", "a"]]),
    "json no moment": _json("users", properties={"a": ["toUnixTimestamp", "noon"]}),
    "json object for a text": _json("users", email={"a": "b"}),
    "json constant too long": _json("users", email="x" * 129),
    "json property too large": _json("users", properties={"a": "x" * 8193}),
    "json property twice": _json("users", properties={"a.b": 1, "a": 5}),
    "json many constants": _json("users", properties={f"c{at}": at for at in range(501)}),
    "json properties of a text": _json("users", properties=["var", "name"]),
    "json unknown type": _json("users", properties={"a": 1}, schema={"properties": {"a": "integer"}}),
    "json type of another": _json(
        "users", properties={"a": ["var", "tags"]}, schema={"properties": {"a": "int"}}
    ),
    "json schema of more": _json("users", schema={"props": {}}),
    "json never sent": _json("events", session={"id": "a:b"}, user={"uid": ["var", "uid"]}),
}

_SETTINGS: dict[str, Json] = {
    "streams of a list": {"streams": []},
    "null_values": {"null_values": "keep"},
    "declare_types": {"declare_types": "some"},
    "delivery": {"delivery": "now"},
    "batch_size_rows too large": {"batch_size_rows": 50_001},
    "batch_size_rows too small": {"batch_size_rows": 0},
    "max_batch_bytes": {"max_batch_bytes": 10},
    "concurrency": {"concurrency": 65},
    "concurrency of text": {"concurrency": "many"},
    "job_timeout_seconds": {"job_timeout_seconds": 0},
    "max_events": {"max_events": "few"},
    "hard_delete": {"hard_delete": "perhaps"},
    "api_key of another type": {"api_key": 5},
    "api_key beyond ASCII": {"api_key": "schlüssel"},
    "api_key missing": {"api_key": ""},
    "api_url without https": {"api_url": "http://api.example.com"},
    "api_url that is none": {"api_url": "nowhere"},
    "response_webhook": {"response_webhook": {"urls": "https://x.example"}},
    "state_responses": {"state_responses": -1},
    "unmapped_streams": {"unmapped_streams": "skip"},
}


def cases() -> list[Case]:
    """All of them."""
    lines = table("s", _COLUMNS, [{"id": 1, "uid": "u", "name": "n"}], ["id"])
    keyless = table("s", {"a": "string"}, [{"a": "x"}], [])
    made = [
        Case(f"refused/mapping, {name}", {"streams": {"s": mapping}}, lines)
        for name, mapping in _MAPPINGS.items()
    ]
    made += [
        Case(f"refused/keyless, {kind}", {"streams": {"s": {"kind": kind}}}, keyless)
        for kind in ("users", "events", "user_deletions", "webhook_endpoints", "request")
    ]
    made += [Case(f"refused/setting, {name}", settings, lines) for name, settings in _SETTINGS.items()]
    return made
