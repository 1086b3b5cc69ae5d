"""What a load tells of a SCHEMA that it repairs, and of the records that violate one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Outcome, SandboxApi, record

Run = Callable[..., Outcome]


def message(stream: str, columns: dict[str, Any], **more: Any) -> str:
    top = {"type": "object", "properties": columns} | more
    return json.dumps({"type": "SCHEMA", "stream": stream, "schema": top, "key_properties": "uid"})


def warnings_in(outcome: Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if "| WARNING" in line]


@pytest.mark.parametrize("stream_maps", [{}, {"people": {"made": "uid"}}], ids=["decoded", "as dictionaries"])
def test_equal_causes_have_equal_messages(
    run_target: Run, api: SandboxApi, stream_maps: dict[str, Any]
) -> None:
    """On the path of typed decoding and on the other; the values are told nowhere but in the record."""
    columns = {
        "uid": {"type": "string"},
        "needed": {},
        "seats": {"type": ["null", "integer"], "maximum": 10},
        "plan": {"enum": ["free", "pro"]},
        "contact": {"type": "object", "properties": {"email": {"type": "string"}}, "required": ["email"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"seats": "secret 1"}, "column seats: not an integer"),
        ({"seats": "secret 2"}, "column seats: not an integer"),
        ({"seats": 11}, "column seats: greater than 10"),
        ({"plan": "secret"}, "column plan: not one of the values allowed"),
        ({"contact": {"secret": "x"}}, "column contact.email: missing"),
        ({"contact": {"email": 7}}, "column contact.email: not a string"),
        ({"tags": ["a", 7]}, "column tags[]: not a string"),
        ({"tags": ["a", "b", 7]}, "column tags[]: not a string"),
        ({"name": 7}, "column needed: missing"),
    ]
    fine = {"uid": "u", "needed": 1}
    lines = [message("people", columns, required=["needed"]), record("people", **fine)]
    lines += [record("people", **fine | values) for values, _ in wrong[:-1]]
    lines += [record("people", uid="u", **wrong[-1][0]), record("people", needed=1)]
    outcome = run_target(
        lines,
        api_url=api.url,
        streams={"people": {"kind": "users", "fields": {"uid": {"const": "u"}}}},
        stream_maps=stream_maps,
        max_rejected_records=None,
        max_rejected_percent=None,
    )
    assert outcome.code == 0, outcome.stderr
    told = [*(message for _, message in wrong), "column uid: missing, and it is a key column"]
    assert [reject["message"] for reject in outcome.rejects] == told
    assert {reject["code"] for reject in outcome.rejects} == {"schema_violation"}
    columns_told = [reject["column"] for reject in outcome.rejects]
    assert columns_told == [text.partition(": ")[0].removeprefix("column ") for text in told]
    assert "secret" not in outcome.stderr


def test_calls_tell_the_column_too(run_target: Run, api: SandboxApi) -> None:
    lines = [
        message("gone", {"uid": {"type": "string"}, "n": {"type": "integer"}}),
        record("gone", uid="u", n="x"),
    ]
    outcome = run_target(lines, api_url=api.url, streams={"gone": {"kind": "user_deletions"}})
    (reject,) = outcome.rejects
    assert (reject["message"], reject["column"]) == ("column n: not an integer", "n")


def test_one_warning_however_often_the_schema_comes(run_target: Run, api: SandboxApi) -> None:
    sloppy = message("users", {"uid": {"type": "string"}, "n": {"type": "any"}, "m": None})
    other = message("users", {"uid": {"type": "string"}, "n": {"type": "any"}, "m": None, "o": {}})
    lines = [sloppy, record("users", uid="a", n=1), sloppy, record("users", uid="b", n="x"), other, sloppy]
    outcome = run_target(lines, api_url=api.url)
    assert outcome.code == 0, outcome.stderr
    (warning,) = warnings_in(outcome)
    assert warning.endswith(
        "Stream users: the tap's SCHEMA was repaired: `type` is not one of JSON's, so that any value is "
        "taken (column n); its schema is not an object (column m)"
    )
    assert {user["uid"] for user in api.get("/v2/users")["results"]} == {"a", "b"}


def test_a_schema_that_is_a_reference(run_target: Run, api: SandboxApi) -> None:
    row = {"type": "object", "properties": {"uid": {"type": "string"}, "n": {"type": "integer"}}}
    whole = {"$ref": "#/definitions/row", "definitions": {"row": row}}
    message = {"type": "SCHEMA", "stream": "users", "schema": whole, "key_properties": None}
    lines = [json.dumps(message), record("users", uid="a", n=1), record("users", uid="b", n="x")]
    outcome = run_target(lines, api_url=api.url, max_rejected_records=None)
    assert outcome.code == 0, outcome.stderr
    assert not any("repaired" in warning for warning in warnings_in(outcome))
    assert [reject["message"] for reject in outcome.rejects] == ["column n: not an integer"]
    assert api.user("a")["schema"]["properties"] == {"n": "int"}


def test_metadata_columns_beside_a_closed_schema(run_target: Run, api: SandboxApi) -> None:
    closed = message("users", {"uid": {"type": "string"}}, additionalProperties=False)
    metadata = {"_sdc_extracted_at": "2026-01-01T00:00:00Z", "_sdc_sequence": 1, "_sdc_row": 7}
    lines = [closed, record("users", uid="a", **metadata), record("users", uid="b", plan="pro")]
    outcome = run_target(lines, api_url=api.url)
    assert [reject["message"] for reject in outcome.rejects] == ["column plan: not in the SCHEMA"]
    assert api.user("a")["properties"] == {}
    outcome = run_target(lines[:2], api_url=api.url, add_record_metadata=True)
    assert outcome.code == 0, outcome.stderr


def test_definitions_behind_a_stream_map(run_target: Run, api: SandboxApi) -> None:
    """It leaves out all columns but its own, not what they refer to."""
    number = {"type": ["null", "integer", "array"], "items": {"$ref": "#/definitions/number"}}
    columns = {"uid": {"type": "string"}, "n": {"$ref": "#/definitions/number"}}
    lines = [message("users", columns, definitions={"number": number})]
    lines += [record("users", uid="a", n=[1, [2]]), record("users", uid="b", n="x")]
    outcome = run_target(
        lines, api_url=api.url, stream_maps={"users": {"uid": "uid", "n": "n", "__else__": None}}
    )
    assert [reject["message"] for reject in outcome.rejects] == ["column n: not an array or an integer"]
    assert len(api.get("/v2/users")["results"]) == 1


def test_a_pattern_that_backtracks(run_target: Run, api: SandboxApi) -> None:
    """Neither the record nor one that JSON cannot hold keeps the target busy."""
    columns = {
        "uid": {"type": "string"},
        "linear": {"pattern": "^(a+)+$"},
        "other": {"type": "object", "patternProperties": {"^(a|aa)+$": {"type": "string"}}},
        "hard": {"pattern": r"^((?=a)a|a)+\1$"},
    }
    long = "a" * 400
    lines = [message("users", columns), record("users", uid="a", linear=long, other={f"{long}!": 1})]
    lines += [record("users", uid="b", linear=f"{long}!"), record("users", uid="c", hard=f"{long}!")]
    lines += [record("users", uid="d", linear=f"{long}!", score=float("nan"))]
    began = time.monotonic()
    outcome = run_target(lines, api_url=api.url, max_rejected_percent=None)
    assert time.monotonic() - began < 20
    assert [reject["message"] for reject in outcome.rejects] == [
        "column linear: does not match its pattern",
        "column hard: its pattern takes too long to match",
        "column linear: does not match its pattern",
    ]
