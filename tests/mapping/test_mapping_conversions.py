"""Casts, small transforms and time zones, by example."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected, check_spec
from target_fullstory.mapping.spec import SoftDelete
from tests.mapping.one_by_one import Mapped, OneByOne, compile_mapping
from tests.mapping.test_mapping_typed import line_of, same

NAIVE = datetime(2026, 1, 5, 9, 12, 44, 5000)  # noqa: DTZ001 - without a time zone
ANY = {"type": "object", "properties": {"uid": {}, "v": {}, "w": {}}}


def mapping_of(source: Any, schema: Any = ANY, *, template: Any = None, **spec: Any) -> OneByOne:
    if template is not None:
        made = MappingSpec(kind="users", json={"uid": "u", "properties": {"p": template}}, **spec)
    else:
        made = MappingSpec(kind="users", fields={"uid": {"const": "u"}}, properties={"p": source}, **spec)
    return compile_mapping("s", made, schema, [], MappingOptions())


def property_of(mapping: OneByOne, record: dict[str, Any]) -> Any:
    """The property's value; `...` where it is left out and counted, None where there is none."""
    outcome = mapping.map_record(record)
    assert isinstance(outcome, Mapped)
    assert outcome.dropped in ((), ("p",))
    return ... if outcome.dropped else json.loads(outcome.body)["properties"].get("p")


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("str", 7.0, "7"),
        ("str", 7, "7"),
        ("str", True, "true"),
        ("str", "", ""),
        ("str", {"a": [1.0]}, '{"a":[1.0]}'),
        ("str", ["a", 1], '["a",1]'),
        ("str", [], "[]"),
        ("str", Decimal("1.5"), "1.5"),
        ("str", date(2026, 1, 5), "2026-01-05"),
        ("str", float("nan"), ...),
        ("str", "x" * 8193, ...),
        ("int", " 12 ", 12),
        ("int", "12.0", 12),
        ("int", "1e3", 1000),
        ("int", "9007199254740993", 9007199254740993),
        ("int", 12.0, 12),
        ("int", True, 1),
        ("int", "12.5", ...),
        ("int", 12.5, ...),
        ("int", "1_000", ...),
        ("int", "0x10", ...),
        ("int", "9223372036854775808", ...),
        ("int", "9" * 5000, ...),
        ("int", "inf", ...),
        ("int", "", None),
        ("int", None, None),
        ("int", [1], ...),
        ("real", "1.50", 1.5),
        ("real", "12", 12),
        ("real", "1e999", ...),
        ("real", "nan", ...),
        ("real", False, 0),
        ("real", "\u0661", ...),
        ("bool", "TRUE", True),
        ("bool", " f ", False),
        ("bool", "", False),
        ("bool", 1.0, True),
        ("bool", 0, False),
        ("bool", 2, ...),
        ("bool", "yes", ...),
        ("date", "2026-01-05", "2026-01-05"),
        ("date", "20260105", "2026-01-05"),
        ("date", "2026-01-05 09:12", "2026-01-05T09:12:00Z"),
        ("date", 1767604364, "2026-01-05T09:12:44Z"),
        ("date", "1767604364250", "2026-01-05T09:12:44.250Z"),
        ("date", date(2026, 1, 5), "2026-01-05"),
        ("date", NAIVE, "2026-01-05T09:12:44.005000Z"),
        ("date", datetime(2026, 1, 5, 9, 12, tzinfo=timezone.utc), "2026-01-05T09:12:00Z"),
        ("date", "2026-02-30", ...),
        ("date", "n/a", ...),
        ("date", True, ...),
    ],
)
def test_casts(kind: str, value: Any, made: Any) -> None:
    assert property_of(mapping_of({"column": "v", "as": kind}), {"v": value}) == made
    assert type(property_of(mapping_of({"column": "v", "as": kind}), {"v": value})) is type(made)


