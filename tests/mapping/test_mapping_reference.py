"""Both doors of the mapper against the reference that is written from the pages."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from tests.mapping import test_mapping_json_typed as json_form
from tests.mapping.one_by_one import REFUSED, Mapped, OneByOne, compile_mapping
from tests.mapping.reference import Reference
from tests.mapping.test_mapping_typed import (
    PLAIN,
    event_fields,
    line_of,
    names,
    objects,
    options,
    picks,
    user_fields,
)

BASE = {"uid": {"type": "string"}, "id": {"type": "integer"}, "a": {"type": "string"}}


def outcome_of(outcome: Mapped | Rejected) -> tuple[Any, list[str]]:
    if isinstance(outcome, Rejected):
        return outcome.code, []
    return msgspec.json.decode(outcome.body), sorted(outcome.dropped)


def compare(mapping: OneByOne, reference: Reference, record: dict[str, Any]) -> None:
    line = line_of(record)
    plain = msgspec.json.decode(line)["record"]
    expected = reference.map(plain)
    event("rejected" if isinstance(expected[0], str) else "mapped")
    assert outcome_of(mapping.map_record(plain)) == expected, (reference.spec, plain)
    if mapping.decoder is not None:
        try:
            typed = mapping.map_line(line)
        except REFUSED:
            return
        event("typed")
        assert outcome_of(typed) == expected


def run(kind: str, spec: Any, schema: Any, keys: list[str], records: Any, choice: Any) -> None:
    try:
        mapping = compile_mapping("s", MappingSpec(kind=kind, **spec), schema, keys, choice)
    except ConfigurationError:  # the mapping names columns that this schema lacks
        event("refused")
        if "json" in spec:
            return
        spec = {"fields": {"uid": "uid"} if kind == "users" else {"name": "a"}}
        mapping = compile_mapping("s", MappingSpec(kind=kind, **spec), schema, keys, choice)
    reference = Reference(kind, spec, schema, keys, choice)
    for record in records:
        compare(mapping, reference, record)


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    objects(names, 2),
    user_fields,
    picks,
    options,
    st.sampled_from([["id"], ["uid"], []]),
    st.sampled_from([[], [], ["email"], ["a"]]),
)
def test_users(
    data: Any, made: Any, fields: Any, properties: Any, choice: Any, keys: Any, exclude: Any
) -> None:
    ids = {"uid": st.just("u"), "id": st.just(5), "a": st.sampled_from(PLAIN)}
    plain = st.fixed_dictionaries({}, optional=ids) | st.fixed_dictionaries(ids)
    record = st.tuples(plain, made[1]).map(lambda both: both[0] | both[1])
    records = data.draw(st.lists(record, min_size=1, max_size=4))
    schema = made[0] | {"properties": BASE | made[0]["properties"]}
    spec = {"fields": fields, "properties": properties, "exclude": exclude}
    run("users", spec, schema, keys, records, choice)


@settings(max_examples=150, deadline=None)
@given(
    st.data(),
    objects(names, 2),
    event_fields,
    picks,
    options,
    st.sampled_from([[], [], ["timestamp"], ["user"]]),
)
def test_events(data: Any, made: Any, fields: Any, properties: Any, choice: Any, exclude: Any) -> None:
    ids = {"uid": st.just("u"), "id": st.just(5), "a": st.sampled_from(PLAIN)}
    record = st.tuples(st.fixed_dictionaries(ids), made[1]).map(lambda both: both[0] | both[1])
    records = data.draw(st.lists(record, min_size=1, max_size=4))
    schema = made[0] | {"properties": BASE | made[0]["properties"]}
    spec = {"fields": fields or {"name": {"const": "n"}}, "properties": properties, "exclude": exclude}
    run("events", spec, schema, [], records, choice)


templates = st.fixed_dictionaries(
    {"name": st.just("n") | json_form.text, "properties": json_form.properties},
    optional={
        "timestamp": json_form.timestamp,
        "user": st.fixed_dictionaries({"uid": json_form.text}),
        "session": st.fixed_dictionaries({"id": json_form.column}),
    },
)


@settings(max_examples=150, deadline=None)
@given(templates, json_form.chunks, json_form.choices)
def test_events_of_a_template(template: Any, records: Any, choice: Any) -> None:
    schema = {"type": "object", "properties": json_form.COLUMNS}
    run("events", {"json": template}, schema, [], records, MappingOptions(**choice))
