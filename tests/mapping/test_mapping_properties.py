"""Custom properties: names, values, declared types and what is left out."""

from __future__ import annotations

from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from target_fullstory.mapping.rules.property_names import property_name
from tests.mapping.one_by_one import Mapped, OneByOne, compile_mapping


def mapping_of(
    columns: dict[str, Any] | None = None,
    properties: Any = None,
    exclude: list[str] | None = None,
    kind: str = "users",
    **options: Any,
) -> OneByOne:
    spec = MappingSpec(kind=kind, properties=properties, exclude=exclude or [])
    schema: dict[str, Any] = {"type": "object"}
    if columns is not None:
        schema["properties"] = {"uid": {"type": "string"}, "name": {"type": "string"}} | columns
    return compile_mapping("s", spec, schema, ["uid"], MappingOptions(**options))


def mapped(mapping: OneByOne, record: dict[str, Any]) -> Mapped:
    outcome = mapping.map_record({"uid": "u", **record})
    assert isinstance(outcome, Mapped), outcome
    return outcome


def properties_of(mapping: OneByOne, record: dict[str, Any]) -> Any:
    return msgspec.json.decode(mapped(mapping, record).body)["properties"]


def declared_of(mapping: OneByOne, record: dict[str, Any]) -> Any:
    request = msgspec.json.decode(mapped(mapping, record).body)
    return request.get("schema", {}).get("properties", {})


def typed(*types: str, **more: Any) -> dict[str, Any]:
    return {"type": list(types), **more}


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("plan", "plan"),
        ("Plan_2", "Plan_2"),
        ("first name", "first_name"),
        ("a.b", "a_b"),
        ("naïve", "na_ve"),
        ("_private", "private"),
        ("__x", "x"),
        ("2fa", "p_2fa"),
        ("_2fa", "p_2fa"),
        ("$price", "price"),
        ("日本", "p"),
        ("", "p"),
        ("\ud800", "p"),
    ],
)
def test_a_column_gets_the_nearest_valid_name(column: str, name: str) -> None:
    assert property_name(column) == name


def test_two_columns_meeting_in_one_name() -> None:
    mapping = mapping_of({"a b": {}, "a-b": {}, "a_b": {}})
    assert properties_of(mapping, {"a_b": 3, "a-b": 2, "a b": 1}) == {"a_b": 1, "a_b_2": 2, "a_b_3": 3}
    assert mapping.notices == (
        "Stream 's': 'a b' is sent as property 'a_b': Fullstory does not take its own name.",
        "Stream 's': 'a-b' is sent as property 'a_b_2': that name was taken.",
        "Stream 's': 'a_b' is sent as property 'a_b_3': that name was taken.",
    )


def test_a_planned_name_stays_whether_or_not_the_record_has_the_other_column() -> None:
    assert properties_of(mapping_of({"a b": {}, "a-b": {}}), {"a-b": 2}) == {"a_b_2": 2}


def test_nested_names_are_made_valid_and_unique_within_their_object() -> None:
    nested = typed("object", properties={"x y": {}, "x-y": {}})
    record = {"o p": {"x-y": 2, "x y": 1, "x+y": 3}, "x_y": 0}
    mapping = mapping_of({"o p": nested})
    assert properties_of(mapping, record) == {"o_p": {"x_y": 1, "x_y_2": 2, "x_y_3": 3}, "x_y": 0}
    assert len(mapping.notices) == 3


def test_the_order_is_the_schemas_then_the_records() -> None:
    mapping = mapping_of({"b": {}, "a": typed("object", properties={"z": {}, "y": {}})})
    body = mapped(mapping, {"extra 2": 5, "a": {"new": 4, "y": 3, "z": 2}, "extra": 6, "b": 1}).body
    assert body == (b'{"uid":"u","properties":{"b":1,"a":{"z":2,"y":3,"new":4},"extra_2":5,"extra":6}}')


def test_columns_only_the_record_tells_take_their_names_record_by_record() -> None:
    mapping = mapping_of({"a b": {}, "o": typed("object", properties={"x y": {}})})
    first = {"a_b": 2, "a b": 1, "a-b": 3, "o": {"x_y": 5, "x y": 4}}
    for _ in range(2):
        assert properties_of(mapping, first) == {
            "a_b": 1,
            "a_b_2": 2,
            "a_b_3": 3,
            "o": {"x_y": 4, "x_y_2": 5},
        }
        assert properties_of(mapping, {"a-b": 3, "o": {"x-y": 6}}) == {"a_b_2": 3, "o": {"x_y_2": 6}}


