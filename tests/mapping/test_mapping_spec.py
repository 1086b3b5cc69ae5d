"""Which mapping a stream gets, and what is said of mistakes in one."""

from __future__ import annotations

from typing import Any

import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, check_spec, spec_for
from target_fullstory.mapping.spec import Mark
from tests.mapping.one_by_one import Mapped, compile_mapping

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "email": {"type": "string"},
        "contact": {"type": ["null", "object"], "properties": {"email": {}, "phone": {}}},
        "extra": {"type": "object"},
    },
}


def _marking(properties: dict[str, Any]) -> dict[str, Any]:
    return {"sync": "mirror", "vanished": Mark(mark=properties)}


def test_an_exact_name_wins_then_the_first_glob_then_the_streams_own_name() -> None:
    one, two, three = (MappingSpec(kind="users", exclude=[name]) for name in "abc")
    streams = {"crm_*": one, "*_users": two, "crm_users": three}
    assert spec_for("crm_users", streams) is three
    assert spec_for("crm_x_users", streams) is one
    assert spec_for("app_users", streams) is two
    assert spec_for("CRM_orders", streams) is None
    assert spec_for("users", streams) == MappingSpec(kind="users")
    assert spec_for("events", {}) == MappingSpec(kind="events")
    assert spec_for("users", {"u*": one}) is one
    assert spec_for("orders", {}) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"fields": {"emial": "email"}},
            ("streams.c.fields.emial: Fullstory's users have no field 'emial'; did you mean 'email'?"),
        ),
        (
            {"kind": "events", "fields": {"context.browser.link": "x"}},
            "no field 'context.browser.link'; did you mean 'context.browser.url'?",
        ),
        ({"kind": "events", "fields": {"Timestamp": "x"}}, "did you mean 'timestamp'?"),
        ({"kind": "people"}, "streams.c.kind: unknown kind 'people'; there is 'users', 'events'"),
        ({"kind": "user"}, "streams.c.kind: unknown kind 'user'; did you mean 'users'?"),
        ({"fields": {"email": {"const": "a", "template": "{b}"}}}, "streams.c.fields.email: a so"),
        (
            {"fields": {"email": {"colum": "a"}}},
            "streams.c.fields.email: a source is a column's name, or has",
        ),
        ({"fields": {"email": {"colum": "a"}}}, "coalesce; did you mean 'column'?"),
        ({"fields": {"email": 5}}, "streams.c.fields.email: a source is"),
        ({"fields": {"email": ""}}, "streams.c.fields.email: the column's name is empty"),
        ({"fields": {"uid": {"template": "u_{id"}}}, "fields.uid.template: malformed template: "),
        ({"fields": {"uid": {"template": "u_{}"}}}, "unmatched '{' at character 3"),
        ({"fields": {"uid": {"template": "u_}{id}"}}}, "unmatched '}' at character 3"),
        ({"fields": {"uid": {"template": "u_"}}}, "no column in it"),
        ({"fields": {"uid": {"template": 5}}}, "a template is text"),
        ({"fields": {"uid": {"const": None}}}, "streams.c.fields.uid.const: uid cannot be None"),
        ({"fields": {"uid": {"const": ["a"]}}}, "uid cannot be ['a']"),
        ({"fields": {"uid": {"const": "u" * 257}}}, "uid has 257 characters"),
        ({"kind": "events", "fields": {"timestamp": {"const": "noon"}}}, "'noon' is neither ISO 8601"),
        (
            {"kind": "events", "fields": {"session.use_most_recent": {"const": "maybe"}}},
            "session.use_most_recent cannot be 'maybe'",
        ),
        (
            {"kind": "events", "fields": {"context.device.screen_width": {"const": "wide"}}},
            "context.device.screen_width cannot be 'wide'",
        ),
        (
            {"kind": "events", "fields": {"user": "a", "user.uid": "b"}},
            "streams.c.fields.user: contradicts fields.user.uid",
        ),
        ({"kind": "events", "fields": {"user": {"const": 1}}}, "takes an object column"),
        ({"properties": ["a", "b", "a"]}, "streams.c.properties.2: 'a' is given twice"),
        ({"properties": ["a"], "exclude": ["a"]}, "'a' is also under exclude"),
        ({"properties": {"x": "a"}, "exclude": ["a"]}, "streams.c.properties.x: 'a' is also"),
        ({"properties": [""]}, "streams.c.properties.0: the name is empty"),
        ({"properties": {"": "a"}}, "the name is empty"),
        (
            {"kind": "request", "sync": "changed"},
            "streams.c.sync: 'changed' is for kinds 'users' and 'events'; of 'request' every record is sent",
        ),
        ({"kind": "user_deletions", "sync": "mirror"}, "streams.c.sync: 'mirror' is for kinds"),
        (
            {"kind": "events", "sync": "mirror", "vanished": "delete"},
            "streams.c.sync: 'mirror' is for kind 'users'; events take 'changed'",
        ),
        (
            {"sync": "mirror"},
            "streams.c.sync: 'mirror' needs vanished, too: delete, or {mark: {property: value}}",
        ),
        ({"vanished": "delete"}, "streams.c.vanished: goes with sync: mirror, and sync is 'all'"),
        ({"sync": "changed", "vanished": Mark(mark={"gone": True})}, "streams.c.vanished: goes with"),
        ({"sync": "changed", "full_table": True}, "streams.c.full_table: goes with sync: mirror"),
        (
            {"sync": "changed", "identity": ["id"]},
            "streams.c.identity: goes with kind 'events' and sync: changed; here are 'users' and 'changed'",
        ),
        ({"kind": "events", "identity": ["id"]}, "here are 'events' and 'all'"),
        (
            {"kind": "events", "sync": "changed", "identity": []},
            "streams.c.identity: names no column; leave it out",
        ),
        ({"kind": "events", "sync": "changed", "identity": ["a", ""]}, "c.identity.1: the column's name is"),
        ({"kind": "events", "sync": "changed", "identity": ["a", "a"]}, "c.identity.1: 'a' is given twice"),
        ({"kind": "request", "json": {}, "full_table": True}, "streams.c.full_table: goes with sync: mirror"),
        (_marking({}), "streams.c.vanished.mark: takes at least one property and its value"),
        (
            _marking({"churned at": 1}),
            "mark.churned at: Fullstory takes no property name 'churned at'; 'churned_at' would do",
        ),
        (_marking({"a": {"_b": 1}}), "streams.c.vanished.mark.a._b: Fullstory takes no property name '_b'"),
        (_marking({"a" * 300: {"b" * 300: 1}}), "the name has more than 512 characters"),
        (_marking({"gone": None}), "streams.c.vanished.mark.gone: a property cannot be None"),
        (_marking({"gone": {}}), "a property cannot be {}"),
        (_marking({"gone": "x" * 8193}), "a property cannot be 'xxx"),
        (_marking({"gone": "\ud800"}), "a property cannot be"),
        (_marking({"gone": [{"a": 1}]}), "a property cannot be [{'a': 1}]"),
        (_marking({"gone": [1, None]}), "a property cannot be [1, None]"),
        (_marking({"gone": float("inf")}), "a property cannot be inf"),
    ],
)
def test_mistakes_that_show_without_a_schema(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_spec("c", MappingSpec(**{"kind": "users"} | spec))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"fields": {"uid": {"template": "{{{id}}}"}, "email": {"const": 5}}},
        {"kind": "events", "fields": {"name": {"const": "Order Placed"}, "user": "person"}},
        {"kind": "events", "fields": {"timestamp": {"const": 0}, "user.uid": "a", "user.id": "b"}},
        {"kind": "events", "fields": {"session.use_most_recent": {"const": True}}},
        {"properties": {"a": "x", "b": "x"}, "exclude": ["y"]},
        {"kind": "request", "method": "POST", "path": "/v2/x", "sync": "all"},
        {"sync": "changed"},
        {"kind": "events", "sync": "changed", "json": {"name": "x"}, "identity": ["id", "a.b"]},
        {"sync": "mirror", "vanished": "delete", "full_table": True},
        _marking({"churned": True, "left": {"on": "2026-01-05", "why": ["a", "b"]}, "seats": 0}),
    ],
)
def test_mappings_without_a_mistake(spec: dict[str, Any]) -> None:
    check_spec("c", MappingSpec(**{"kind": "users"} | spec))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"fields": {"email": "emall"}},
            ("streams.c.fields.email: the SCHEMA of stream 'c' has no column 'emall'; did you mean 'email'?"),
        ),
        ({"fields": {"email": "contact.emial"}}, "did you mean 'contact.email'?"),
        ({"fields": {"email": "email.address"}}, "no column 'email.address'"),
        ({"fields": {"uid": {"template": "{id}{ix}"}}}, "streams.c.fields.uid: the SCHEMA"),
        ({"properties": ["id", "emial"]}, "streams.c.properties.1: the SCHEMA"),
        ({"properties": {"x": "contact.fone"}}, "streams.c.properties.x: the SCHEMA"),
        ({"exclude": ["ssn"]}, "streams.c.exclude.0: the SCHEMA of stream 'c' has no column 'ssn'"),
        ({"exclude": ["contact.ssn"]}, "no column 'contact.ssn'"),
        (
            {"kind": "events", "fields": {"name": "email"}, "sync": "changed", "identity": ["id", "emial"]},
            "streams.c.identity.1: the SCHEMA of stream 'c' has no column 'emial'; did you mean 'email'?",
        ),
        ({"fields": {"unknown": "id"}}, "Fullstory's users have no field 'unknown'"),
        ({"kind": "events"}, "streams.c.fields.name: no source for name, which Fullstory requires"),
    ],
)
def test_mistakes_that_show_with_the_schema(spec: dict[str, Any], message: str) -> None:
    made = MappingSpec(**{"kind": "users"} | spec)
    with pytest.raises(ConfigurationError) as caught:
        compile_mapping("c", made, SCHEMA, ["id"], MappingOptions())
    assert message in str(caught.value)


