"""Fullstory's own fields: where their values come from and what becomes of them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from tests.mapping.one_by_one import Mapped, OneByOne, compile_mapping

FREE = {"type": "object"}


def users(fields: dict[str, Any] | None = None, schema: dict[str, Any] | None = None, **spec: Any):
    made = MappingSpec(kind="users", fields=fields or {}, properties=spec.pop("properties", []), **spec)
    return compile_mapping("customers", made, schema or FREE, ["uid"], MappingOptions())


def events(fields: dict[str, Any] | None = None, schema: dict[str, Any] | None = None, **spec: Any):
    made = MappingSpec(kind="events", fields=fields or {}, properties=spec.pop("properties", []), **spec)
    return compile_mapping("orders", made, schema or FREE, [], MappingOptions())


def request(mapping: OneByOne, record: dict[str, Any]) -> Any:
    outcome = mapping.map_record(record)
    assert isinstance(outcome, Mapped), outcome
    return msgspec.json.decode(outcome.body)


def rejection(mapping: OneByOne, record: dict[str, Any]) -> str:
    outcome = mapping.map_record(record)
    assert isinstance(outcome, Rejected), outcome
    return outcome.code


def columns(*names: str, **typed: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {} for name in names} | typed}


# --- users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "uid"),
    [
        ("u-1", "u-1"),
        (5, "5"),
        (-(2**70), str(-(2**70))),
        (5.0, "5"),
        (5.25, "5.25"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (Decimal(7), "7"),
        (Decimal("7.0"), "7"),
        (date(2024, 2, 29), "2024-02-29"),
    ],
)
def test_an_identifier_is_written_as_a_string(value: Any, uid: str) -> None:
    outcome = users().map_record({"uid": value})
    assert outcome == Mapped(body=msgspec.json.encode({"uid": uid}), key=uid)


@pytest.mark.parametrize(
    "value", [None, "", {}, {"a": 1}, [], [1], float("nan"), float("inf"), "\ud800", Decimal("NaN"), b"x"]
)
def test_what_is_no_identifier_is_a_missing_uid(value: Any) -> None:
    assert rejection(users(), {"uid": value}) == "missing_uid"
    assert rejection(users(), {}) == "missing_uid"


def test_uid_defaults_to_the_column_uid_and_else_to_the_single_key_property() -> None:
    spec = MappingSpec(kind="users", properties=[])

    def uid_of(schema: dict[str, Any], keys: list[str]) -> str:
        mapping = compile_mapping("s", spec, schema, keys, MappingOptions())
        return request(mapping, {"uid": "from uid", "id": "from key"})["uid"]

    assert uid_of(columns("uid", "id"), ["id"]) == "from uid"
    assert uid_of(columns("id", "x"), ["id"]) == "from key"
    assert uid_of(columns("uid", "id"), ["uid", "id"]) == "from uid"


def test_a_column_named_id_is_fullstorys_id_only_where_mapped() -> None:
    schema = columns("id", "name")
    assert request(users({"uid": "name"}, schema), {"id": 1, "name": "n"}) == {"uid": "n"}
    by_id = users({"id": "id"}, schema)
    assert by_id.map_record({"id": 1, "name": "n"}) == Mapped(body=b'{"id":"1"}', key="1")
    assert rejection(by_id, {"id": None}) == "missing_uid"


def test_with_id_and_uid_the_uid_is_the_key() -> None:
    mapping = users({"id": "fs_id", "uid": "uid"}, columns("fs_id", "uid"))
    both = mapping.map_record({"fs_id": 9, "uid": "u"})
    assert both == Mapped(body=b'{"id":"9","uid":"u"}', key="u")
    assert mapping.map_record({"fs_id": 9}) == Mapped(body=b'{"id":"9"}', key="9")


def test_email_and_display_name_come_from_columns_of_those_names() -> None:
    record = {"display_name": "D", "email": "e@x", "uid": 1}
    assert users().map_record(record) == Mapped(body=b'{"uid":"1","email":"e@x","display_name":"D"}', key="1")


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_optional_field_is_omitted(nothing: Any) -> None:
    assert users().map_record({"uid": 1, "email": nothing}) == Mapped(body=b'{"uid":"1"}', key="1")


def test_an_optional_field_that_is_no_text_is_left_out_and_counted() -> None:
    outcome = users().map_record({"uid": 1, "email": ["a"], "display_name": "\udfff"})
    assert outcome == Mapped(body=b'{"uid":"1"}', key="1", dropped=("email", "display_name"))


@pytest.mark.parametrize(
    ("column", "limit", "code"),
    [
        ("uid", 256, "uid_too_long"),
        ("email", 128, "email_too_long"),
        ("display_name", 256, "display_name_too_long"),
    ],
)
def test_lengths_of_a_users_fields(column: str, limit: int, code: str) -> None:
    assert request(users(), {"uid": 1, column: "é" * limit})[column] == "é" * limit
    assert rejection(users(), {"uid": 1, column: "é" * (limit + 1)}) == code


def test_sources_may_be_nested_columns_constants_and_templates() -> None:
    mapping = users(
        {"uid": {"template": "user_{id}"}, "email": "contact.email", "display_name": {"const": "Somebody"}},
        columns("id", contact={"type": "object", "properties": {"email": {}}}),
    )
    assert request(mapping, {"id": 7, "contact": {"email": "e@x"}}) == {
        "uid": "user_7",
        "email": "e@x",
        "display_name": "Somebody",
    }
    assert request(mapping, {"id": 7, "contact": None}) == {"uid": "user_7", "display_name": "Somebody"}


@pytest.mark.parametrize(
    ("template", "record", "uid"),
    [
        ("user_{id}", {"id": 7}, "user_7"),
        ("{id}", {"id": 7}, "7"),
        ("{a}-{b}", {"a": 1, "b": "x"}, "1-x"),
        ("{{{id}}}", {"id": 7}, "{7}"),
        ("{{id}}{id}", {"id": 7}, "{id}7"),
        ("{a.b}", {"a": {"b": 1}}, "1"),
        ("{a.b}", {"a.b": 2, "a": {"b": 1}}, "2"),
        ("{first name}!", {"first name": "J"}, "J!"),
    ],
)
def test_templates(template: str, record: dict[str, Any], uid: str) -> None:
    assert request(users({"uid": {"template": template}}), record)["uid"] == uid


@pytest.mark.parametrize("record", [{}, {"a": 1}, {"a": 1, "b": None}, {"a": "", "b": 1}])
def test_a_template_gives_nothing_where_a_column_has_nothing(record: dict[str, Any]) -> None:
    assert rejection(users({"uid": {"template": "{a}{b}"}}), record) == "missing_uid"


def test_a_column_whose_name_has_a_dot_goes_before_a_path() -> None:
    nested = {"type": "object", "properties": {"b": {}, "b.c": {}}}
    schema = columns(a=nested)
    schema["properties"]["a.b"] = {"type": "string"}
    mapping = users({"uid": "a.b", "email": "a.b.c"}, schema)
    record = {"a.b": "literal", "a": {"b": "path", "b.c": "deep"}}
    assert request(mapping, record) == {"uid": "literal", "email": "deep"}


def test_an_excluded_column_is_no_default_for_an_optional_field() -> None:
    record = {"uid": 1, "email": "e@x"}
    assert request(users(exclude=["email"]), record) == {"uid": "1"}
    assert request(users({"email": "email"}, exclude=["email"]), record)["email"] == "e@x"


# --- events --------------------------------------------------------------------------------------


def test_an_events_fields_come_from_columns_of_their_names_in_a_fixed_order() -> None:
    record = {
        "context": {"location": {"city": "Lund"}, "browser": {"url": "https://x"}},
        "session": {"use_most_recent": True},
        "user": {"uid": 5},
        "timestamp": "2024-01-02T03:04:05Z",
        "name": "Bought",
    }
    assert events().map_record(record) == Mapped(
        body=(
            b'{"name":"Bought","timestamp":"2024-01-02T03:04:05Z","user":{"uid":"5"},'
            b'"session":{"use_most_recent":true},'
            b'"context":{"browser":{"url":"https://x"},"location":{"city":"Lund"}}}'
        ),
        timed=True,
    )


@pytest.mark.parametrize("name", [None, "", [], {}, "\ud800"])
def test_an_event_without_a_name_is_rejected(name: Any) -> None:
    assert rejection(events(), {"name": name}) == "missing_name"


def test_lengths_of_an_events_fields() -> None:
    assert request(events(), {"name": "n" * 250}) == {"name": "n" * 250}
    assert rejection(events(), {"name": "n" * 251}) == "name_too_long"
    assert rejection(events(), {"name": "n", "user": {"uid": "u" * 257}}) == "uid_too_long"


@pytest.mark.parametrize(
    ("user", "session", "sent"),
    [
        (None, None, {}),
        ({"uid": 1}, None, {"user": {"uid": "1"}}),
        ({"id": 1}, None, {"user": {"id": "1"}}),
        ({"uid": 1, "id": 2}, None, {"user": {"uid": "1"}}),
        ({"uid": "", "id": 2}, None, {"user": {"id": "2"}}),
        ({"uid": 1}, {"id": "d:s"}, {"session": {"id": "d:s"}}),
        ({"uid": 1}, {"id": "d:s", "use_most_recent": True}, {"session": {"id": "d:s"}}),
        ({"uid": 1}, {"use_most_recent": True}, {"user": {"uid": "1"}, "session": {"use_most_recent": True}}),
        (
            {"uid": 1},
            {"id": None, "use_most_recent": "TRUE"},
            {"user": {"uid": "1"}, "session": {"use_most_recent": True}},
        ),
        ({"uid": 1}, {"use_most_recent": False}, {"user": {"uid": "1"}}),
        (None, {"use_most_recent": True}, {}),
        ({}, {"id": ""}, {}),
    ],
)
def test_an_event_is_identified_in_one_way_only(user: Any, session: Any, sent: Any) -> None:
    record = {"name": "n", "user": user, "session": session}
    assert request(events(), record) == {"name": "n", **sent}


@pytest.mark.parametrize(
    ("given", "session_id"),
    [
        ("123:456", "123:456"),
        (123, "123"),
        ("https://app.fullstory.com/ui/ORG/session/123%3A456", "123:456"),
        ("https://app.eu1.fullstory.com/ui/ORG/session/123%3A456/?x=1#y", "123:456"),
        ("http://127.0.0.1/session/1:2", "1:2"),
    ],
)
def test_a_session_is_given_by_its_id_or_its_replay_url(given: Any, session_id: str) -> None:
    assert request(events({"session.id": "s"}), {"name": "n", "s": given}) == {
        "name": "n",
        "session": {"id": session_id},
    }


def test_a_replay_url_without_an_id_is_left_out_and_counted() -> None:
    outcome = events({"session.id": "s"}).map_record({"name": "n", "s": "https://[bad"})
    assert outcome == Mapped(body=b'{"name":"n"}', dropped=("session.id",))


def test_a_session_uid_is_sent_where_mapped_and_alone() -> None:
    mapping = events({"session.uid": "cart", "user.uid": "customer"})
    assert request(mapping, {"name": "n", "cart": 4, "customer": 5})["session"] == {"uid": "4"}
    assert "user" not in request(mapping, {"name": "n", "cart": 4, "customer": 5})
    by_default = events().map_record({"name": "n", "session": {"uid": "x"}})
    assert by_default == Mapped(body=b'{"name":"n"}', dropped=("session.uid",))
    too_long = mapping.map_record({"name": "n", "cart": "c" * 257})
    assert too_long == Mapped(body=b'{"name":"n"}', dropped=("session.uid",))


def test_context_takes_known_keys_with_their_types() -> None:
    outcome = events().map_record(
        {
            "name": "n",
            "context": {
                "device": {"screen_width": "1920", "screen_height": 1080.0, "viewport_width": 1.5},
                "location": {"latitude": "59.3", "longitude": 18, "ip_address": "10.0.0.1"},
                "browser": {"url": "", "user_agent": None, "tab": 3},
                "mobile": {"app_version": 4.0, "app_id": {"a": 1}},
                "os": {"name": "x"},
                "nothing": None,
            },
        }
    )
    assert isinstance(outcome, Mapped)
    assert msgspec.json.decode(outcome.body)["context"] == {
        "mobile": {"app_version": "4"},
        "device": {"screen_width": 1920, "screen_height": 1080},
        "location": {"latitude": 59.3, "longitude": 18, "ip_address": "10.0.0.1"},
    }
    assert set(outcome.dropped) == {
        "context.device.viewport_width",
        "context.mobile.app_id",
        "context.browser.tab",
        "context.os",
    }


@pytest.mark.parametrize("value", ["text", 3, [1], True])
def test_a_group_that_is_no_object_is_left_out_and_counted(value: Any) -> None:
    outcome = events().map_record({"name": "n", "user": value, "context": {"device": value}})
    assert outcome == Mapped(body=b'{"name":"n"}', dropped=("user", "context.device"))


def test_a_group_is_not_taken_by_default_where_a_part_of_it_is_mapped() -> None:
    schema = columns("name", "customer", user={"type": "object"}, context={"type": "string"})
    mapping = events({"user.uid": "customer"}, schema, properties=None)
    record = {"name": "n", "customer": 1, "user": {"id": 2}, "context": "email"}
    assert request(mapping, record) == {
        "name": "n",
        "user": {"uid": "1"},
        "properties": {"user": {"id": 2}, "context": "email"},
    }


def test_a_group_may_be_another_column() -> None:
    mapping = events({"user": "person", "context": "meta.ctx"})
    record = {"name": "n", "person": {"uid": 1}, "meta": {"ctx": {"browser": {"url": "u"}}}}
    assert request(mapping, record) == {
        "name": "n",
        "user": {"uid": "1"},
        "context": {"browser": {"url": "u"}},
    }


def test_what_is_excluded_of_a_group_is_not_sent() -> None:
    location = {"ip_address": "10.0.0.1", "city": "Lund"}
    record = {"name": "n", "user": {"uid": 1, "id": 2}, "context": {"location": location, "x": 1}}
    mapping = events(exclude=["context.location.ip_address", "context.x", "user.uid"])
    assert mapping.map_record(record) == Mapped(
        body=b'{"name":"n","user":{"id":"2"},"context":{"location":{"city":"Lund"}}}'
    )
    mapping = events({"context": "c"}, exclude=["c.location"])
    outcome = mapping.map_record({"name": "n", "c": {"location": location, "browser": {}}})
    assert outcome == Mapped(body=b'{"name":"n"}')
    mapping = events({"user": "person"}, exclude=["person"])
    assert request(mapping, {"name": "n", "person": {"uid": 1}})["user"] == {"uid": "1"}


# --- timestamps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("2024-01-02T03:04:05.123456789Z", "2024-01-02T03:04:05.123456789Z"),
        ("2024-01-02T03:04:05+05:30", "2024-01-02T03:04:05+05:30"),
        ("2024-01-02T03:04:05-0500", "2024-01-02T03:04:05-05:00"),
        ("2024-01-02T03:04:05+01", "2024-01-02T03:04:05+01:00"),
        ("2024-01-02T03:04:05", "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.5", "2024-01-02T03:04:05.5Z"),
        ("2024-01-02T03:04", "2024-01-02T03:04:00Z"),
        ("2024-01-02 03:04:05", "2024-01-02T03:04:05Z"),
        ("2024-01-02 03:04:05 UTC", "2024-01-02T03:04:05Z"),
        ("2024-01-02t03:04:05z", "2024-01-02T03:04:05Z"),
        (" 2024-01-02 ", "2024-01-02T00:00:00Z"),
        ("2024-01-02T03Z", "2024-01-02T03:00:00Z"),
        ("2024-01-02T03", "2024-01-02T03:00:00Z"),
        ("2024-01-02T03+01:00", "2024-01-02T03:00:00+01:00"),
        ("20240102T030405Z", "2024-01-02T03:04:05Z"),
        ("20240102T030405.25Z", "2024-01-02T03:04:05.25Z"),
        ("20240102T030405+0100", "2024-01-02T03:04:05+01:00"),
        ("20240102T030405-05", "2024-01-02T03:04:05-05:00"),
        ("20240102T0304", "2024-01-02T03:04:00Z"),
        ("20240102T03Z", "2024-01-02T03:00:00Z"),
        ("20240102", "2024-01-02T00:00:00Z"),
        ("20240229", "2024-02-29T00:00:00Z"),
        ("20230229", "1970-08-23T03:30:29Z"),
        ("17000000", "1970-07-16T18:13:20Z"),
        (20240102, "1970-08-23T06:15:02Z"),
        ("20240102.5", "1970-08-23T06:15:02.500Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
        ("2024-01-02T03:04:05-00:00", "2024-01-02T03:04:05-00:00"),
        (0, "1970-01-01T00:00:00Z"),
        (1700000000, "2023-11-14T22:13:20Z"),
        (1700000000.25, "2023-11-14T22:13:20.250Z"),
        (1700000000123, "2023-11-14T22:13:20.123Z"),
        (1700000000000, "2023-11-14T22:13:20Z"),
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("1700000000.5", "2023-11-14T22:13:20.500Z"),
        (Decimal("1700000000.25"), "2023-11-14T22:13:20.250Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (99_999_999_999, "5138-11-16T09:46:39Z"),
        (100_000_000_000, "1973-03-03T09:46:40Z"),
        (date(2024, 1, 2), "2024-01-02T00:00:00Z"),
        (datetime.fromisoformat("2024-01-02T03:04:05"), "2024-01-02T03:04:05Z"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2024-01-02T03:04:05Z"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2024-01-02T03:04:05+02:00"),
    ],
)
def test_timestamps(given: Any, sent: str) -> None:
    outcome = events().map_record({"name": "n", "timestamp": given})
    assert isinstance(outcome, Mapped), outcome
    assert msgspec.json.decode(outcome.body)["timestamp"] == sent
    assert outcome.timed


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2023-02-29T00:00:00Z",
        "2024-13-01",
        "0000-01-01",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+00:60",
        "2024-1-1",
        "2016-12-31T23:59:60Z",
        "2024-W01-2",
        "2024W012",
        "20240102Z",
        "20240102T25Z",
        "20230229T00Z",
        "2024-01-02T0304",
        "20240102T03:04",
        "",
        "  ",
        "01/02/2024",
        "2024-01-01T00:00:00Z trailing",
        10**16,
        -(10**16),
        10**400,
        "9" * 21,
        float("nan"),
        True,
        {},
        [],
        "\ud800",
    ],
)
def test_what_is_no_timestamp_rejects_the_event(given: Any) -> None:
    assert rejection(events(), {"name": "n", "timestamp": given}) == "invalid_timestamp"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("", "'' is neither ISO 8601"),
        ("soon", "'soon' is neither ISO 8601"),
        (10**16, "10000000000000000 is neither ISO 8601"),
        (10**400, "is out of range, neither ISO 8601"),
        (True, "is a boolean, neither ISO 8601"),
        ({"a": 1}, "is an object, neither ISO 8601"),
        ([1], "is an array, neither ISO 8601"),
        ("\ud800", "'\\ud800' is neither ISO 8601"),
    ],
)
def test_the_rejection_tells_what_the_timestamp_is(given: Any, what: str) -> None:
    outcome = events().map_record({"name": "n", "timestamp": given})
    assert isinstance(outcome, Rejected)
    assert outcome.message.startswith(f"timestamp {what}")


@pytest.mark.parametrize("record", [{}, {"timestamp": None}])
def test_without_a_timestamp_the_event_is_not_timed(record: dict[str, Any]) -> None:
    assert events().map_record({"name": "n", **record}) == Mapped(body=b'{"name":"n"}', timed=False)


def test_an_empty_text_in_a_mapped_column_is_no_timestamp_either() -> None:
    mapping = events({"timestamp": "at"})
    assert rejection(mapping, {"name": "n", "at": ""}) == "invalid_timestamp"
    assert request(mapping, {"name": "n", "at": None}) == {"name": "n"}
    nested = events({"timestamp": "meta.at"})
    assert rejection(nested, {"name": "n", "meta": {"at": ""}}) == "invalid_timestamp"
    assert request(nested, {"name": "n", "meta": None}) == {"name": "n"}