def test_names_of_any_number_of_columns_are_right() -> None:
    mapping = mapping_of({})
    for n in range(0, 6000, 7):
        assert properties_of(mapping, {f"c {n}": n, f"c-{n}": 0}) == {f"c_{n}": n, f"c_{n}_2": 0}


def test_a_name_over_512_characters() -> None:
    with pytest.raises(ConfigurationError, match="exclude it"):
        mapping_of({"n" * 513: {}})
    ok = "n" * 512
    assert properties_of(mapping_of({}), {ok: 1}) == {ok: 1}
    for record in ({"n" * 513: 1}, {"n" * 300: {"m" * 212: 1}}):
        outcome = mapping_of({}).map_record({"uid": "u", **record})
        assert isinstance(outcome, Rejected)
        assert outcome.code == "property_name_too_long"
    assert properties_of(mapping_of({}), {"n" * 513: None}) == {}


# --- which columns -------------------------------------------------------------------------------


def test_by_default_every_column_no_field_uses() -> None:
    record = {"uid": "u", "email": "e", "plan": "p", "_sdc_batched_at": 1, "new": 2}
    mapping = mapping_of({"email": {}, "plan": {}, "_sdc_batched_at": {}})
    assert properties_of(mapping, record) == {"plan": "p", "new": 2}


def test_a_path_into_an_object_does_not_use_the_object() -> None:
    spec = MappingSpec(kind="users", fields={"email": "contact.email"})
    contact = typed("object", properties={"email": {}, "phone": {}})
    schema = {"properties": {"uid": {}, "contact": contact}}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions())
    record = {"contact": {"email": "e", "phone": "p"}}
    assert properties_of(mapping, record) == {"contact": {"email": "e", "phone": "p"}}


def test_a_list_of_columns_in_its_own_order() -> None:
    columns = {"a": {}, "b": {}, "o": typed("object", properties={"x": {}}), "_sdc_x": {}}
    mapping = mapping_of(columns, ["b", "uid", "o.x", "_sdc_x"])
    record = {"a": 1, "b": 2, "o": {"x": 3}, "_sdc_x": 4, "new": 5}
    assert mapped(mapping, record).body == (b'{"uid":"u","properties":{"b":2,"uid":"u","o_x":3,"sdc_x":4}}')


def test_properties_with_names_of_ones_own() -> None:
    columns = {"a": {}, "o": typed("object", properties={"x": {}}), "properties": typed("object")}
    mapping = mapping_of(columns, {"first": "a", "my x": "o.x", "bag": "properties"})
    record = {"a": 1, "o": {"x": 2}, "properties": {"k": 3}}
    assert properties_of(mapping, record) == {"first": 1, "my_x": 2, "bag": {"k": 3}}


def test_excluded_columns() -> None:
    columns = {"a": {}, "ssn": {}, "o": typed("object", properties={"x": {}, "y": {}})}
    mapping = mapping_of(columns, exclude=["ssn", "o.x"])
    assert properties_of(mapping, {"a": 1, "ssn": 2, "o": {"x": 3, "y": 4}}) == {"a": 1, "o": {"y": 4}}


def test_excluded_parts_of_free_form_objects() -> None:
    record = {"o": {"x": {"k": 1, "j": 2}, "x.k": 3, "y": 4}}
    kept = {"o": {"x": {"j": 2}, "y": 4}}
    assert properties_of(mapping_of({"o": typed("object")}, exclude=["o.x.k"]), record) == kept
    assert properties_of(mapping_of(None, exclude=["o.x.k"]), record) == kept | {
        "o": {"x": {"j": 2}, "x_k": 3, "y": 4}
    }


def test_an_object_called_properties_is_spread() -> None:
    inner = typed("object", "null", properties={"a": typed("integer"), "plan": {}})
    mapping = mapping_of({"plan": {}, "properties": inner})
    record = {"plan": 1, "properties": {"new": 4, "plan": 3, "a": 2}}
    assert properties_of(mapping, record) == {"plan": 1, "a": 2, "plan_2": 3, "new": 4}
    assert declared_of(mapping, record) == {"a": "int"}
    assert properties_of(mapping, {"properties": None}) == {}
    assert properties_of(mapping, {"properties": "text"}) == {"properties": "text"}
    assert properties_of(mapping_of({}), {"properties": {"a": 1}}) == {"a": 1}


