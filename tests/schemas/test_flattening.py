"""Whatever a SCHEMA says, flattening takes it, and rejects no record for what it says itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Outcome, SandboxApi

Run = Callable[..., Outcome]
FLAT = {"flattening_enabled": True, "flattening_max_depth": 2}
TOWN = {"type": "object", "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("column", "value", "sent"),
    [
        ({"enum": ["a", 1, None]}, "a", {"c": "a"}),
        ({"enum": ["a", 1, None]}, 1, {"c": 1}),
        ({}, 1.5, {"c": 1.5}),
        ({}, [1], {"c": "[1]"}),
        (None, 7, {"c": 7}),
        (True, 7, {"c": 7}),
        ({"description": "first", "anyOf": [{"type": "integer"}]}, 7, {"c": 7}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 7, {"c": 7}),
        ({"anyOf": [{"type": ["null", "integer"]}, {"type": "null"}]}, 7, {"c": 7}),
        ({"anyOf": [{"minimum": 1}, {"type": "string"}]}, 7, {"c": 7}),
        ({"anyOf": [True, {"type": "string"}]}, 7, {"c": 7}),
        ({"oneOf": [{"type": "null"}, TOWN]}, {"name": "Ulm"}, {"c__name": "Ulm"}),
        ({"type": ["array", "integer"]}, 7, {"c": 7}),
        ({"type": ["array", "integer"]}, [7], {"c": "[7]"}),
        ({"type": ["object", "null"]}, {"a": 1}, {"c": '{"a":1}'}),
        ({"$ref": "#/definitions/town"}, {"name": "Ulm"}, {"c": '{"name":"Ulm"}'}),
        ({**TOWN, "required": True}, {"name": "Ulm"}, {"c__name": "Ulm"}),
    ],
    ids=str,
)
def test_any_column(run_target: Run, api: SandboxApi, column: Any, value: Any, sent: dict[str, Any]) -> None:
    properties = {"uid": {"type": "string"}, "c": column}
    message = {
        "type": "SCHEMA",
        "stream": "users",
        "schema": {"properties": properties, "definitions": {"town": TOWN}},
    }
    row = {"type": "RECORD", "stream": "users", "record": {"uid": "u", "c": value}}
    outcome = run_target([json.dumps(message), json.dumps(row)], api_url=api.url, **FLAT)
    assert outcome.code == 0, outcome.stderr + str(outcome.rejects)
    assert api.user("u")["properties"] == sent


def test_two_columns_of_one_name(run_target: Run, api: SandboxApi) -> None:
    columns = {"uid": {"type": "string"}, "c": TOWN, "c__name": {"type": "string"}}
    message = {"type": "SCHEMA", "stream": "users", "schema": {"properties": columns}}
    outcome = run_target([json.dumps(message)], api_url=api.url, **FLAT)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "Stream 'users' cannot be flattened" in line
    assert "c__name" in line
    assert "flattening_separator" in line