@pytest.mark.parametrize(
    ("source", "record", "made"),
    [
        ({"coalesce": ["v", "w"]}, {"v": "", "w": "b"}, "b"),
        ({"coalesce": ["v", "w"]}, {"v": " ", "w": "b"}, " "),
        ({"coalesce": ["v", "w"], "trim": True}, {"v": " ", "w": "b "}, "b"),
        ({"coalesce": ["v", "w"]}, {"v": 0, "w": "b"}, 0),
        ({"coalesce": ["v", "w"], "default": "d"}, {"v": None}, "d"),
        ({"coalesce": ["v", "w"]}, {}, None),
        ({"column": "v", "default": 5}, {}, 5),
        ({"column": "v", "default": 5}, {"v": 0}, 0),
        ({"column": "v", "default": "5", "as": "int"}, {"v": None}, 5),
        ({"column": "v", "default": 5, "as": "int"}, {"v": "x"}, ...),
        ({"column": "v", "upper": True}, {"v": "é1"}, "É1"),
        ({"column": "v", "trim": True}, {"v": " \t"}, ""),
        ({"column": "v", "trim": False, "lower": None}, {"v": " A"}, " A"),
        ({"column": "v", "map": {"1": "free"}}, {"v": 1.0}, "free"),
        ({"column": "v", "map": {"1": "free"}}, {"v": "2"}, ...),
        ({"column": "v", "map": {"1": "free"}, "default": "x"}, {"v": "2"}, "x"),
        ({"column": "v", "map": {"1": "free"}}, {"v": ""}, None),
        ({"column": "v", "map": {"": "none"}}, {"v": ""}, "none"),
        ({"column": "v", "map": {"true": False}}, {"v": True}, False),
        ({"column": "v", "map": {"a": "b"}, "lower": True, "trim": True}, {"v": " A "}, "b"),
        ({"column": "v", "map": {"a": "5"}, "as": "int"}, {"v": "a"}, 5),
        ({"column": "v", "map": {"a": 1}}, {"v": {"a": 1}}, ...),
        ({"template": "{v}-{w}", "lower": True}, {"v": "A", "w": 1}, "a-1"),
        (
            {"template": "{v} {w}", "format": "%d.%m.%Y %H:%M"},
            {"v": "5.7.2026", "w": "9:12"},
            "2026-07-05T09:12:00Z",
        ),
        ({"column": "v", "format": "%d.%m.%Y"}, {"v": " 05.07.2026 "}, "2026-07-05"),
        ({"column": "v", "format": "%Y%m%d"}, {"v": 20260705}, "2026-07-05"),
        (
            {"column": "v", "format": "%d.%m.%Y", "timezone": "Europe/Berlin"},
            {"v": "05.07.2026"},
            "2026-07-05T00:00:00+02:00",
        ),
        (
            {"column": "v", "format": "%Y-%m-%d %H:%M %z"},
            {"v": "2026-07-05 09:12 -0130"},
            "2026-07-05T09:12:00-01:30",
        ),
        ({"column": "v", "format": "%Y-%m-%d"}, {"v": "2026-02-30"}, ...),
        ({"column": "v", "timezone": "Europe/Berlin"}, {"v": "2026-07-05"}, "2026-07-05T00:00:00+02:00"),
        ({"column": "v", "timezone": "Europe/Berlin"}, {"v": "2026-07-05T09:12:44Z"}, "2026-07-05T09:12:44Z"),
        (
            {"column": "v", "timezone": "Europe/Berlin"},
            {"v": "2026-10-25 02:30:00"},
            "2026-10-25T02:30:00+02:00",
        ),
        ({"column": "v", "timezone": "Europe/Berlin"}, {"v": "1890-01-01 00:00:00"}, "1889-12-31T23:06:32Z"),
        (
            {"column": "v", "timezone": "Europe/London"},
            {"v": "2026-01-05 09:12:44.25"},
            "2026-01-05T09:12:44.25Z",
        ),
        ({"column": "v", "timezone": "Asia/Kolkata"}, {"v": "0001-01-01 00:00:00"}, ...),
        ({"const": ["a", 1]}, {}, ["a", 1]),
        ({"column": "v"}, {"v": {"a": 1}}, {"a": 1}),
    ],
)
def test_transforms(source: Any, record: dict[str, Any], made: Any) -> None:
    assert property_of(mapping_of(source), record) == made


