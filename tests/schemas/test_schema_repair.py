"""A tap's SCHEMA becomes a valid one, never a stricter one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from target_fullstory.mapping import MappingOptions, MappingSpec, compile_mapper
from target_fullstory.schemas.flaws import Flaw, in_one_line
from target_fullstory.schemas.record_validation import RecordValidator
from target_fullstory.schemas.schema_repair import repaired
from tests.conftest import Outcome, SandboxApi, record

Run = Callable[..., Outcome]


def repair(column: Any) -> tuple[Any, list[Flaw]]:
    """One column's schema, repaired."""
    schema, flaws = repaired({"type": "object", "properties": {"c": column}})
    return schema["properties"]["c"], flaws


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (
            {"type": "number", "maximum": 9, "exclusiveMaximum": True},
            {"type": "number", "exclusiveMaximum": 9},
        ),
        ({"minimum": 9, "exclusiveMinimum": False}, {"minimum": 9}),
        ({"exclusiveMinimum": True}, {}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"type": ["string", "null", "string"]}, {"type": ["string", "null"]}),
        ({"type": ["string", {"type": "null"}]}, {"type": ["string", "null"]}),
        ({"type": "String"}, {"type": ["string"]}),
        ({"type": "any"}, {}),
        ({"type": ["null", "datetime"]}, {}),
        ({"type": []}, {}),
        ({"type": None}, {}),
        ({"type": {"a": 1}}, {}),
        (None, {}),
        ("string", {}),
        ([], {}),
        (7, {}),
        ({"type": "string", "enum": None}, {"type": "string"}),
        ({"enum": []}, {}),
        ({"type": "string", "maxLength": "40"}, {"type": "string", "maxLength": 40}),
        ({"maxLength": -1}, {}),
        ({"maxLength": 1.5}, {}),
        ({"minimum": "1.5"}, {"minimum": 1.5}),
        ({"minimum": True}, {}),
        ({"multipleOf": 0}, {}),
        ({"$ref": "#/definitions/lost"}, {}),
        ({"$ref": "user"}, {}),
        ({"$ref": "http://127.0.0.1:9/x.json"}, {}),
        ({"$ref": 7, "type": "string"}, {"type": "string"}),
        ({"$id": "#/properties/c", "type": "integer"}, {"type": "integer"}),
        (
            {"items": [{"type": "string"}], "additionalItems": False},
            {"prefixItems": [{"type": "string"}], "items": False},
        ),
        ({"items": []}, {}),
        ({"items": None}, {"items": {}}),
        ({"properties": []}, {}),
        ({"properties": {"a": None}}, {"properties": {"a": {}}}),
        ({"required": ["a", "a", 1]}, {"required": ["a"]}),
        ({"anyOf": None}, {}),
        ({"anyOf": []}, {}),
        ({"anyOf": [{"type": "string"}, None]}, {"anyOf": [{"type": "string"}, {}]}),
        ({"oneOf": [{"type": "strin"}, {"type": "string"}]}, {"anyOf": [{}, {"type": "string"}]}),
        ({"not": {"type": "strin"}}, {}),
        ({"if": {"type": "strin"}, "then": False}, {"then": False}),
        ({"contains": {"type": "strin"}, "maxContains": 0}, {"contains": {}, "maxContains": 2**63 - 1}),
        ({"pattern": "("}, {}),
        ({"pattern": 7}, {}),
        ({"format": 7}, {}),
        (
            {"type": "string", "nullable": True, "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        ({"uniqueItems": "yes"}, {}),
        (
            {"patternProperties": {"(": {}}, "additionalProperties": False},
            {"patternProperties": {}, "additionalProperties": True, "unevaluatedProperties": True},
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_repaired_and_told(column: Any, wanted: Any) -> None:
    made, flaws = repair(column)
    assert made == wanted
    assert flaws
    assert {flaw.column.removesuffix("[]").removesuffix(".a") for flaw in flaws} == {"c"}
    RecordValidator({"properties": {"c": made}})


@pytest.mark.parametrize(
    "column",
    [
        {},
        {"type": "object"},
        {"type": ["null", "string"], "format": "color"},
        {"enum": ["a", 1, None]},
        {"const": {"a": [1]}},
        {"anyOf": [{"type": "string"}, {"items": True}]},
        {"oneOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        {"dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["b"]}}},
        {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}},
        {"maximum": 10**62, "multipleOf": 0.01},
    ],
    ids=str,
)
def test_what_is_right_stays(column: Any) -> None:
    assert repair(column) == (column, [])


def test_what_says_nothing_is_left_out_in_silence() -> None:
    column = {"title": "T", "inclusion": "available", "multipleOf": 1e-38, "default": float("nan")}
    assert repair(column) == ({}, [])
    assert repair(True) == ({}, [])
    assert repair(False) == ({"not": {}}, [])


def test_branches_that_differ_by_format_alone() -> None:
    """A format is not checked: both would fit, and a `oneOf` would refuse that."""
    branches = [{"type": "string", "format": "date-time"}, {"type": "string"}]
    assert repair({"oneOf": branches}) == ({"anyOf": branches}, [])


@pytest.mark.parametrize(
    "reference",
    [
        "#/definitions/name",
        "#/properties/name",
        "#name",
        "https://a.example/s#/definitions/name",
        "name.json",
    ],
)
def test_references_are_followed(reference: str) -> None:
    name = {"type": "string", "id": "name.json", "$anchor": "name"}
    schema, flaws = repaired(
        {
            "$id": "https://a.example/s",
            "properties": {"name": name, "c": {"$ref": reference}},
            "definitions": {"name": name},
        }
    )
    assert flaws == []
    validator = RecordValidator(schema)
    assert validator.violation({"c": "x"}) is None
    violation = validator.violation({"c": 1})
    assert violation is not None
    assert violation.message == "column c: not a string"