@pytest.mark.parametrize("keys", [[], ["id", "email"]])
def test_users_need_a_uid(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"streams\.users\.fields\.uid: no source for uid"):
        compile_mapping("users", MappingSpec(kind="users"), SCHEMA, keys, MappingOptions())


def test_a_free_form_object_may_hold_any_path() -> None:
    spec = MappingSpec(
        kind="users",
        fields={"email": "extra.any.path", "display_name": "_sdc_source"},
        properties=["extra.other"],
        exclude=["extra.secret", "_sdc_batched_at"],
    )
    mapping = compile_mapping("c", spec, SCHEMA, ["id"], MappingOptions())
    record = {"id": 1, "_sdc_source": "s", "extra": {"any": {"path": "e"}, "other": 2}}
    assert mapping.map_record(record) == Mapped(
        body=b'{"uid":"1","email":"e","display_name":"s","properties":{"extra_other":2}}', key="1"
    )


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": ["null", "object"]}])
def test_a_schema_without_columns_takes_any(schema: dict[str, Any]) -> None:
    mapping = compile_mapping("c", MappingSpec(kind="users"), schema, ["id"], MappingOptions())
    assert mapping.map_record({"id": 1, "email": "e", "a": 2}) == Mapped(
        body=b'{"uid":"1","email":"e","properties":{"a":2}}', key="1"
    )