def test_the_mappings_time_zone_is_for_all_that_has_none() -> None:
    columns = {"id": {"type": "integer"}, "at": {"type": ["null", "string"], "format": "date-time"}}
    fields = {"name": {"const": "n"}, "timestamp": "at"}
    properties = {
        "at": "at",
        "own": {"column": "at", "timezone": "Asia/Tokyo"},
        "cast": {"column": "at", "as": "date"},
    }
    spec = MappingSpec(kind="events", fields=fields, properties=properties, timezone="Europe/Berlin")
    mapping = compile_mapping("s", spec, {"type": "object", "properties": columns}, [], MappingOptions())
    outcome = mapping.map_record({"at": "2026-07-05 09:12:44"})
    assert isinstance(outcome, Mapped)
    assert outcome.body.count(b"2026-07-05T09:12:44+02:00") == 3
    assert b'"own":"2026-07-05T09:12:44+09:00"' in outcome.body
    assert same(mapping, {"at": "2026-07-05 09:12:44"})
    template = {"name": "n", "properties": {"s": ["toUnixTimestamp", ["var", "at"]]}}
    spec = MappingSpec(kind="events", json=template, timezone="Europe/Berlin")
    mapping = compile_mapping("s", spec, {"type": "object", "properties": columns}, [], MappingOptions())
    outcome = mapping.map_record({"at": "1970-01-01 01:00:00"})
    assert isinstance(outcome, Mapped)
    assert b'"s":0' in outcome.body


