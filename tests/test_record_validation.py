"""Validation in compiled code says what singer-sdk's validator says."""

from __future__ import annotations

import math
from typing import Any

import pytest
from singer_sdk.exceptions import InvalidJSONSchema, InvalidRecord
from singer_sdk.sinks.core import BaseJSONSchemaValidator, JSONSchemaValidator

from target_fullstory.record_validation import RecordValidator

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


def test_a_pattern_that_only_python_reads() -> None:
    schema = {"type": "object", "properties": {"s": {"pattern": r"a\Z"}}}
    assert accepts(RecordValidator(schema), {"s": "a"})
    assert not accepts(RecordValidator(schema), {"s": "a\n"})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "strin"}}},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"properties": {"a": {"$ref": "http://127.0.0.1:9/schema.json"}}},
    ],
)
def test_what_is_no_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidJSONSchema):
        RecordValidator(schema)
