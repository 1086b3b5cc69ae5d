"""Both doors of the mapper against the reference that is written from the pages."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from tests.examples import examples
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
    together,
    user_fields,
)

BASE = {"uid": {"type": "string"}, "id": {"type": "integer"}, "a": {"type": "string"}}


def outcome_of(outcome: Mapped | Rejected) -> tuple[Any, list[str], list[str]]:
    if isinstance(outcome, Rejected):
        return outcome.code, [], []
    return msgspec.json.decode(outcome.body), sorted(outcome.dropped), sorted(outcome.undeclared)


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
        name = "a" if "a" in schema["properties"] else {"const": "n"}
        spec = {"fields": {"uid": "uid"} if kind == "users" else {"name": name}}
        mapping = compile_mapping("s", MappingSpec(kind=kind, **spec), schema, keys, choice)
    reference = Reference(kind, spec, schema, keys, choice)
    for record in records:
        compare(mapping, reference, record)
    if mapping.decoder is not None:
        with suppress(*REFUSED):
            together(mapping, records)


@examples(150)
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


@examples(150)
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


@examples(150)
@given(templates, json_form.chunks, json_form.choices)
def test_events_of_a_template(template: Any, records: Any, choice: Any) -> None:
    schema = {"type": "object", "properties": json_form.COLUMNS}
    run("events", {"json": template}, schema, [], records, MappingOptions(**choice))


# --- conversions ---------------------------------------------------------------------------------

MOMENTS = (
    *("2026-01-05", "2026-07-05T09:12:44Z", "2026-07-05 09:12:44", "2026-07-05T09:12", "1890-02-03 04:05:06"),
    *(
        "2026-02-30",
        "2026-07-05 09:12:44.250",
        "2026-07-05T09:12:44+02:00",
        "2026-10-25 02:30:00",
        "20260105",
    ),
    *("2026-03-29 02:30:00", "n/a", "2026-01-05T24:00:00Z", "1767604364"),
)
TEXTS = (
    "1",
    "2",
    " 12 ",
    "12.0",
    "1.5",
    "-3e2",
    "x",
    "",
    "  ",
    "TRUE",
    "f",
    " 0",
    "Ada",
    "05.07.2026 10:00",
    "é",
)
CONVERTED = {
    "uid": {"type": "string"},
    "text": {"type": ["null", "string"]},
    "other": {"type": ["null", "string"]},
    "whole": {"type": ["null", "integer"]},
    "real": {"type": ["null", "number"]},
    "flag": {"type": ["null", "boolean"]},
    "at": {"type": ["null", "string"], "format": "date-time"},
    "day": {"type": ["null", "string"], "format": "date"},
    "list": {"type": ["null", "array"], "items": {"type": ["string", "integer"]}},
    "dates": {"type": ["null", "array"], "items": {"type": "string", "format": "date-time"}},
    "object": {
        "type": ["null", "object"],
        "properties": {"at": {"type": ["null", "string"], "format": "date-time"}, "n": {"type": "integer"}},
    },
    "any": {},
}
moments = st.sampled_from(MOMENTS)
converted_records = st.fixed_dictionaries(
    {"uid": st.just("u")},
    optional={
        "text": st.none() | st.sampled_from((*TEXTS, *MOMENTS)),
        "other": st.none() | st.sampled_from(TEXTS),
        "whole": st.none() | st.sampled_from((0, 1, 2, 20260105, -7, 2**53 + 1)),
        "real": st.none() | st.sampled_from((0, 1.0, 2.5, -1e9, 1767604364.25)),
        "flag": st.none() | st.booleans(),
        "at": st.none() | moments,
        "day": st.none() | moments,
        "list": st.none() | st.lists(st.sampled_from(("a", "", "2", 3)), max_size=3),
        "dates": st.none() | st.lists(moments, max_size=2),
        "object": st.none()
        | st.fixed_dictionaries({}, optional={"at": st.none() | moments, "n": st.just(1)}),
        "any": st.sampled_from(({"a": 1}, [{"a": 1.5}], [1, None], "2", True, 5)),
    },
)
zones = st.sampled_from(("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"))
column_names = st.sampled_from([*CONVERTED, "object.at"])


def optional(**more: Any) -> Any:
    return st.fixed_dictionaries({}, optional=more)


yes = st.just(True)
origins = (
    column_names.map(lambda name: {"column": name})
    | st.lists(column_names, min_size=1, max_size=3, unique=True).map(lambda names: {"coalesce": names})
    | st.just({"template": "{text} {whole}"})
)
conversions = (
    optional(trim=yes, lower=yes, default=st.sampled_from(("none", 5)))
    | optional(**{"as": st.sampled_from(("int", "real", "bool", "date")), "trim": yes})
    | optional(**{"as": st.just("str"), "upper": yes, "trim": yes, "default": st.just("d")})
    | st.fixed_dictionaries({"as": st.sampled_from(("int", "real", "bool")), "default": st.just(1)})
    | st.sampled_from(("%d.%m.%Y %H:%M", "%Y%m%d", "%Y-%m-%d")).map(lambda form: {"format": form})
    | st.fixed_dictionaries({"timezone": zones}, optional={"format": st.just("%Y-%m-%d %H:%M:%S")})
    | st.fixed_dictionaries(
        {"map": st.sampled_from(({"1": "free", "2": "team"}, {"true": 1, "": 0}, {"x": "5", "1": 7}))},
        optional={"default": st.sampled_from((3, "9")), "as": st.sampled_from(("int", "str"))},
    )
)
converted = st.tuples(origins, conversions).map(lambda both: both[0] | both[1])
converted_properties = st.dictionaries(
    st.sampled_from("abcdef"), converted | column_names | st.just({"const": "c"}), max_size=5
)


@examples(400)
@given(
    converted_properties | st.none(),
    st.fixed_dictionaries({}, optional={"email": converted, "display_name": converted, "uid": converted}),
    st.lists(converted_records, min_size=1, max_size=4),
    st.none() | zones,
    options,
)
def test_conversions_of_users(properties: Any, fields: Any, records: Any, zone: Any, choice: Any) -> None:
    spec = {"fields": {"uid": "uid"} | fields, "properties": properties, "timezone": zone}
    schema = {"type": "object", "properties": CONVERTED}
    run("users", spec, schema, [], records, choice)


@examples(300)
@given(
    converted_properties | st.none(),
    converted | column_names,
    st.lists(converted_records, min_size=1, max_size=4),
    st.none() | zones,
    options,
)
def test_conversions_of_events(properties: Any, timestamp: Any, records: Any, zone: Any, choice: Any) -> None:
    fields = {"name": {"column": "text", "default": "n"}, "timestamp": timestamp}
    spec = {"fields": fields, "properties": properties, "timezone": zone}
    schema = {"type": "object", "properties": CONVERTED}
    run("events", spec, schema, [], records, choice)


casts = st.recursive(
    column_names.filter(lambda name: name != "any").map(lambda name: ["var", name]),
    lambda inner: st.tuples(
        st.sampled_from(("asString", "asNumber", "asBool", "asStrings", "asNumbers", "asBools")), inner
    ).map(list),
    max_leaves=3,
)


@examples(300)
@given(
    st.dictionaries(st.sampled_from("abcdef"), casts, max_size=4),
    st.lists(converted_records, min_size=1, max_size=4),
    options,
)
def test_casts_of_a_template(properties: Any, records: Any, choice: Any) -> None:
    template = {"name": "n", "properties": properties | {"z": ["list", *properties.values()]}}
    schema = {"type": "object", "properties": CONVERTED}
    run("events", {"json": template}, schema, [], records, choice)
