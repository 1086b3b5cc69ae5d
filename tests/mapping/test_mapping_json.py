"""The `json` form: what a template gives, and which templates are refused."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected, check_spec
from target_fullstory.mapping.calls.request_bodies import TemplateBody
from target_fullstory.mapping.plan.json_functions import compile_template
from target_fullstory.mapping.plan.sources import MISSING
from tests.examples import examples
from tests.mapping.one_by_one import Mapped, compile_mapping
from tests.mapping.test_mapping_typed import same

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": ["null", "string", "number"]},
        "code": {"type": ["null", "string"]},
        "day": {"type": ["null", "string"], "format": "date"},
        "campaign": {"type": ["null", "object"], "properties": {"code": {"type": "string"}}},
        "lines": {
            "type": ["null", "array"],
            "items": {"type": "object", "properties": {"sku": {"type": "string"}, "n": {}}},
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object"},
        "any": {},
    },
}
RECORD = {
    "id": 7,
    "at": "2024-01-02T03:04:05.9Z",
    "code": "SPRING",
    "day": "2024-01-02",
    "campaign": {"code": "c1"},
    "lines": [{"sku": "a", "n": 2}, {"sku": "b"}],
    "tags": ["x", None, "y"],
    "free": {"p": 1, "q": {"r": True}, "s-t": 2.5},
}


def var(path: str) -> list[str]:
    return ["var", path]


def compiled(template: Any, kind: str = "events", **options: Any) -> Any:
    spec = MappingSpec(kind=kind, json=template)
    return compile_mapping("s", spec, SCHEMA, ["id"], MappingOptions(**options))


def request_of(template: Any, record: Any = RECORD, **options: Any) -> dict[str, Any]:
    mapped = compiled(template, **options).map_record(record)
    assert isinstance(mapped, Mapped), mapped
    request: dict[str, Any] = json.loads(mapped.body)
    return request


def properties_of(properties: Any, record: Any = RECORD, **options: Any) -> Any:
    return request_of({"name": "n", "properties": properties}, record, **options)["properties"]


# --- by example ----------------------------------------------------------------------------------


def test_an_event() -> None:
    template = {
        "name": "Promo applied",
        "timestamp": var("at"),
        "user": {"uid": ["concat", "user_", var("id")]},
        "session": {"use_most_recent": True},
        "context": {"browser": {"url": ["concat", "https://shop.example/", var("code")]}},
        "properties": {"codes": ["list", var("code"), var("campaign.code")], "weight": 2},
    }
    mapped = compiled(template).map_record(RECORD)
    assert mapped == Mapped(
        body=(
            b'{"name":"Promo applied","timestamp":"2024-01-02T03:04:05.9Z","user":{"uid":"user_7"},'
            b'"session":{"use_most_recent":true},'
            b'"context":{"browser":{"url":"https://shop.example/SPRING"}},'
            b'"properties":{"codes":["SPRING","c1"],"weight":2},'
            b'"schema":{"properties":{"weight":"int"}}}'
        ),
        timed=True,
    )


def test_a_user_has_only_what_the_template_says() -> None:
    mapping = compiled({"uid": var("id"), "email": var("code")}, "users")
    assert mapping.map_record(RECORD) == Mapped(body=b'{"uid":"7","email":"SPRING"}', key="7")
    outcome = mapping.map_record({"id": None, "code": "x"})
    assert isinstance(outcome, Rejected)
    assert outcome.code == "missing_uid"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        (var("lines.1.sku"), "b"),
        (var("lines.0"), {"sku": "a", "n": 2}),
        (var("tags"), ["x", "y"]),
        (var("tags.2"), "y"),
        (var("free.q.r"), True),
        (var("lines"), '[{"sku":"a","n":2},{"sku":"b"}]'),
        (["concat", "a", 5, True, 1.0, ["concat", "-", var("id")]], "a5true1-7"),
        (["concat", "at ", ["toUnixTimestamp", var("at")]], "at 1704164645"),
        (["concat", var("free.q.r"), var("free.s-t")], "true2.5"),
        (["list"], []),
        (["list", var("code"), var("any"), var("lines.9.sku")], ["SPRING"]),
        (["list", ["list", 1], var("code")], '[[1],"SPRING"]'),
        (["list", {"sku": var("lines.0.sku")}], '[{"sku":"a"}]'),
        (["list", "var", "x"], ["var", "x"]),
        (["toUnixTimestamp", var("at")], 1704164645),
        (["toUnixTimestamp", var("day")], 1704153600),
        (["toUnixTimestamp", "1969-12-31T23:59:59.5Z"], -1),
        (["toUnixTimestamp", 1704164645999], 1704164645),
        (["toUnixTimestamp", ["toUnixTimestamp", "9999-12-31"]], 253402214400),
        (["toUnixTimestamp", ["concat", var("day"), "T01:00+01:00"]], 1704153600),
        (["car", "bike"], ["car", "bike"]),
        (["contact", "lead"], ["contact", "lead"]),
        ([1, var("id")], [1, 7]),
        ([["a"], "b"], '[["a"],"b"]'),
        ([{"a": 1}], '[{"a":1}]'),
        ({"a": {"b": var("code"), "c": var("any"), "d": None}}, {"a": {"b": "SPRING"}}),
        ("text", "text"),
        (1.5, 1.5),
    ],
)
def test_what_a_template_gives_a_property(template: Any, value: Any) -> None:
    assert properties_of({"x": template}) == {"x": value}


@pytest.mark.parametrize(
    "template",
    [
        None,
        var("any"),
        var("lines.2.sku"),
        ["concat", "a", var("any")],
        ["concat", var("code"), var("campaign.code")],
        ["toUnixTimestamp", var("any")],
    ],
)
def test_a_template_that_gives_nothing(template: Any) -> None:
    record = RECORD | {"campaign": None, "tags": []}
    assert properties_of({"x": template, "y": 1}, record) == {"y": 1}


def test_a_moment_that_cannot_be_read_is_counted() -> None:
    unreadable = ["toUnixTimestamp", var("code")]
    properties = {
        "a": unreadable,
        "b": {"c": unreadable, "d": 1},
        "e": ["list", 1, unreadable],
        "f": ["concat", "x", unreadable],
        "g": ["concat", "x", var("free")],
    }
    mapped = compiled({"name": "n", "properties": properties}).map_record(RECORD)
    assert isinstance(mapped, Mapped)
    assert json.loads(mapped.body)["properties"] == {"b": {"d": 1}}
    assert mapped.dropped == ("a", "b.c", "e", "f", "g")


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("2024-01-02T03:04:05.9+01:00", "2024-01-02T02:04:05Z"),
        (1704164645, "2024-01-02T03:04:05Z"),
        ("9999-12-31", "9999-12-31T00:00:00Z"),
        (None, None),
    ],
)
def test_a_timestamp_in_seconds(value: Any, sent: str | None) -> None:
    template = {"name": "n", "timestamp": ["toUnixTimestamp", var("at")]}
    mapped = compiled(template).map_record({"at": value})
    assert isinstance(mapped, Mapped)
    assert json.loads(mapped.body) == {"name": "n"} | ({"timestamp": sent} if sent else {})
    assert mapped.timed == (sent is not None)


def test_a_constant_timestamp_in_seconds() -> None:
    template = {"name": "n", "timestamp": ["toUnixTimestamp", "9999-12-31"]}
    assert request_of(template)["timestamp"] == "9999-12-31T00:00:00Z"


def test_a_timestamp_that_is_none() -> None:
    template = {"name": "n", "timestamp": ["toUnixTimestamp", var("at")]}
    for value in ("noon", ""):
        assert compiled(template).map_record({"at": value}) == Rejected(
            "invalid_timestamp", "timestamp is neither ISO 8601 nor Unix seconds or milliseconds", "at"
        )


def test_types_that_the_schema_and_the_functions_tell() -> None:
    properties = {
        "when": ["toUnixTimestamp", var("at")],
        "day": var("day"),
        "days": ["list", var("day"), var("day")],
        "mixed": ["list", var("day"), var("code")],
        "id": var("id"),
        "text": ["concat", var("id")],
        "of": {"it": {"n": 3}, "f": 1.5, "yes": True},
    }
    request = request_of({"name": "n", "properties": properties})
    assert request["schema"]["properties"] == {
        "when": "int",
        "day": "date",
        "days": "dates",
        "id": "int",
        "of.it.n": "int",
    }
    everything = request_of({"name": "n", "properties": properties}, declare_types="all")
    assert everything["schema"]["properties"] == request["schema"]["properties"] | {
        "text": "str",
        "of.f": "real",
        "of.yes": "bool",
    }
    assert "schema" not in request_of({"name": "n", "properties": properties}, declare_types="none")


def test_types_that_the_template_tells_go_first() -> None:
    template = {
        "name": "n",
        "properties": {"id": var("id"), "free": var("free"), "of": {"any": var("any")}, "s-t": var("any")},
        # As Meltano passes it: split at the dots.
        "schema": {"properties": {"id": "real", "free": {"p": "int", "s-t": "real"}, "of.any": "int"}},
    }
    for options in ({}, {"declare_types": "none"}):
        request = request_of(template, RECORD | {"any": "no int"}, **options)
        assert request["schema"]["properties"] == {"id": "real", "free.p": "int", "free.s_t": "real"}
    assert request["properties"]["free"] == {"p": 1, "s_t": 2.5, "q": {"r": True}}
    assert request_of(template, {"any": 5.0})["schema"]["properties"] == {"of.any": "int"}


def test_an_object_column_is_the_properties() -> None:
    template = {
        "name": "n",
        "properties": var("free"),
        "schema": {"properties": {"s-t": "real", "q.r": "bool", "nope": "int"}},
    }
    request = request_of(template)
    assert request["properties"] == {"s_t": 2.5, "q": {"r": True}, "p": 1}
    assert request["schema"]["properties"] == {"s_t": "real", "q.r": "bool"}


def test_an_object_column_is_a_group() -> None:
    context = {"browser": {"url": "u", "tab": 1}, "location": {"city": "Bonn"}, "more": 1}
    record = RECORD | {"free": context}
    whole = compiled({"name": "n", "context": var("free")}).map_record(record)
    assert json.loads(whole.body)["context"] == {"browser": {"url": "u"}, "location": {"city": "Bonn"}}
    assert whole.dropped == ("context.browser.tab", "context.more")
    parts = {"browser": var("free.browser"), "location": {"city": var("code")}}
    part = compiled({"name": "n", "context": parts}).map_record(record)
    assert json.loads(part.body)["context"] == {"browser": {"url": "u"}, "location": {"city": "SPRING"}}
    assert part.dropped == ("context.browser.tab",)


def test_a_path_into_an_array_outside_of_templates() -> None:
    spec = MappingSpec(
        kind="events",
        fields={"name": "lines.0.sku", "user.uid": {"template": "u_{tags.1}"}},
        properties=["lines.1.sku", "code"],
    )
    mapping = compile_mapping("s", spec, SCHEMA, [], MappingOptions())
    record = RECORD | {"tags": ["x", "y"]}
    assert json.loads(mapping.map_record(record).body) == {
        "name": "a",
        "user": {"uid": "u_y"},
        "properties": {"lines_1_sku": "b", "code": "SPRING"},
    }
    assert same(mapping, record) or mapping.decoder is None


def test_nulls_are_sent_where_the_setting_says_so() -> None:
    properties = {"a": var("any"), "b": None, "c": ["concat", var("any")], "d": {"e": var("any")}}
    sent = properties_of(properties, RECORD | {"any": None}, null_values="send")
    assert sent == {"a": None, "d": {}}


def test_names_become_valid_ones() -> None:
    mapping = compiled({"name": "n", "properties": {"a b": 1, "a_b": {"1": 2}}})
    outcome = mapping.map_record(RECORD)
    assert json.loads(outcome.body)["properties"] == {"a_b": 1, "a_b_2": {"p_1": 2}}
    assert len(mapping.notices) == 3


def test_dots_in_names_nest() -> None:
    template = {"a.b": 1, "a": {"c.d": var("code"), "e": {}}, "f": {"g": [{"h.i": 1}]}}
    expected = {"a": {"b": 1, "c": {"d": "SPRING"}, "e": {}}, "f": {"g": '[{"h.i":1}]'}}
    assert properties_of(template) == expected


def test_too_many_properties_of_a_user() -> None:
    mapping = compiled({"uid": "u", "properties": var("free")}, "users")
    outcome = mapping.map_record({"free": {f"p{n}": n for n in range(501)}})
    assert isinstance(outcome, Rejected)
    assert outcome.code == "too_many_properties"


# --- what is refused -----------------------------------------------------------------------------

N = {"name": "n"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ([], "streams.s.json: takes an object"),
        (["var", "any"], "streams.s.json: takes an object"),
        ({}, "streams.s.json: has no name, which Fullstory requires"),
        ({"name": None}, "streams.s.json: has no name, which Fullstory requires"),
        ({"name": ""}, "streams.s.json.name: name cannot be ''"),
        ({"name": ["concat", ""]}, "streams.s.json.name: name cannot be ''"),
        ({"name": {"a": 1}}, "streams.s.json.name: neither a list nor an object"),
        ({"name": ["list", "a"]}, "streams.s.json.name: neither a list nor an object"),
        ({"name": [1]}, "streams.s.json.name: neither a list nor an object"),
        ({"name": "x" * 251}, "name has 251 characters, Fullstory takes 250"),
        ({"nam": "n"}, "streams.s.json.nam: Fullstory's events have no field 'nam'; did you mean"),
        (N | {"context": {"browser": {"link": "x"}}}, "did you mean 'context.browser.url'?"),
        (N | {"context": "x"}, "json.context: takes an object, or ['var', …] of an object column"),
        (N | {"context": ["concat", "x"]}, "json.context: takes an object"),
        (N | {"user": {"uid": "a"}, "user.uid": "b"}, "json.user.uid: is given twice"),
        (N | {"timestamp": "noon"}, "'noon' is neither ISO 8601"),
        (N | {"timestamp": ["toUnixTimestamp", "noon"]}, "json.timestamp.1: 'noon' is neither"),
        (N | {"session": {"use_most_recent": "maybe"}}, "use_most_recent cannot be 'maybe'"),
        (N | {"session": {"id": "d:s"}, "user": {"uid": var("id")}}, "json.user.uid: is never sent"),
        (N | {"session": {"id": "d:s"}, "user": var("any")}, "json.user: is never sent"),
        (N | {"user": {"id": var("id"), "uid": "u"}}, "json.user.id: is never sent: user.uid is"),
        ({"name": ["var"]}, "json.name: var takes one argument, this has 0"),
        ({"name": ["var", "a", "b"]}, "json.name: var takes one argument, this has 2"),
        ({"name": ["var", 1]}, "json.name: var takes the path of a column"),
        ({"name": ["var", ""]}, "json.name: var takes the path of a column"),
        ({"name": ["var", ["var", "a"]]}, "json.name: var takes the path of a column"),
        ({"name": ["concat"]}, "json.name: concat takes at least one argument"),
        ({"name": ["concat", "a", None]}, "json.name.2: null cannot be written as text"),
        ({"name": ["concat", {"a": 1}]}, "json.name.1: neither a list nor an object"),
        ({"name": ["concat", ["list", "a"]]}, "json.name.1: neither a list nor an object"),
        (N | {"properties": {"a": ["toUnixTimestamp"]}}, "properties.a: toUnixTimestamp takes one"),
        ({"name": ["vat", "x"]}, "json.name: unknown function 'vat'; did you mean 'var'?"),
        (N | {"properties": {"a": ["Var", "b"]}}, "unknown function 'Var' (a list of"),
        (N | {"properties": {"a": ["concatt", "b"]}}, "did you mean 'concat'?"),
        (N | {"properties": {"a": ["to_unix_timestamp", "b"]}}, "did you mean 'toUnixTimestamp'?"),
        (N | {"properties": {"a": ["upper", var("b")]}}, "properties.a: unknown function 'upper'"),
        (
            N | {"properties": {"a": {"b": ["x", var("b")]}}},
            (
                "properties.a.b: unknown function 'x' (a list of values is ['list', …]); "
                "there is 'var', 'concat', 'list', 'toUnixTimestamp'"
            ),
        ),
        (N | {"properties": ["a", "b"]}, "json.properties: takes an object, or ['var', …]"),
        (N | {"properties": ["list", 1]}, "json.properties: takes an object, or ['var', …]"),
        (N | {"properties": {"": 1}}, "the name is empty"),
        (N | {"properties": {"a.": 1}}, "json.properties.a.: the name is empty"),
        (N | {"properties": {"a": 1, "a.b": 2}}, "json.properties.a: is given twice"),
        (N | {"properties": {"a.b": 2, "a": {"b": 1}}}, "json.properties.a.b: is given twice"),
        (N | {"properties": {"x" * 513: var("a")}}, "Fullstory takes 512"),
        (N | {"properties": {"a": {"x" * 511: var("a")}}}, "has 513 characters"),
        (N | {"properties": {"a": {"b": "x" * 8193}}}, "json.properties.a.b: Fullstory cannot take"),
        (N | {"schema": ["var", "a"]}, "json.schema: takes {properties: {name: type}}"),
        (N | {"schema": {"a": "int"}}, "json.schema: takes {properties: {name: type}}"),
        (N | {"schema": {"properties": ["a"]}}, "json.schema.properties: takes {name: type}"),
        (N | {"schema": {"properties": {"a": "int"}}}, "schema.properties.a: there is no property"),
        (
            N | {"properties": {"seats": var("a")}, "schema": {"properties": {"seat": "int"}}},
            "json.schema.properties.seat: there is no property 'seat'; did you mean 'seats'?",
        ),
        (
            N | {"properties": {"a": var("a")}, "schema": {"properties": {"a": "integer"}}},
            "json.schema.properties.a: 'integer' is no type; did you mean 'int'?",
        ),
        (
            N | {"properties": {"a": "text"}, "schema": {"properties": {"a": "int"}}},
            "json.schema.properties.a: the property is never of type 'int', but of ['string']",
        ),
    ],
)
def test_templates_refused_at_start(template: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_spec("s", MappingSpec(kind="events", json=template))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"json": {"email": "a"}}, "streams.s.json: has no uid or id"),
        ({"json": {"uid": "u" * 257}}, "uid has 257 characters"),
        ({"json": {"uid": "u"}, "fields": {"email": "e"}}, "streams.s.fields: json is the whole"),
        ({"json": {"uid": "u"}, "properties": ["e"]}, "streams.s.properties: json is the whole"),
        ({"json": {"uid": "u"}, "exclude": ["e"]}, "streams.s.exclude: json is the whole request"),
        (
            {"json": {"uid": "u", "properties": {f"p{n}": n for n in range(501)}}},
            "streams.s.json.properties: 501 constants, Fullstory takes 500 properties",
        ),
    ],
)
def test_users_refused_at_start(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_spec("s", MappingSpec(kind="users", **spec))
    assert message in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda inner: ["list", inner], lambda inner: {"a": inner}])
def test_a_template_nested_too_deeply(wrap: Any) -> None:
    nested: Any = 1
    for _ in range(5000):
        nested = wrap(nested)
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        check_spec("s", MappingSpec(kind="events", json=N | {"properties": {"a": nested}}))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"name": var("cod")}, "json.name: the SCHEMA of stream 's' has no column 'cod'; did you"),
        ({"name": ["concat", "a", var("campaign.cod")]}, "did you mean 'campaign.code'?"),
        (N | {"properties": {"a": {"b": var("idd")}}}, "json.properties.a.b: the SCHEMA of"),
        (N | {"properties": {"a": ["list", 1, var("idd")]}}, "json.properties.a.2: the SCHEMA of"),
        (N | {"properties": {"a": var("lines.0.skuu")}}, "no column 'lines.0.skuu'"),
        (N | {"properties": {"a": var("lines.sku")}}, "no column 'lines.sku'"),
        (N | {"properties": {"a": var("tags.0.x")}}, "no column 'tags.0.x'"),
        (N | {"properties": {"a": var("tags.-1")}}, "no column 'tags.-1'"),
        (N | {"properties": var("code")}, "json.properties: takes an object"),
        (N | {"context": var("tags")}, "json.context: takes an object"),
        (
            N | {"properties": {"a": var("code")}, "schema": {"properties": {"a": "int"}}},
            "the property is never of type 'int', but of ['string']",
        ),
        (
            N | {"properties": {"a": var("id")}, "schema": {"properties": {"a": "ints"}}},
            "the property is never of type 'ints', but of ['integer']",
        ),
        (
            N | {"properties": var("campaign"), "schema": {"properties": {"cod": "str"}}},
            "there is no property 'cod'; did you mean 'code'?",
        ),
    ],
)
def test_mistakes_that_show_with_the_schema(template: Any, message: str) -> None:
    check_spec("s", MappingSpec(kind="events", json=template))
    with pytest.raises(ConfigurationError) as caught:
        compiled(template)
    assert message in str(caught.value)


# --- by property ---------------------------------------------------------------------------------

NOTHING, UNREADABLE = object(), object()
SECONDS = {
    "2024-01-02": 1704153600,
    "2024-01-02T03:04:05.9Z": 1704164645,
    "2024-01-02 03:04:05+01:00": 1704161045,
    "20240102T030405Z": 1704164645,
    "1969-12-31T23:59:59.5Z": -1,
    0: 0,
    1704164645: 1704164645,
    1704164645999: 1704164645,
    -1.5: -2,
    "17": 17,
    "noon": UNREADABLE,
    "": UNREADABLE,
    "2023-02-29": UNREADABLE,
}
PATHS = ["id", "code", "campaign.code", "campaign", "lines", "lines.0", "lines.1.sku", "lines.0.n"]
PATHS += ["tags", "tags.1", "free", "free.p", "free.q.r", "any", "any.0", "any.a", "any.0.a.1"]


def looked_up(record: Any, path: str) -> Any:
    value = record
    for step in path.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step in string.digits and int(step) < len(value):
            value = value[int(step)]
        else:
            return NOTHING
    return NOTHING if value is None else value


def as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else repr(value)
    return str(value) if isinstance(value, (int, str)) else UNREADABLE


def evaluated(template: Any, record: Any) -> Any:
    """The value of a template by the words of the language, one call at a time."""
    if isinstance(template, dict):
        pairs = [(key, evaluated(inner, record)) for key, inner in template.items()]
        return {key: value for key, value in pairs if value is not NOTHING}
    if not isinstance(template, list):
        return NOTHING if template is None else template
    name = template[0] if template and isinstance(template[0], str) else None
    if name == "var":
        return looked_up(record, template[1])
    if name == "toUnixTimestamp":
        value = evaluated(template[1], record)
        return value if value is NOTHING else SECONDS[value]
    if name == "concat":
        text = ""
        for argument in template[1:]:
            value = evaluated(argument, record)
            if value is NOTHING or (value == "" and argument[:1] == ["var"]):
                return NOTHING
            part = value if value is UNREADABLE else as_text(value)
            if part is UNREADABLE:
                return UNREADABLE
            text += part
        return text
    items = [evaluated(item, record) for item in template[1 if name == "list" else 0 :]]
    return [item for item in items if item is not NOTHING]


def without_unreadable(value: Any) -> Any:
    """A value as a body has it."""
    if isinstance(value, dict):
        return {k: without_unreadable(v) for k, v in value.items() if v is not UNREADABLE}
    if isinstance(value, list):
        return [without_unreadable(item) for item in value if item is not UNREADABLE]
    return value


def as_property(value: Any) -> Any:
    """A value as a property has it, `NOTHING` for one that is left out."""
    if value is UNREADABLE:
        return NOTHING
    if isinstance(value, dict):
        pairs = [(key, as_property(inner)) for key, inner in value.items() if inner is not None]
        return {key: inner for key, inner in pairs if inner is not NOTHING}
    if not isinstance(value, list):
        return value
    items = [item for item in value if item is not None]
    if contains_unreadable(items):
        return NOTHING
    if any(isinstance(item, (dict, list)) for item in items):
        return msgspec.json.encode(items).decode()
    return items


def contains_unreadable(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(contains_unreadable, value.values()))
    if isinstance(value, list):
        return any(map(contains_unreadable, value))
    return value is UNREADABLE


names = st.sampled_from(["a", "b", "c", "long_name"])
texts = st.sampled_from(["", "x", "é", "true", "12"])
scalars = texts | st.integers(-5, 5) | st.sampled_from([0.5, 2.0, 1e300]) | st.booleans()
json_values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(-5, 5),
        "at": st.none() | st.sampled_from(list(SECONDS)),
        "code": st.none() | texts,
        "campaign": st.none() | st.fixed_dictionaries({}, optional={"code": texts}),
        "lines": st.none()
        | st.lists(st.fixed_dictionaries({}, optional={"sku": texts, "n": json_values}), max_size=3),
        "tags": st.lists(st.none() | texts, max_size=3),
        "free": st.dictionaries(st.sampled_from(["p", "q"]), json_values, max_size=2),
        "any": json_values,
    },
)
columns = st.sampled_from(PATHS).map(var)
moments = st.builds(lambda moment: ["toUnixTimestamp", moment], st.just(var("at")))
plain = st.recursive(
    scalars | columns | moments,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: ["concat", *parts]),
    max_leaves=4,
)
templates = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: ["list", *items])
        | st.lists(inner, max_size=2).map(lambda items: [1, *items])
        | st.dictionaries(names, st.none() | inner, max_size=3)
    ),
    max_leaves=5,
)


@examples(200)
@given(templates, records)
def test_a_body_is_the_value_of_its_template(template: Any, record: Any) -> None:
    dropped: list[str] = []
    value = TemplateBody(compile_template("s", "json", template)).read(record, dropped)
    expected = evaluated(template, record)
    assert bool(dropped) == contains_unreadable(expected)
    if expected is NOTHING or expected is UNREADABLE:
        assert value is MISSING
    else:
        assert msgspec.json.encode(value) == msgspec.json.encode(without_unreadable(expected))


@examples(200)
@given(st.dictionaries(names, templates, max_size=4), records)
def test_properties_are_the_values_of_their_templates(properties: Any, record: Any) -> None:
    mapped = compiled({"name": "n", "properties": properties}).map_record(record)
    expected = as_property(evaluated(properties, record))
    assert isinstance(mapped, Mapped)
    # Of equal floats and integers, 2 and 2.0, the types may differ by what the SCHEMA declares.
    assert json.loads(mapped.body).get("properties", {}) == json.loads(json.dumps(expected))
    assert bool(mapped.dropped) == contains_unreadable(evaluated(properties, record))


requests = st.fixed_dictionaries(
    {"name": columns | st.just("n")},
    optional={
        "timestamp": columns | moments | st.just(0),
        "user": columns | st.fixed_dictionaries({"uid": columns | plain.filter(bool)}),
        "session": st.fixed_dictionaries({"id": columns}) | columns,
        "context": columns
        | st.fixed_dictionaries({"browser": columns, "location": st.just({"city": "Bonn"})})
        | st.fixed_dictionaries({"browser": st.fixed_dictionaries({"url": columns})}),
        "properties": columns | st.dictionaries(names, templates | columns, max_size=3),
        "schema": st.just({"properties": {"a": "int"}}),
    },
)


@examples(250)
@given(requests, st.lists(records | st.dictionaries(names, json_values, max_size=2), max_size=4))
def test_mapping_never_raises(template: Any, given_records: list[Any]) -> None:
    try:
        mapping = compiled(template)
    except ConfigurationError:
        event("refused")
        return
    for record in given_records:
        assert isinstance(mapping.map_record(record), Mapped | Rejected)


column = st.sampled_from(["id", "code", "campaign.code", "day"]).map(var)
text = st.lists(column | st.sampled_from(["x", 1, "%"]), min_size=1, max_size=3).map(
    lambda parts: ["concat", *parts]
)
typed_requests = st.fixed_dictionaries(
    {"name": st.just("n") | st.just(var("id")) | st.just(["concat", "n ", var("id")])},
    optional={
        "timestamp": st.just(var("at")),
        "user": st.just({"uid": ["concat", "u_", var("id")]}) | st.just(var("campaign")),
        "session": st.just({"id": var("code")}) | st.just({"use_most_recent": True}),
        "context": st.fixed_dictionaries(
            {},
            optional={
                "browser": st.just({"url": var("code")}) | st.just(var("campaign")),
                "location": st.fixed_dictionaries({"city": st.just("Bonn"), "region": text}),
            },
        ),
        "properties": st.just(var("campaign"))
        | st.dictionaries(names | st.just("a b"), column | text, max_size=4)
        | st.just({"tags": var("tags"), "of": var("campaign"), "p": var("code")}),
        "schema": st.just({"properties": {"a": "str"}}),
    },
)
plain_records = st.fixed_dictionaries(
    {"id": st.integers(0, 5)},
    optional={
        "at": st.sampled_from(["2024-01-02T03:04:05.9Z", "2024-01-02", None]),
        "code": st.sampled_from([None, "x", "é", "d:s", ""]),
        "day": st.sampled_from(["2024-01-02", None, "noon"]),
        "campaign": st.none() | st.fixed_dictionaries({}, optional={"code": st.just("c")}),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2),
    },
)


@examples(150)
@given(typed_requests, st.lists(plain_records, min_size=1, max_size=4))
def test_typed_decoding_is_the_same(template: Any, given_records: list[Any]) -> None:
    try:
        mapping = compiled(template)
    except ConfigurationError:
        event("refused")
        return
    event(f"decoder: {mapping.decoder is not None}")
    for record in given_records if mapping.decoder is not None else []:
        event(f"typed: {same(mapping, record)}")
