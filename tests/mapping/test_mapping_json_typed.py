"""The `json` form and typed decoding: what the decoder takes becomes what a dictionary does."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import event, example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from target_fullstory.mapping.rules.timestamps import timestamp_of, unix_seconds_of, written_seconds
from tests.examples import examples
from tests.mapping.one_by_one import OneByOne, compile_mapping
from tests.mapping.test_mapping_typed import same, sent, together

PAGE = Path(__file__).parents[2] / "docs/json-form.md"


def var(path: str) -> list[str]:
    return ["var", path]


def null_or(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": ["null", kind], **more}


def compiled(
    template: Any, columns: dict[str, Any], *, kind: str = "events", validate: bool = True, **options: Any
) -> OneByOne:
    spec = MappingSpec(kind=kind, json=template)
    schema = {"type": "object", "properties": columns}
    return compile_mapping("s", spec, schema, [], MappingOptions(**options), validate=validate)


# --- the page's mappings -------------------------------------------------------------------------

TEXT = null_or("string")
LINES = {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}}
EMAILS = {"type": "array", "items": {"type": "string"}}
OF_THE_PAGE = {
    "promos": (
        {
            "customer_id": {"type": "integer"},
            "applied_at": null_or("string", format="date-time"),
            "expires_at": null_or("string", format="date"),
            "code": TEXT,
            "campaign": null_or("object", properties={"code": TEXT}),
            "lines": LINES,
        },
        {
            "customer_id": 7,
            "applied_at": "2026-01-05T09:12:44Z",
            "expires_at": "2026-02-01",
            "code": "SPRING",
            "campaign": {"code": "C-12"},
            "lines": [{"sku": "A1"}, {"sku": "B2"}],
        },
        {"customer_id": 8, "code": None, "campaign": None, "lines": []},
    ),
    "imports": (
        {
            "at": null_or("string", format="date-time"),
            "rows": TEXT,
            "complete": TEXT,
            "files": {"type": "array", "items": {"type": "string"}},
            "sizes": {"type": "array", "items": {"type": "string"}},
        },
        {"at": "2026-01-05T09:12:44Z", "rows": "1200", "complete": "T", "files": ["a", "b"], "sizes": ["10"]},
        {"at": None, "rows": "many", "complete": "", "files": [], "sizes": ["x"]},
    ),
    "accounts": (
        {
            "id": {"type": "integer"},
            "first_name": TEXT,
            "last_name": TEXT,
            "contact": null_or("object", properties={"emails": EMAILS}),
            "traits": {
                "type": "object",
                "properties": {
                    "plan": TEXT,
                    "seats": null_or("integer"),
                    "billing": {"type": "object", "properties": {"renews_on": TEXT}},
                },
            },
        },
        {
            "id": 31,
            "first_name": "Ada",
            "last_name": None,
            "contact": {"emails": ["ada@corp.example", "ada@home.example"]},
            "traits": {"plan": "pro", "seats": 12, "billing": {"renews_on": "2026-03-01"}},
        },
        {"id": 32, "first_name": "B", "last_name": "C", "contact": None, "traits": {}},
    ),
    "orders": (
        {
            "status": {"type": "string"},
            "created_at": {"type": "integer"},
            "device_id": TEXT,
            "session_id": TEXT,
            "page": null_or("object", properties={"url": TEXT}),
            "city": TEXT,
            "street": TEXT,
            "floor": null_or("integer"),
            "amount": null_or("number"),
        },
        {
            "status": "placed",
            "created_at": 1767604364,
            "device_id": "5804",
            "session_id": "9917",
            "page": {"url": "https://shop.example/cart"},
            "city": "Bonn",
            "street": "Weg 1",
            "floor": None,
            "amount": 12.5,
        },
        {"status": "paid", "created_at": 1767604365, "page": None, "floor": 2, "amount": None},
    ),
}


def mappings_of_the_page() -> dict[str, Any]:
    """The page's mappings by stream."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return {name: made for block in blocks for name, made in yaml.safe_load(block)["streams"].items()}


def test_every_mapping_of_the_page_is_looked_at() -> None:
    assert mappings_of_the_page().keys() == OF_THE_PAGE.keys()