@pytest.mark.parametrize(("properties", "body"), [([], b'{"uid":"u"}'), (["a"], None)])
def test_properties_are_there_where_there_could_be_some(properties: Any, body: Any) -> None:
    mapping = mapping_of({"a": {}}, properties)
    assert mapped(mapping, {}).body == (body or b'{"uid":"u","properties":{}}')


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("text", "text"),
        ("", ""),
        (1, 1),
        (1.0, 1.0),
        (1.5, 1.5),
        (True, True),
        (2**70, 2**70),
        ([1, None, 2], [1, 2]),
        ([None], []),
        ([], []),
        (["a", 1, True], ["a", 1, True]),
        ([{"a": 1}], '[{"a":1}]'),
        ([[1], 2, None], "[[1],2]"),
        ({"a": {"b": None, "c": 1}, "d": None}, {"a": {"c": 1}}),
        ({}, {}),
        ({"a": [{"b": None}]}, {"a": '[{"b":null}]'}),
        (Decimal(5), 5),
        (Decimal("5.0"), 5.0),
        (Decimal("5.5"), 5.5),
        ([{"a": Decimal("5.5")}], '[{"a":5.5}]'),
        (date(2024, 1, 2), "2024-01-02"),
        (time(1, 2), "01:02:00"),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), "2024-01-02T00:00:00+00:00"),
        ("x" * 8192, "x" * 8192),
        ("é" * 4096, "é" * 4096),
        ([1] * 4095, [1] * 4095),
    ],
)
def test_values_that_are_sent(value: Any, sent: Any) -> None:
    outcome = mapped(mapping_of({}), {"p": value})
    assert outcome.dropped == ()
    assert outcome.body == msgspec.json.encode({"uid": "u", "properties": {"p": sent}})


def deep(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("1e400"),
        10**400,
        "x" * 8193,
        "é" * 4097,
        "\ud800",
        [1, float("nan")],
        ["\udfff"],
        [{"a": "\udfff"}],
        [{"\ud800": 1}],
        ["x" * 8192],
        [1] * 4096,
        [{"a": "x" * 8192}],
        deep(50_000, "array"),
        b"bytes",
        object(),
    ],
)
def test_values_that_are_left_out_and_counted(value: Any) -> None:
    outcome = mapped(mapping_of({}), {"p x": value, "o": {"q": value}, "r": 1})
    assert outcome.body == b'{"uid":"u","properties":{"o":{},"r":1}}'
    assert outcome.dropped == ("p_x", "o.q")


@pytest.mark.parametrize("known", [None, typed("object", properties={"a": typed("object")})])
def test_objects_nested_too_deep_lose_what_is_beyond(known: Any) -> None:
    mapping = mapping_of({"a": known} if known else {})
    assert mapped(mapping, deep(100, "object")).dropped == ()
    outcome = mapped(mapping, deep(50_000, "object"))
    assert outcome.dropped == (".".join("a" * 100),)


def test_keys_with_lone_surrogates() -> None:
    assert properties_of(mapping_of({}), {"\ud800": 1, "o": {"x\udfff": 2}}) == {"p": 1, "o": {"x_": 2}}


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("x" * 8192, True),
        ("x" * 8193, False),
        ("é" * 4096, True),
        ("é" * 4097, False),
        ("€" * 2730, True),
        ("€" * 2731, False),
        ("😀" * 2048, True),
        ("😀" * 2049, False),
        ("x" * 2047 + "\ud800", False),
        ("x" * 5000 + "\ud800", False),
        (["x" * 8188], True),
        (["x" * 8189], False),
        (["é" * 4094, None], True),
        (["é" * 4095], False),
        (["a", "\ud800"], False),
        ([True, "a"], True),
        ([1, 2.5, 2**64, True, "a"], True),
        ([1, float("nan")], False),
        ([10**400], False),
        (2**63, True),
        (-(2**70), True),
        (10**400, False),
        (float("-inf"), False),
    ],
)
def test_what_a_property_takes_ends_where_fullstory_does(value: Any, fits: bool) -> None:
    for columns in ({}, {"c": {}}):
        outcome = mapped(mapping_of(columns), {"c": value})
        assert outcome.dropped == (() if fits else ("c",))
        if fits:
            sent = [item for item in value if item is not None] if type(value) is list else value
            assert msgspec.json.decode(outcome.body)["properties"] == {"c": sent}


def test_nulls_are_omitted_or_sent() -> None:
    columns = {"a": {}, "o": typed("object", properties={"x": {}}), "email": {}}
    record = {"a": None, "o": {"x": None}, "email": None, "new": None}
    assert properties_of(mapping_of(columns), record) == {"o": {}}
    sending = mapping_of(columns, null_values="send")
    assert mapped(sending, record).body == (b'{"uid":"u","properties":{"a":null,"o":{},"new":null}}')
    assert properties_of(sending, {}) == {}


