"""Validation in compiled code decides as singer-sdk's validator, and tells the column and the rule."""

from __future__ import annotations

import math
import time
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from singer_sdk.exceptions import InvalidRecord
from singer_sdk.sinks.core import BaseJSONSchemaValidator, JSONSchemaValidator

from target_fullstory.schemas.record_validation import RecordValidator
from target_fullstory.schemas.schema_repair import repaired

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": ["null", "integer"], "minimum": 0},
        "x": {"type": "number"},
        "s": {"type": "string", "maxLength": 3},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "one": {"enum": ["a", 1, None]},
        "word": {"type": "string", "pattern": r"^\w+$"},
    },
    "required": ["x"],
}


def accepts(validator: BaseJSONSchemaValidator, record: dict[str, Any]) -> bool:
    try:
        validator.validate(record)
    except InvalidRecord:
        return False
    return True


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"x": 1},
        {"x": True},
        {"x": math.nan},
        {"x": math.inf, "n": "no"},
        {"x": 1, "n": None},
        {"x": 1, "n": 1.0},
        {"x": 1, "n": 1.5},
        {"x": 1, "n": -1},
        {"x": 1, "n": 10**30},
        {"x": 1, "s": "abcd"},
        {"x": 1, "s": "\u00e9\u00e9\u00e9"},
        {"x": 1, "s": "\ud800"},
        {"x": 1, "at": "not a date"},
        {"x": 1, "tags": ["a", None]},
        {"x": 1, "one": 1.0},
        {"x": 1, "one": "b"},
        {"x": 1, "word": "\u00e9t\u00e9"},
        {"x": 1, "word": "two words"},
    ],
)
def test_as_singer_sdk(record: dict[str, Any]) -> None:
    assert accepts(RecordValidator(SCHEMA), record) == accepts(JSONSchemaValidator(SCHEMA), record)


def told(column: Any, value: Any, top: dict[str, Any] | None = None) -> str | None:
    """How a record with this value in its column `c` violates the SCHEMA."""
    schema, _ = repaired({"properties": {"c": column}} | (top or {}))
    violation = RecordValidator(schema).violation({"c": value})
    if violation is None:
        return None
    assert violation.code == "schema_violation"
    named, _, rule = violation.message.partition(": ")
    assert named == (f"column {violation.column}" if violation.column else "record")
    return violation.message if violation.column != "c" else rule


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ({"type": ["null", "integer"]}, "secret", "not an integer"),
        ({"type": "integer"}, None, "not an integer"),
        ({"type": ["string", "object", "null"]}, 1, "not an object or a string"),
        ({"type": "null"}, 1, "not null"),
        ({"enum": ["a", "b"]}, "secret", "not one of the values allowed"),
        ({"const": 1}, 2, "not the value allowed"),
        ({"maxLength": 3}, "secret", "longer than 3 characters"),
        ({"minLength": 1}, "", "shorter than 1 character"),
        ({"pattern": "^[0-9]+$"}, "secret", "does not match its pattern"),
        ({"minimum": 3}, 2, "less than 3"),
        ({"maximum": 2.5}, 3, "greater than 2.5"),
        ({"exclusiveMinimum": 3.0}, 3, "not greater than 3"),
        ({"type": "number", "exclusiveMaximum": 10**6}, math.inf, "not less than 1000000"),
        ({"multipleOf": 0.01}, 0.125, "not a multiple of 0.01"),
        ({"items": {"type": "string"}}, ["a", 1], "column c[]: not a string"),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], "column c[]: no value is allowed"),
        ({"items": {"properties": {"a": {"type": "string"}}}}, [{"a": 1}], "column c[].a: not a string"),
        ({"minItems": 2}, [1], "fewer than 2 items"),
        ({"maxItems": 1}, [1, 2], "more than 1 item"),
        ({"uniqueItems": True}, [1, 1], "holds an item twice"),
        ({"contains": {"type": "string"}}, [1], "does not hold the items asked for"),
        ({"contains": {}, "maxContains": 0}, [1], "does not hold the items asked for"),
        ({"items": True, "unevaluatedItems": False, "prefixItems": [True]}, [1, 2], None),
        ({"unevaluatedItems": False}, [1], "holds an item too many"),
        ({"required": ["a"]}, {}, "column c.a: missing"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "column c.b: missing"),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}, "column c.b: missing"),
        ({"minProperties": 1}, {}, "fewer than 1 column"),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, "more than 1 column"),
        ({"additionalProperties": False}, {"secret": 1}, "holds a column that is not in the SCHEMA"),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"secret": 1},
            "holds a column that is not in the SCHEMA",
        ),
        ({"unevaluatedProperties": False}, {"secret": 1}, "holds a column that is not in the SCHEMA"),
        ({"additionalProperties": {"type": "string"}}, {"secret": 1}, "column c.*: not a string"),
        ({"patternProperties": {"^s": {"type": "string"}}}, {"secret": 1}, "column c.*: not a string"),
        ({"propertyNames": {"maxLength": 1}}, {"secret": 1}, "holds a column whose name is not allowed"),
        ({"anyOf": [{"type": "string"}, {"maximum": 1}]}, 7, "fits none of the alternatives (anyOf)"),
        ({"oneOf": [{"type": "string"}, {"maximum": 1}]}, 7, "fits none of the alternatives (oneOf)"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 7, "fits several of the alternatives (oneOf)"),
        ({"allOf": [{"type": "string"}]}, 7, "not a string"),
        ({"not": {"type": "integer"}}, 7, "is what is not allowed (not)"),
        (False, 7, "is what is not allowed (not)"),
        ({"if": {"type": "integer"}, "then": {"minimum": 8}}, 7, "less than 8"),
        ({"if": {"type": "string"}, "else": {"minimum": 8}}, 7, "less than 8"),
        ({"format": "date", "type": "string"}, "no date", None),
    ],
    ids=str,
)
def test_each_rule_is_told_without_the_value(column: Any, value: Any, rule: str | None) -> None:
    assert told(column, value) == rule
    assert told(column, value) == rule