@pytest.mark.parametrize("stream", OF_THE_PAGE)
@pytest.mark.parametrize("validate", [True, False])
def test_the_mappings_of_the_page_are_fast(stream: str, validate: bool) -> None:
    columns, *records = OF_THE_PAGE[stream]
    made = mappings_of_the_page()[stream]
    mapping = compiled(made["json"], columns, kind=made["kind"], validate=validate)
    for record in records:
        assert same(mapping, record)
    together(mapping, [*records, *records])


# --- by example ----------------------------------------------------------------------------------

COLUMNS = {
    "id": {"type": "integer"},
    "at": null_or("string", format="date-time"),
    "unix": null_or("integer"),
    "any_at": {"type": ["null", "string", "number"]},
    "code": TEXT,
    "price": null_or("number"),
    "flag": null_or("boolean"),
    "day": null_or("string", format="date"),
    "campaign": null_or(
        "object", properties={"code": {"type": "string"}, "n": null_or("integer"), "the end": TEXT}
    ),
    "lines": null_or(
        "array",
        items={"type": "object", "properties": {"sku": {"type": "string"}, "n": {}, "of": null_or("object")}},
    ),
    "tags": {"type": "array", "items": {"type": "string"}},
    "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
    "any": {},
}
RECORD = {
    "id": 7,
    "at": "2024-01-02T03:04:05.9Z",
    "unix": 1704164645,
    "any_at": "2024-01-02 03:04",
    "code": "SPRING",
    "price": 2.5,
    "flag": True,
    "day": "2024-01-02",
    "campaign": {"code": "c1", "n": 3, "the end": "soon"},
    "lines": [{"sku": "a", "n": 2}, {"sku": "b"}],
    "tags": ["x", "y"],
}