def test_references_that_recur() -> None:
    tree = {"type": ["null", "array", "string"], "items": {"$ref": "#/definitions/tree"}}
    loop = {"$ref": "#/definitions/loop"}
    schema, flaws = repaired(
        {
            "properties": {"c": {"$ref": "#/definitions/tree"}, "self": {"$ref": "#"}, "l": loop},
            "definitions": {"tree": tree, "loop": {"allOf": [loop]}},
        }
    )
    assert flaws == []
    validator = RecordValidator(schema)
    assert validator.violation({"c": ["a", ["b", [None]]], "self": {"c": "x"}, "l": 1}) is None
    assert told(validator, {"c": ["a", [["b", 1]]]}) == "column c[][][]: not an array or a string"
    assert told(validator, {"self": {"self": {"c": 1}}}).startswith("column self.self.c: not ")


def told(validator: RecordValidator, value: dict[str, Any]) -> str:
    violation = validator.violation(value)
    assert violation is not None
    return violation.message


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"properties": {"id": {}}, "required": True}, "`required` is of draft 3"),
        ({"type": "object"}, "it declares no columns"),
        ({}, "it declares no columns"),
        (
            {"type": "record", "properties": {"id": {}}},
            "`type` is not one of JSON's, so that any value is taken",
        ),
        ({"type": "array", "properties": {"id": {}}}, "its type is array"),
        ({"properties": 7}, "`properties` is not an object; it declares no columns"),
    ],
)
def test_the_top_of_a_schema(schema: dict[str, Any], problem: str) -> None:
    made, flaws = repaired(schema)
    assert in_one_line(flaws) == problem
    assert RecordValidator(made).violation({"id": 1, "other": "x"}) is None


def test_a_schema_that_is_a_reference() -> None:
    row = {"type": "object", "properties": {"id": {"type": "integer"}}}
    made, flaws = repaired({"$ref": "#/definitions/row", "definitions": {"row": row}})
    assert (made, flaws) == (row, [])


def test_many_columns_make_one_line() -> None:
    columns = {f"c{number}": {"type": "number", "exclusiveMinimum": True} for number in range(12)}
    _, flaws = repaired({"properties": columns | {"text": {"maxLength": "9"}}})
    named = ", ".join(f"c{number}" for number in range(10))
    wanted = f"`exclusiveMinimum` is of draft 4 (columns {named} and 2 more); `maxLength` is not a number"
    assert in_one_line(flaws) == f"{wanted} (column text)"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = """
    type items properties patternProperties additionalProperties required enum const anyOf oneOf allOf not if
    then else $ref $id id $anchor definitions minimum maximum exclusiveMinimum exclusiveMaximum multipleOf
    maxLength minLength pattern format contains prefixItems propertyNames dependentRequired uniqueItems
    dependentSchemas minItems unevaluatedProperties unevaluatedItems nullable $dynamicRef
""".split()  # noqa: SIM905
TEXTS = """
    string integer null object array number any # #/properties/c #/definitions/a a ^a+$ ^(a+)+$ ( 40
""".split()  # noqa: SIM905
WORDS = st.sampled_from([*TEXTS, r"^(?=a)\1", "\ud800", 0, 1, -1, 1e-38, True, False, None])
SCHEMAS = st.recursive(
    WORDS | JSON,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "c", "^_", "\ud800"]), inner, max_size=2)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)
VALUES = JSON | WORDS


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCHEMAS, VALUES)
@example({"enum": ["\ud800"]}, "\ud800")
@example({"const": float("nan")}, float("nan"))
@example({"properties": {"\ud800": {}}}, {"\ud800": 1})
@example({"$ref": "#/properties/c"}, 1)
def test_any_json_as_a_column(column: Any, value: Any) -> None:
    """What is made of it compiles, into the validator and the typed decoder; the tap's own is left alone."""
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "c": column}}
    before = copy.deepcopy(schema)
    made, flaws = repaired(schema)
    assert repr(schema) == repr(before)
    assert json.dumps(repaired(made)[0], sort_keys=True) == json.dumps(made, sort_keys=True)
    in_one_line(flaws)
    validator = RecordValidator(made)
    assert validator.violation({"id": 1}) is None or "c" in made.get("required", ())
    validator.violation({"id": 1, "c": value})
    spec = MappingSpec(kind="users", fields={"uid": "id"})
    mapper = compile_mapper("s", spec, made, ["id"], MappingOptions(), violation=validator.violation)
    mapper.decoder  # noqa: B018 - compiled when asked for
    assert len(mapper.sources) > 0


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SCHEMAS, VALUES), min_size=15, max_size=15), st.integers(0, 2))
def test_no_column_ends_a_run_unexpectedly(
    run_target: Run, api: SandboxApi, columns: list[tuple[Any, Any]], way: int
) -> None:
    """Each column in a stream of its own; with stream maps and flattening, too."""
    lines = []
    for number, (column, value) in enumerate(columns):
        properties = {"uid": {"type": "string"}, "c": column}
        message = {"type": "SCHEMA", "stream": f"s{number}", "schema": {"properties": properties}}
        lines += [json.dumps(message | {"key_properties": "uid"}), record(f"s{number}", uid="u", c=value)]
    ways = [
        {},
        {"flattening_enabled": True, "flattening_max_depth": 2},
        {"stream_maps": {"s*": {"c": "c", "d": "record['c']", "__else__": None, "uid": "uid"}}},
    ]
    outcome = run_target(
        lines, api_url=api.url, streams={"s*": {"kind": "users"}}, max_rejected_records=None, **ways[way]
    )
    assert "Unexpected" not in outcome.stderr
    assert outcome.code == 0, outcome.stderr