def test_a_user_has_at_most_500_properties() -> None:
    flat = {f"c{number}": number for number in range(498)}
    nested = {"o": {"x": 1, "y": {"z": 1}}}
    assert len(properties_of(mapping_of({}), flat | nested)) == 499
    outcome = mapping_of({}).map_record({"uid": "u", **flat, **nested, "more": 1})
    assert isinstance(outcome, Rejected)
    assert outcome.code == "too_many_properties"
    event = mapping_of({}, kind="events")
    assert isinstance(event.map_record({"name": "n", **flat, **nested, "more": 1}), Mapped)


# --- declared types ------------------------------------------------------------------------------

DATE = typed("string", format="date")
DATE_TIME = typed("null", "string", format="date-time")


@pytest.mark.parametrize(
    ("schema", "value", "auto", "everything"),
    [
        (typed("integer"), 5, "int", "int"),
        (typed("null", "integer"), 5, "int", "int"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5, "int", "int"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 5, None, None),
        (typed("integer", "string"), 5, None, None),
        (typed("integer"), "5", None, None),
        (typed("integer"), 5.5, None, None),
        (typed("integer"), True, None, None),
        (typed("integer"), 2**63 - 1, "int", "int"),
        (typed("integer"), 2**63, None, None),
        (typed("number"), 5, None, "real"),
        (typed("number"), 5.5, None, "real"),
        (typed("boolean"), True, None, "bool"),
        (typed("string"), "x", None, "str"),
        (typed("string"), 1, None, None),
        (DATE, "2024-01-02", "date", "date"),
        (DATE, "02.01.2024", None, None),
        (DATE_TIME, "2024-01-02T03:04:05.6+01:00", "date", "date"),
        (DATE_TIME, "2024-01-02 03:04:05", "date", "date"),
        (DATE_TIME, "2024-01-02T03:04:05Z\n", None, None),
        (DATE_TIME, date(2024, 1, 2), "date", "date"),
        (typed("string", format="time"), "03:04", None, "str"),
        (typed("array", items=typed("integer")), [1, 2], "ints", "ints"),
        (typed("array", items=typed("integer")), [1, "2"], None, None),
        (typed("array", items=typed("integer")), 1, None, None),
        (typed("integer"), [1], None, None),
        (typed("array", items=DATE), ["2024-01-02"], "dates", "dates"),
        (typed("array", items=DATE), ["x"], None, None),
        (typed("array", items=typed("string")), ["x"], None, "strs"),
        (typed("array", items=typed("number")), [1, 1.5], None, "reals"),
        (typed("array", items=typed("boolean")), [True], None, "bools"),
        (typed("array", items=typed("integer")), [{"a": 1}], None, None),
        (typed("array"), [1], None, None),
        ({}, 1, None, None),
        (True, 1, None, None),
    ],
)
def test_types_are_declared_where_the_value_fits(
    schema: Any, value: Any, auto: str | None, everything: str | None
) -> None:
    for choice, expected in (("auto", auto), ("all", everything), ("none", None)):
        mapping = mapping_of({"p": schema}, declare_types=choice)
        assert declared_of(mapping, {"p": value}) == ({"p": expected} if expected else {})
        assert declared_of(mapping, {"p": None}) == {}
        assert declared_of(mapping, {}) == {}


def test_nested_types_are_declared_by_their_full_name() -> None:
    nested = typed("object", properties={"the count": typed("integer"), "at": DATE})
    mapping = mapping_of({"o": nested})
    record = {"o": {"the count": 1, "at": "2024-01-02", "new": 5}}
    assert declared_of(mapping, record) == {"o.the_count": "int", "o.at": "date"}


@pytest.mark.parametrize(
    ("schema", "value", "sent"),
    [
        (typed("integer"), 5.0, 5),
        (typed("integer"), Decimal("5.0"), 5),
        (typed("array", items=typed("integer")), [5.0, 6], [5, 6]),
        (typed("number"), 5.0, 5.0),
    ],
)
def test_an_integral_float_in_an_int_column_becomes_an_int(schema: Any, value: Any, sent: Any) -> None:
    body = mapped(mapping_of({"p": schema}), {"p": value}).body
    assert body.startswith(msgspec.json.encode({"uid": "u", "properties": {"p": sent}}).removesuffix(b"}"))