@pytest.mark.parametrize(
    ("template", "change", "whole"),
    [
        ("text", {}, True),
        (["list"], {}, True),
        (["list", ["list", 1], 2], {}, True),
        ({"a": {"b": 1.5, "c": ["x"]}, "d": {}}, {}, True),
        (var("lines.1.sku"), {}, True),
        (var("lines.0"), {}, True),
        (var("lines.0.n"), {"lines": [{"n": {"deep": 1}}]}, False),
        (var("lines.5.sku"), {}, True),
        (var("lines.0.sku"), {"lines": None}, True),
        (var("lines.0.sku"), {"lines": [None]}, False),
        (var("lines.0.sku"), {"lines": [{"more": 1}]}, False),
        (var("lines.0.sku"), {"lines": [{"sku": 1}]}, False),
        (var("tags.1"), {}, True),
        (["list", var("tags.0"), var("tags.7")], {}, True),
        (var("rows.0.0"), {}, True),
        (var("rows.0.0"), {"rows": [[1]]}, False),
        ({"tag": var("tags.0"), "tags": var("tags")}, {}, True),
        (["concat", "100%", var("id"), "%s", ["concat", var("code")]], {}, True),
        (["concat", var("price"), " ", var("flag")], {}, True),
        (["concat", var("price")], {"price": 1e300}, True),
        (["concat", "x", var("code")], {"code": None}, True),
        (["concat", "x", var("code"), "y"], {"code": ""}, True),
        (["concat", "x", var("code")], {"code": "x" * 2048}, True),
        (["concat", "x", var("campaign")], {}, False),
        (["concat", "at ", ["toUnixTimestamp", var("at")]], {}, True),
        (["toUnixTimestamp", var("at")], {}, True),
        (["toUnixTimestamp", var("at")], {"at": None}, True),
        (["toUnixTimestamp", var("at")], {"at": "9999-12-31T23:59:59.9999999Z"}, True),
        (["toUnixTimestamp", var("at")], {"at": "1969-12-31T23:59:59.5-01:30"}, True),
        (["toUnixTimestamp", var("at")], {"at": "0001-01-01T00:00:00+01:00"}, True),
        (["toUnixTimestamp", var("at")], {"at": "17"}, True),
        (["toUnixTimestamp", var("at")], {"at": "noon"}, False),
        (["toUnixTimestamp", var("at")], {"at": ""}, False),
        (["toUnixTimestamp", var("at")], {"at": "2024-13-02T03:04:05.9Z"}, False),
        (["toUnixTimestamp", var("day")], {}, True),
        (["toUnixTimestamp", var("day")], {"day": "2023-02-29"}, False),
        (["toUnixTimestamp", var("unix")], {}, True),
        (["toUnixTimestamp", var("unix")], {"unix": 253402300799999}, True),
        (["toUnixTimestamp", var("unix")], {"unix": -1}, True),
        (["toUnixTimestamp", var("unix")], {"unix": -(10**11)}, True),
        (["toUnixTimestamp", var("unix")], {"unix": 253402300800000}, False),
        (["toUnixTimestamp", var("any_at")], {}, True),
        (["toUnixTimestamp", var("any_at")], {"any_at": -1.5}, True),
        (["toUnixTimestamp", var("any_at")], {"any_at": 1e300}, False),
        (["toUnixTimestamp", ["concat", var("day"), "T01:00+01:00"]], {}, True),
        (["list", var("code"), var("campaign.code"), 5], {}, True),
        (["list", var("code"), var("campaign.code")], {"campaign": None}, True),
        (["list", var("code"), var("day")], {"code": ""}, True),
        (["list", var("id"), ["toUnixTimestamp", var("at")]], {}, True),
        (["list", var("day"), var("day")], {"day": "noon"}, True),
        (["list", var("code"), var("id")], {"code": "x" * 1000}, True),
        (["list", {"sku": var("lines.0.sku"), "%": var("price")}], {}, True),
        (["list", {"a": var("code")}], {"code": "x" * 1500}, True),
        (["list", {"a": var("code")}, ["list", var("code")]], {"code": "\n" * 2048}, False),
        (["list", {"a": var("tags")}], {}, True),
        (["list", ["toUnixTimestamp", var("at")], {"a": None}], {}, True),
        ({"a": {"b": var("code"), "c": var("campaign")}, "d": var("code")}, {}, True),
        ({"a": {"b": var("code"), "c": var("campaign")}}, {"campaign": None, "code": None}, True),
        ({"a": {"b": var("day")}, "c": ["concat", var("day")]}, {"day": "noon"}, True),
        (var("any"), {"any": "x"}, True),
        (var("any.0"), {"any": ["x"]}, False),
        (var("any.0"), {}, True),
    ],
)
def test_what_is_made_as_a_property(template: Any, change: Any, whole: bool) -> None:
    record = RECORD | change
    for options in ({}, {"declare_types": "all", "null_values": "send"}):
        properties = {"x y": template, "last": ["concat", "n", var("id")]}
        mapping = compiled({"name": "n", "properties": properties}, COLUMNS, **options)
        given_record = {k: v for k, v in record.items() if not options or v is not None}
        assert sent(mapping, given_record) == whole
        if whole:
            together(mapping, [RECORD_IN_PARTS, given_record, {"id": 1}, given_record])


RECORD_IN_PARTS = {"id": 8, "at": "2024-01-02", "day": "2024-01-02", "unix": 5, "tags": ["z"]}


@pytest.mark.parametrize(
    ("declared", "template", "value"),
    [
        ("int", var("any"), 5),
        ("int", var("any"), 5.0),
        ("int", var("any"), "5"),
        ("int", var("any"), [5]),
        ("ints", var("any"), 5),
        ("ints", var("any"), None),
        ("real", var("any"), 5),
        ("real", var("unix"), 5),
        ("real", ["toUnixTimestamp", var("unix")], 5),
        ("real", 5, 5),
        ("int", 5.0, 5),
        ("date", var("code"), "2024-01-02"),
        ("date", var("code"), "noon"),
        ("date", ["concat", var("code"), "-01"], "2024-01"),
        ("date", ["concat", var("code"), "-01"], "noon"),
        ("dates", ["list", var("code"), "2024-01-02"], "2024-01-01"),
        ("dates", ["list", ["concat", var("code")], "2024-01-02"], "noon"),
        ("strs", var("tags"), ["a"]),
        ("strs", ["list", ["list", var("code")], "b"], "a"),
        ("reals", ["list", var("price"), 2, ["toUnixTimestamp", var("unix")]], 5),
        ("ints", ["list", var("unix"), 2.0], 5),
    ],
)
def test_a_declared_type(declared: str, template: Any, value: Any) -> None:
    made = {"name": "n", "properties": {"a": template}, "schema": {"properties": {"a": declared}}}
    columns = [name for name in COLUMNS if f"'{name}'" in str(template)]
    record = {"id": 1} | dict.fromkeys(columns, value)
    mapping = compiled(made, COLUMNS, declare_types="none")
    assert sent(mapping, record)


