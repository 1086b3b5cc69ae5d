"""Whatever a record holds, mapping ends in a request within Fullstory's limits or in a rejection."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from tests.examples import examples
from tests.mapping.one_by_one import Mapped, compile_mapping

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
TYPES = re.compile(r"(str|int|real|bool|date)s?")

letters = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
texts = letters | st.sampled_from(
    ["x" * 300, "x" * 9000, "2024-01-02", "2024-01-02T03:04:05Z", "https://a/b", "17", "é" * 130]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.decimals()
    | st.datetimes()
    | st.dates()
    | texts
)
special = """
uid id email display_name name timestamp user session context properties browser device
screen_width url use_most_recent a 2
"""
names = letters | st.sampled_from([*special.split(), "a b", "x" * 300])
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)
records = st.dictionaries(names, values, max_size=10)
types = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", "odd"])
schemas = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"type": types | st.lists(types), "format": st.sampled_from(["date", 5])}
    )
    | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types),
            "properties": st.dictionaries(names, inner, max_size=4),
            "items": inner,
            "anyOf": st.lists(inner, max_size=3),
        },
    ),
    max_leaves=8,
)
options = st.builds(
    MappingOptions,
    null_values=st.sampled_from(["omit", "send"]),
    declare_types=st.sampled_from(["auto", "all", "none"]),
)


def leaves(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= leaves(inner, f"{path}.{key}" if path else key)
    return found


def within_limits(request: dict[str, Any]) -> None:
    found = leaves(request["properties"], "") if request["properties"] else {}
    for path, value in found.items():
        assert len(path) <= 512
        for part in path.split("."):
            assert NAME.fullmatch(part)
        if isinstance(value, str):
            assert len(value.encode()) <= 8192
        if isinstance(value, list):
            assert len(msgspec.json.encode(value)) <= 8192
            assert not any(isinstance(item, list | dict | None) for item in value)
    for path, declared in request.get("schema", {}).get("properties", {}).items():
        assert TYPES.fullmatch(declared)
        assert found[path] is not None


@examples(80)
@given(st.dictionaries(names, schemas, max_size=6), records, options)
def test_any_record_of_a_user(columns: Any, record: Any, choice: MappingOptions) -> None:
    spec = MappingSpec(kind="users", fields={"uid": {"const": "u"}})
    schema = {"type": "object", "properties": columns}
    outcome = compile_mapping("s", spec, schema, [], choice).map_record(record)
    assert isinstance(outcome, Mapped | Rejected)
    if isinstance(outcome, Mapped):
        request = msgspec.json.decode(outcome.body)
        assert set(request) <= {"uid", "email", "display_name", "properties", "schema"}
        assert len(request.get("email", "")) <= 128
        assert len(request.get("display_name", "")) <= 256
        within_limits(request)


@examples(80)
@given(st.dictionaries(names, schemas, max_size=6), records, options)
def test_any_record_of_an_event(columns: Any, record: Any, choice: MappingOptions) -> None:
    mapping = compile_mapping(
        "s",
        MappingSpec(kind="events", fields={"name": {"const": "n"}}),
        {"type": "object", "properties": columns},
        [],
        choice,
    )
    outcome = mapping.map_record(record)
    assert isinstance(outcome, Mapped | Rejected)
    if isinstance(outcome, Mapped):
        request = msgspec.json.decode(outcome.body)
        assert ("timestamp" in request) == outcome.timed
        if outcome.timed:
            datetime.fromisoformat(request["timestamp"][:19])
        ways = [*request.get("user", {}), *request.get("session", {})]
        assert ways in ([], ["id"], ["uid"], ["id", "use_most_recent"], ["uid", "use_most_recent"])
        within_limits(request)


@examples(50)
@given(records, st.randoms())
def test_planned_columns_keep_their_order_whatever_the_records(record: Any, random: Any) -> None:
    columns = {str(name): {} for name in record}
    spec = MappingSpec(kind="users", fields={"uid": {"const": "u"}})
    mapping = compile_mapping("s", spec, {"properties": columns}, [], MappingOptions())
    shuffled = list(record.items())
    random.shuffle(shuffled)
    assert mapping.map_record(dict(shuffled)) == mapping.map_record(record)