def test_columns_that_are_not_declared() -> None:
    closed = {"properties": {"c": {"type": "integer"}}, "additionalProperties": False}
    validator = RecordValidator(closed)
    assert validator.violation({"c": 1, "_sdc_sequence": 7, "_sdc_extracted_at": "now"}) is None
    violation = validator.violation({"c": 1, "nick": 7, "name": 8, "_sdc_lsn": 1})
    assert violation is not None
    assert (violation.column, violation.message) == ("nick", "column nick: not in the SCHEMA")
    assert told({"type": "string"}, 1, {"additionalProperties": {"type": "string"}}) == "not a string"
    missing = told({}, 1, {"required": ["other"]})
    assert missing == "column other: missing"
    assert told({}, 1, {"minProperties": 2}) == "record: fewer than 2 columns"


@pytest.mark.parametrize(
    ("value", "column"),
    [
        (math.nan, {"type": "number", "minimum": 3}),
        (math.inf, {"type": "number"}),
        ("\ud800", {"type": "string", "maxLength": 1}),
        (10**500, {"type": "integer"}),
        (datetime(2026, 1, 1, tzinfo=timezone.utc), {"type": "string"}),
        (Decimal("1.5"), {"type": "number", "multipleOf": 0.5}),
        (Decimal("NaN"), {"type": "number"}),
        ((1, 2), {"type": "array", "items": {"type": "integer"}}),
    ],
    ids=repr,
)
def test_values_that_json_lacks(value: Any, column: dict[str, Any]) -> None:
    assert told(column, value) is None
    assert told({"type": "null"}, value) == "not null"


def test_an_infinite_number_is_no_integer() -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert told({"type": "integer"}, value) == "not an integer"
    assert told({"type": "number", "maximum": 5}, math.inf) == "greater than 5"
    assert told({"type": "number", "minimum": 5}, -math.inf) == "less than 5"


def test_a_value_nested_deeply() -> None:
    value: Any = "\ud800"
    for _ in range(900):
        value = [value]
    assert told({"type": "array"}, value) is None


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"a\Z", "a"),
        (r"^\w+$", "\u00e9t\u00e9"),
        (r"^\d+$", "\u0663"),
        (r"^[^\w]+$", "\u00e9"),
        (r"^[\w-]+$", "\u00e9-"),
        (r"^xa{,3}$", "xaa"),
        (r"(?P<year>\d{4})-\d\d", "2026-01"),
        (r"^a$", "a\n"),
        (r"^[[a]+$", "[a"),
        (r"^[]a]$", "]"),
        (r"^(?!admin).+$", "user"),
        (r"^(a)\1$", "aa"),
        (r"\p{Lu}", "A"),
    ],
)
def test_a_pattern_fits_by_json_schema_or_by_python(pattern: str, value: str) -> None:
    assert told({"pattern": pattern}, value) is None
    named = {"patternProperties": {pattern: {}}, "additionalProperties": False}
    assert told(named, {value: 1}) is None
    assert told({"pattern": pattern}, "") == "does not match its pattern"


@pytest.mark.parametrize("value", ["a" * 60 + "!", "a" * 60 + "\ud800"])
@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^([a-z]+)*$", r"^(a+)+\Z"])
def test_a_pattern_that_could_backtrack_for_ever(pattern: str, value: str) -> None:
    began = time.monotonic()
    assert told({"pattern": pattern}, value) == ("does not match its pattern")
    assert told({"patternProperties": {pattern: False}}, {value: 1}) is None
    assert time.monotonic() - began < 5


def test_a_pattern_that_does_backtrack_for_ever() -> None:
    """It needs what the linear engine lacks: such a value is refused by the column's name."""
    pattern = r"^((?=a)a|a)+\1$"
    began = time.monotonic()
    assert told({"pattern": pattern}, "a" * 60 + "b") == "its pattern takes too long to match"
    named = told({"patternProperties": {pattern: {"type": "null"}}}, {"a" * 60 + "b": 1})
    assert named == "its pattern takes too long to match"
    assert told({"pattern": pattern}, "aaa") is None
    assert time.monotonic() - began < 5