@pytest.mark.parametrize(
    "template",
    [
        ["list", var("code"), "x" * 8160],
        ["concat", var("code"), "x" * 2040],
        ["list", *[var("code")] * 300],
        ["list", var("any"), "no number"],
        ["list", var("any"), ["concat", var("code")]],
        ["list", var("any"), ["toUnixTimestamp", var("at")]],
    ],
)
def test_a_template_of_which_little_is_sure(template: Any) -> None:
    declared = {"properties": {"a": "bools"}} if template[1] == var("any") else None
    made = {"name": "n", "properties": {"a": template}, "schema": declared}
    spec = MappingSpec(kind="events", json=made)
    schema = {"type": "object", "properties": COLUMNS}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(), validate=True)
    assert same(mapping, RECORD)
    assert same(mapping, RECORD | {"code": "x" * 2000, "any": True})


@pytest.mark.parametrize(
    ("fields", "change", "whole"),
    [
        ({"timestamp": ["toUnixTimestamp", var("at")]}, {}, True),
        ({"timestamp": ["toUnixTimestamp", var("at")]}, {"at": "2024-01-02T03:04:05+01:00"}, True),
        ({"timestamp": ["toUnixTimestamp", var("at")]}, {"at": "2024-13-02T03:04:05Z"}, False),
        ({"timestamp": ["toUnixTimestamp", var("at")]}, {"at": "0001-01-01T00+01:00"}, False),
        ({"timestamp": ["toUnixTimestamp", var("at")]}, {"at": None}, True),
        ({"timestamp": ["toUnixTimestamp", var("unix")]}, {}, True),
        ({"timestamp": ["concat", var("day"), "T10:00"]}, {}, True),
        ({"timestamp": ["concat", var("day"), "T10:00"]}, {"day": "noon"}, False),
        ({"name": ["concat", "at ", ["toUnixTimestamp", var("at")]]}, {}, True),
        ({"name": ["toUnixTimestamp", var("at")]}, {}, True),
        ({"name": ["toUnixTimestamp", var("at")]}, {"at": None}, False),
        ({"name": var("lines.0.sku")}, {}, True),
        ({"name": var("lines.0.sku")}, {"lines": []}, False),
        ({"user": {"uid": ["concat", "u_", var("tags.0")]}}, {}, True),
        ({"user": var("lines.0")}, {}, None),
        ({"context": var("lines.0.of")}, {}, None),
        ({"session": {"id": ["concat", "https://app/session/", var("code")]}}, {}, True),
        (
            {"user": {"uid": "u"}, "session": {"use_most_recent": ["concat", var("code")]}},
            {"code": "True"},
            True,
        ),
        ({"context": {"device": {"screen_width": ["concat", "10", var("id")]}}}, {}, True),
        ({"context": {"browser": {"url": ["concat", "/", var("price")]}}}, {}, True),
    ],
)
def test_what_is_made_as_a_field(fields: Any, change: Any, whole: bool | None) -> None:
    template = {"name": "n", "properties": {"a": ["list", var("id")]}} | fields
    spec = MappingSpec(kind="events", json=template)
    schema = {"type": "object", "properties": COLUMNS}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(), validate=True)
    if whole is None:
        assert mapping.decoder is None
        return
    assert sent(mapping, RECORD | change) == whole


def test_templates_under_fields_become_what_the_field_takes() -> None:
    fields = {"name": {"const": "n"}, "timestamp": {"template": "{day} 10:00"}}
    fields["context.device.screen_width"] = {"template": "1{id}"}
    spec = MappingSpec(kind="events", fields=fields, properties=["lines.1.sku", "code"])
    schema = {"type": "object", "properties": COLUMNS}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(), validate=True)
    assert sent(mapping, RECORD)
    assert isinstance(mapping.map_record(RECORD | {"day": "noon"}), Rejected)
    assert same(mapping, RECORD | {"day": "noon"})