@pytest.mark.parametrize(
    ("template", "value", "made"),
    [
        (["asString", ["var", "v"]], 1.0, "1"),
        (["asString", ["var", "v"]], ["a", None, 1.0, True], "a, 1, true"),
        (["asString", ["var", "v"]], [{"a": 1}], '[{"a":1}]'),
        (["asNumber", ["var", "v"]], "1.5", 1.5),
        (["asNumber", ["var", "v"]], "", None),
        (["asNumber", ["var", "v"]], "x", ...),
        (["asBool", ["var", "v"]], "T", True),
        (["asBool", ["var", "v"]], "", False),
        (["asBool", ["var", "v"]], "no", ...),
        (["asStrings", ["var", "v"]], [1, None, ""], ["1", ""]),
        (["asNumbers", ["var", "v"]], ["1", "", True], [1, 1]),
        (["asNumbers", ["var", "v"]], ["1", "x"], ...),
        (["asNumbers", ["var", "v"]], "5", [5]),
        (["asBools", ["list", ["var", "v"], "0"]], "t", [True, False]),
        (["asNumber", ["asString", ["var", "v"]]], 5, 5),
        (["concat", "n", ["asString", ["var", "v"]]], [1, 2], "n1, 2"),
        (["asString", 5], None, "5"),
    ],
)
def test_casts_of_a_template(template: Any, value: Any, made: Any) -> None:
    assert property_of(mapping_of(None, template=template), {"v": value}) == made


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"uid": {"column": "a", "as": "string"}}, "uid.as: 'string' is no type; did you mean 'str'?"),
        ({"uid": {"column": "a", "case": "lower"}}, "uid.case: 'case' is no key of a source"),
        ({"uid": {"column": "a", "trimm": True}}, "did you mean 'trim'?"),
        ({"uid": {"column": ""}}, "uid.column: takes a column's name"),
        ({"uid": {"column": "a", "template": "{b}"}}, "uid: a source is"),
        ({"uid": {"const": "a", "lower": True}}, "uid.const: is sent as it is"),
        ({"uid": {"coalesce": "a"}}, "uid.coalesce: takes a list"),
        ({"uid": {"coalesce": []}}, "uid.coalesce: takes a list"),
        ({"uid": {"column": "a", "lower": "yes"}}, "uid.lower: is true or false"),
        ({"uid": {"column": "a", "lower": True, "upper": True}}, "uid.upper: contradicts lower"),
        ({"uid": {"column": "a", "as": "int", "upper": True}}, "uid.upper: is for text"),
        ({"uid": {"column": "a", "as": "int", "timezone": "UTC"}}, "uid.timezone: is for dates"),
        ({"uid": {"column": "a", "format": "%Y", "as": "str"}}, "uid.format: is for dates"),
        ({"uid": {"column": "a", "format": "%Q"}}, "'Q' is a bad directive"),
        ({"uid": {"column": "a", "format": "%H:%M"}}, "it does not tell year, month and day"),
        ({"uid": {"column": "a", "format": 5}}, "uid.format: 5 is no format"),
        ({"uid": {"column": "a", "timezone": "Mars/Olympus"}}, "uid.timezone: 'Mars/Olympus' is no time"),
        ({"uid": {"column": "a", "timezone": "../etc"}}, "is no time zone"),
        ({"uid": {"column": "a", "timezone": "europe/berlin "}}, "did you mean 'Europe/Berlin'?"),
        ({"uid": {"column": "a", "map": {}}}, "uid.map: takes {value: what is sent for it}"),
        ({"uid": {"column": "a", "map": {"1": ["x"]}}}, "uid.map.1: takes text, a number"),
        ({"uid": {"column": "a", "map": {"1": "x"}, "as": "int"}}, "uid.map.1: 'x' cannot be cast to int"),
        ({"uid": {"column": "a", "map": {"1": "x"}, "as": "date"}}, "uid.map: gives no dates"),
        ({"uid": {"column": "a", "default": "x", "as": "int"}}, "uid.default: 'x' cannot be cast to int"),
        ({"uid": {"column": "a", "default": {}}}, "uid.default: takes text, a number"),
    ],
)
def test_mistakes(fields: dict[str, Any], told: str) -> None:
    for spec in ({"fields": fields}, {"fields": {}, "properties": fields}):
        with pytest.raises(ConfigurationError) as caught:
            check_spec("c", MappingSpec(kind="users", **spec))
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"timezone": "Berlin"}, "streams.c.timezone: 'Berlin' is no time zone; did you mean"),
        (
            {"kind": "user_deletions", "timezone": "UTC"},
            "streams.c.timezone: kind 'user_deletions' sends no dates",
        ),
        ({"kind": "events", "soft_delete": {"column": "a"}}, "streams.c.soft_delete: only kind 'users'"),
        ({"properties": {"p": {"const": None}}}, "streams.c.properties.p: a property cannot be None"),
        ({"properties": {"p": {"coalesce": ["a", "b"]}}, "exclude": ["b"]}, "'b' is also under exclude"),
        ({"json": {"uid": ["asStrings", "a"]}}, "neither a list nor an object can stand here"),
        ({"json": {"uid": ["asStrin", ["var", "a"]]}}, "did you mean 'asString'?"),
        ({"json": {"uid": "u", "properties": {"p": ["asNumber", "x"]}}}, "'x' cannot be cast"),
        (
            {"json": {"uid": "u", "properties": {"p": ["asNumber"]}}},
            "asNumber takes one argument, this has 0",
        ),
        (
            {"json": {"uid": "u", "properties": {"p": ["asString", {"a": ["var", "b"]}]}}},
            "an object of the template",
        ),
    ],
)
def test_more_mistakes(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_spec("c", msgspec.convert({"kind": "users"} | spec, MappingSpec))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            {"properties": {"p": {"column": "plam", "as": "str"}}},
            "properties.p: the SCHEMA of stream 's' has no column",
        ),
        ({"fields": {"email": {"coalesce": ["plan", "plam"]}}}, "did you mean 'plan'?"),
        (
            {"soft_delete": {"column": "plam"}},
            "streams.s.soft_delete.column: the SCHEMA of stream 's' has no column",
        ),
        (
            {"properties": {"p": {"column": "address", "as": "str"}}, "exclude": ["address.street"]},
            "streams.s.properties.p: 'address.street', which is under exclude",
        ),
    ],
)
def test_mistakes_that_the_schema_shows(spec: dict[str, Any], told: str) -> None:
    address = {"type": "object", "properties": {"street": {"type": "string"}}}
    columns = {"uid": {"type": "string"}, "plan": {"type": "string"}, "address": address}
    made = msgspec.convert({"kind": "users"} | spec, MappingSpec)
    with pytest.raises(ConfigurationError) as caught:
        compile_mapping("s", made, {"properties": columns}, [], MappingOptions())
    assert told in str(caught.value)