def test_a_user_whose_template_could_have_too_many_properties() -> None:
    columns = {f"c{n}": {"type": "integer"} for n in range(400)}
    properties = {name: ["list", var(name)] for name in columns}
    spec = MappingSpec(kind="users", json={"uid": "u", "properties": properties})
    schema = {"type": "object", "properties": columns}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(), validate=True)
    assert mapping.decoder is not None
    more = {f"k{n}": n for n in range(101)}
    spec = MappingSpec(kind="users", json={"uid": "u", "properties": properties | {"more": more}})
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(), validate=True)
    assert mapping.decoder is None


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-02T03:04:05Z"] * 3,
        ["2024-01-02T03:04:05.123Z", "1969-12-31T23:59:59.999Z"],
        ["9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00.0000000Z"],
        ["2024-01-02", "2024-02-29"],
        ["2024-01-02T03:04:05+01:00", "2024-01-02T03:04:05-23:59"],
        ["2024-01-02T03:04:05.123+00:00", "2024-01-02T03:04:06.999+00:00"],
        ["2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05+00:30"],
        ["2024-01-02", "2024-01-02T0", "3:04:0"],
        ["2024-01-02", "2024-01-020", "24-01-02"],
        ["2023-02-29T03:04:05Z"],
        ["1704164645", "1704164646"],
        ["noon"],
    ],
)
def test_a_column_of_moments(texts: list[str]) -> None:
    columns = {"at": null_or("string")}
    template = {"name": "n", "timestamp": var("at")}
    seconds = {"name": "n", "timestamp": ["toUnixTimestamp", var("at")]}
    for made in (template, seconds):
        mapping = compiled(made, columns)
        together(mapping, [{"at": text} for text in texts])
        together(mapping, [{"at": text} for text in [*texts, None]])


@examples(100)
@given(st.integers(-(10**15), 10**15) | st.integers(-(10**11), 10**11) | st.integers(10**11, 10**14))
@example(1704164645999)
@example(-62_135_596_800)
@example(10**11 - 1)
@example(10**11)
@example(253_402_300_799_999)
@example(-62_135_596_801)
@example(253_402_300_800_000)
def test_a_whole_number_as_a_moment(number: int) -> None:
    assert timestamp_of(number) == timestamp_of(Decimal(number))
    if len(str(number)) != 8:  # which as text may be a date such as 20260105
        assert timestamp_of(number) == timestamp_of(str(number))
    seconds = unix_seconds_of(number)
    if seconds is not None:
        whole = timestamp_of(number).partition(".")[0].removesuffix("Z") + "Z"
        assert written_seconds(seconds) == whole


def test_dates_of_one_shape_are_not_taken_for_others() -> None:
    columns = {"uid": TEXT, "day": null_or("string", format="date")}
    template = {"uid": var("uid"), "properties": {"day": var("day")}}
    mapping = compiled(template, columns, kind="users")
    days = ["2024-01-02", "2024-01-020", "24-01-02"]
    together(mapping, [{"uid": "u", "day": day} for day in days])


# --- by property ---------------------------------------------------------------------------------