def test_a_column_alone_is_the_same_code_however_it_is_written() -> None:
    columns = {"uid": {"type": "string"}, "plan": {"type": "string"}, "seats": {"type": "integer"}}
    schema = {"type": "object", "properties": columns}

    def code_of(plan: Any) -> list[str]:
        spec = MappingSpec(kind="users", properties={"plan": plan, "seats": "seats"})
        return compile_mapping("s", spec, schema, [], MappingOptions(), validate=True).mapper.sources

    assert code_of({"column": "plan"}) == code_of("plan") != code_of({"column": "plan", "trim": True})


def test_a_rejection_is_of_the_column_on_both_paths() -> None:
    columns = {"uid": {"type": ["null", "string"]}, "mail": {"type": "string"}}
    spec = MappingSpec(kind="users", fields={"email": "mail"})
    mapping = compile_mapping("s", spec, {"type": "object", "properties": columns}, [], MappingOptions())
    for record, column in (({"uid": None}, "uid"), ({"uid": "u", "mail": "m" * 129}, "mail")):
        outcome = mapping.map_record(record)
        assert isinstance(outcome, Rejected)
        assert outcome.column == column
        assert same(mapping, record)


@pytest.mark.parametrize("properties", [None, ["plan"], ["gone", "plan"]])
@pytest.mark.parametrize("keys", [["uid"], []])
def test_a_flag_that_says_deleted_needs_no_dictionary_where_it_is_false(
    properties: Any, keys: list[str]
) -> None:
    flag = {"type": ["null", "boolean"]}
    columns = {"uid": {"type": ["null", "string"]}, "gone": flag, "plan": {"type": ["null", "string"]}}
    spec = MappingSpec(kind="users", properties=properties, soft_delete=SoftDelete(column="gone"))
    schema = {"type": "object", "properties": columns, "required": ["plan"]}
    options = MappingOptions(hard_delete=True)
    mapping = compile_mapping("s", spec, schema, keys, options, validate=True)
    kinds = []
    for gone in (False, True, None):
        assert same(mapping, {"uid": "u", "gone": gone, "plan": None})
        outcome = mapping.map_record({"uid": "u", "gone": gone, "plan": "p"})
        assert isinstance(outcome, Mapped)
        kinds.append(outcome.kind)
    assert kinds == [None, "user_deletions", None]
    assert same(mapping, {"uid": None, "gone": True, "plan": "p"})
    assert same(mapping, {"uid": "u", "plan": "p"})
    assert mapping.decoder is not None
    lines = [line_of({"uid": str(n), "gone": n % 3 == 1, "plan": "p"}) for n in range(7)]
    rejected: list[Any] = []
    records = mapping.decoder.decode_lines(b"\n".join(lines))
    chunks = mapping.mapper.map(records, lambda *one: rejected.append(one), rejected.append)
    found = [(chunk.kind, chunk.keys) for chunk in chunks]
    gone, there = "user_deletions", "users"
    assert found == [(there, ["0"]), (gone, ["1"]), (there, ["2", "3"]), (gone, ["4"]), (there, ["5", "6"])]
    assert rejected == []