PATHS = ["id", "code", "code", "day", "price", "flag", "unix", "campaign", "campaign.code"]
PATHS += ["campaign.n", "tags", "tags.0", "tags.1", "lines.0", "lines.0.sku", "lines.1.n", "any"]
names = st.sampled_from(["a", "b", "c", "the end"])
column = st.sampled_from(PATHS).map(var)
literal = st.sampled_from(["x", "%", "é", "2024-01-02", 5, 2.0, True])
moment = st.sampled_from(["at", "at", "unix", "day", "any_at"]).map(var)
seconds = st.builds(lambda inner: ["toUnixTimestamp", inner], moment)
text = st.lists(literal | column | seconds, min_size=1, max_size=3).map(lambda parts: ["concat", *parts])
single = column | text | seconds | literal
lists = st.lists(single, max_size=3).map(lambda items: ["list", *items])
deep_lists = st.lists(single | lists | st.dictionaries(names, single | lists, max_size=2), max_size=3).map(
    lambda items: ["list", *items]
)
properties = st.dictionaries(
    names,
    st.recursive(
        single | single | lists | deep_lists,
        lambda inner: st.dictionaries(names, inner, max_size=3),
        max_leaves=4,
    ),
    max_size=4,
)
declared = st.dictionaries(
    names, st.sampled_from(["int", "real", "str", "date", "ints", "strs", "dates"]), max_size=2
)
timestamp = moment | seconds | text
events = st.fixed_dictionaries(
    {"name": st.just("n") | column | text, "properties": properties},
    optional={
        "timestamp": timestamp,
        "user": st.fixed_dictionaries({"uid": text}) | st.just(var("campaign")),
        "session": st.fixed_dictionaries({"id": column | text}),
        "context": st.fixed_dictionaries({"browser": st.fixed_dictionaries({"url": single})}),
        "schema": st.fixed_dictionaries({"properties": declared}),
    },
)
users = st.fixed_dictionaries(
    {"uid": st.just(var("id")) | text, "properties": properties},
    optional={"email": text, "schema": st.fixed_dictionaries({"properties": declared})},
)

scalar = st.sampled_from([None, "", "x", "é", 5, 2.5, True, "2024-01-02", "x" * 700])
some_texts = st.sampled_from(["SPRING", "x", "é\n", "2024-01-02"] * 3 + ["", "x" * 300, "x" * 2048])
instants = st.sampled_from(
    ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.9Z", "2024-01-02", "2024-01-02T03:04:05+01:00"] * 3
    + ["2024-01-02 03:04", "17", "noon", "", "2023-02-29T00:00:00Z", "9999-12-31T23:59:59.9999999Z"]
)
lines = st.fixed_dictionaries({}, optional={"sku": some_texts, "n": scalar})
records = st.fixed_dictionaries(
    {"id": st.integers(0, 5)},
    optional={
        "at": st.none() | instants,
        "unix": st.none() | st.sampled_from([5, -1, 1704164645, 1704164645999, -(10**12), 10**18]),
        "any_at": st.none() | instants | st.sampled_from([5, -1.5, 1704164645.5]),
        "code": st.none() | some_texts,
        "price": st.none() | st.sampled_from([0.5, 2.0, 3, 1e300]),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.sampled_from(["2024-01-02"] * 3 + ["noon", "2023-02-29"]),
        "campaign": st.none()
        | st.fixed_dictionaries({}, optional={"code": some_texts, "n": st.integers(0, 9)}),
        "lines": st.none() | st.lists(lines, max_size=2) | st.just([None]),
        "tags": st.lists(some_texts, max_size=2),
        "any": scalar | st.just(["x"]) | st.just({"k": 1}),
    },
)


def compare(kind: str, template: Any, given_records: list[Any], validate: bool, choice: Any) -> None:
    schema = {"type": "object", "properties": COLUMNS}
    spec = MappingSpec(kind=kind, json=template)
    try:
        mapping = compile_mapping("s", spec, schema, [], MappingOptions(**choice), validate=validate)
    except ConfigurationError:
        event("refused")
        return
    event(f"decoder: {mapping.decoder is not None}")
    taken = []
    for record in given_records if mapping.decoder is not None else []:
        is_typed = same(mapping, record)
        event(f"typed: {is_typed}")
        if is_typed:
            taken.append(record)
            assert not validate or Draft202012Validator(schema).is_valid(record)
    together(mapping, taken) if taken else None


choices = st.fixed_dictionaries(
    {},
    optional={
        "null_values": st.sampled_from(["omit", "send"]),
        "declare_types": st.sampled_from(["all", "none"]),
    },
)
chunks = st.lists(records, min_size=1, max_size=4)


@examples(150)
@given(events, chunks, st.booleans(), choices)
def test_events_of_a_template(template: Any, given_records: Any, validate: bool, choice: Any) -> None:
    compare("events", template, given_records, validate, choice)


@examples(100)
@given(users, chunks, st.booleans(), choices)
def test_users_of_a_template(template: Any, given_records: Any, validate: bool, choice: Any) -> None:
    compare("users", template, given_records, validate, choice)
