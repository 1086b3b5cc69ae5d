"""Typed decoding: what it takes is valid, and becomes what the same record as a dictionary becomes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from tests.examples import examples
from tests.mapping.one_by_one import REFUSED, Mapped, OneByOne, compile_mapping


def line_of(record: Any, stream: str = "s", **more: Any) -> bytes:
    return msgspec.json.encode({"type": "RECORD", "stream": stream, "record": record} | more)


def compiled(
    schema: dict[str, Any],
    *,
    validate: bool = True,
    kind: str = "users",
    keys: tuple[str, ...] = (),
    options: MappingOptions | None = None,
    **spec: Any,
) -> OneByOne:
    made = MappingSpec(kind=kind, **spec)
    mapping = compile_mapping("s", made, schema, keys, options or MappingOptions(), validate=validate)
    assert mapping.decoder is not None
    return mapping


def accepts(mapping: OneByOne, record: Any) -> bool:
    """Whether the decoder takes a record."""
    try:
        mapping.map_line(line_of(record))
    except REFUSED:
        return False
    return True


def same(mapping: OneByOne, record: Any) -> bool:
    """Whether the decoder takes a record; if so, makes sure that it becomes what a dictionary does."""
    line = line_of(record)
    try:
        typed = mapping.map_line(line)
    except REFUSED:
        return False
    assert typed == mapping.map_record(msgspec.json.decode(line)["record"])
    return True


def sent(mapping: OneByOne, record: Any) -> bool:
    """Whether the decoder takes a record that becomes a request, whole; as `same`."""
    outcome = mapping.map_record(record)
    return same(mapping, record) and isinstance(outcome, Mapped) and not outcome.dropped


def together(mapping: OneByOne, records: list[dict[str, Any]]) -> None:
    """Makes sure that a chunk gives what its records give as dictionaries."""
    lines = b"".join(line_of(record) + b"\n" for record in records)
    chunk, rejected = mapping.map_lines(lines)
    outcomes = [mapping.map_record(msgspec.json.decode(line)["record"]) for line in lines.splitlines()]
    made = [outcome for outcome in outcomes if isinstance(outcome, Mapped)]
    assert msgspec.json.encode(chunk.requests)[1:-1] == b",".join(one.body for one in made)
    assert chunk.keys == [one.key for one in made if one.key is not None]
    timed = mapping.kind == "events" and bool(made) and all(one.timed for one in made)
    assert chunk.timed == timed
    reasons = [(at, one) for at, one in enumerate(outcomes) if isinstance(one, Rejected)]
    assert rejected == reasons


# --- by example ----------------------------------------------------------------------------------

USERS = {
    "type": "object",
    "properties": {
        "id": {"type": ["null", "integer"]},
        "email": {"type": ["null", "string"]},
        "the plan": {"type": ["null", "string"], "maxLength": 20},
        "seats": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "mrr": {"type": ["null", "number"]},
        "created_at": {"type": ["null", "string"], "format": "date-time"},
        "tags": {"type": ["null", "array"], "items": {"type": "string"}},
        "notes": {"type": "string"},
        "address": {
            "type": ["null", "object"],
            "properties": {"the city": {"type": ["null", "string"]}, "zip": {"type": "integer"}},
        },
        "_sdc_batched_at": {"type": "string"},
    },
}
USER = {
    "id": 1,
    "email": "e@x",
    "the plan": "pro",
    "seats": 3,
    "mrr": 1.5,
    "created_at": "2024-01-02T03:04:05Z",
    "tags": ["a"],
    "address": {"the city": "Lund", "zip": 5},
    "_sdc_batched_at": "x",
}


def test_a_plain_user_is_decoded() -> None:
    mapping = compiled(USERS, keys=("id",))
    assert sent(mapping, USER)
    for column in USER.keys() - {"id"}:
        assert sent(mapping, {k: v for k, v in USER.items() if k != column})
        assert sent(mapping, USER | {column: None}) == (column != "_sdc_batched_at")


@pytest.mark.parametrize(
    "change",
    [
        {"new": 1},
        {"id": 1.0},
        {"id": "1"},
        {"the plan": "p" * 21},
        {"the plan": 5},
        {"seats": True},
        {"seats": 2**63},
        {"mrr": "1"},
        {"tags": [None]},
        {"tags": ["x" * 61]},
        {"tags": ["x"] * 21},
        {"tags": [["x"]]},
        {"address": {"zip": None}},
        {"address": {"zip": 1, "street": "s"}},
        {"address": []},
    ],
)
def test_what_goes_by_dictionary_is_refused(change: dict[str, Any]) -> None:
    mapping = compiled(USERS, keys=("id",))
    assert accepts(mapping, USER)
    assert not accepts(mapping, USER | change)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"email": ""},
        {"email": "e" * 129},
        {"created_at": "yesterday"},
        {"created_at": ""},
        {"created_at": "y" * 8193},
        {"notes": "\N{GRINNING FACE}" * 2048},
        {"notes": "\N{GRINNING FACE}" * 2049},
        {"notes": "n" * 8192},
        {"notes": "n" * 8193, "created_at": "y" * 8193},
    ],
)
def test_what_is_no_matter_of_types_is_decoded_all_the_same(change: dict[str, Any]) -> None:
    assert same(compiled(USERS, keys=("id",)), USER | change)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"STATE","value":{}}',
        b'{"type":"RECORD","stream":"other","record":{"id":1}}',
        b'{"type":"RECORD","stream":"s","record":{}}',
        b'{"type":"RECORD","stream":"s"}',
        b'{"type":"RECORD","stream":"s","record":{"id":1,"email":"\xff"}}',
        b'{"type":"RECORD","stream":"s","record":{"id":1,"email":"\\ud800"}}',
        b'{"type":"RECORD","stream":"s","record":{"id":1,"mrr":NaN}}',
        b'{"type":"RECORD","stream":"s","record":{"id":1',
        b"[]",
        b"",
    ],
)
def test_a_line_that_is_no_plain_record_of_the_stream_is_refused(line: bytes) -> None:
    mapping = compiled(USERS, keys=("id",))
    with pytest.raises(REFUSED):
        mapping.map_line(line)
    with pytest.raises(REFUSED):
        mapping.map_lines(line_of(USER) + b"\n" + (line or b"{}") + b"\n")


def test_a_chunk_of_lines_gives_the_bodies_in_order() -> None:
    mapping = compiled(USERS, keys=("id",))
    records = [USER | {"id": n, "seats": n if n % 2 else None} for n in range(50)]
    lines = b"".join(line_of(record, time_extracted="x", version=1) + b"\n" for record in records)
    chunk, _ = mapping.map_lines(lines)
    outcomes = [mapping.map_record(record) for record in records]
    bodies = [outcome.body for outcome in outcomes if isinstance(outcome, Mapped)]
    assert msgspec.json.encode(chunk.requests)[1:-1] == b",".join(bodies)
    assert msgspec.json.encode(chunk.requests[10:20])[1:-1] == b",".join(bodies[10:20])
    assert chunk.keys == [str(n) for n in range(50)]
    assert mapping.map_lines(b"")[0].requests == []


EVENT_SCHEMA = {
    "properties": {
        "what": {"type": "string"},
        "at": {"type": ["null", "string"]},
        "customer": {"type": ["null", "integer"]},
        "session": {"type": ["null", "string"]},
        "context": {
            "type": ["null", "object"],
            "properties": {
                "device": {"type": "object", "properties": {"screen_width": {"type": "integer"}}},
                "browser": {
                    "type": ["null", "object"],
                    "properties": {"user_agent": {"type": "string"}, "url": {"type": "string"}},
                },
                "os": {"type": ["null", "string"]},
            },
        },
    }
} | {"type": "object"}
EVENT_FIELDS = {
    "name": "what",
    "timestamp": "at",
    "user.uid": {"template": "user_{customer}"},
    "session.use_most_recent": {"const": True},
}


@pytest.mark.parametrize(
    ("record", "whole"),
    [
        ({"at": "2024-01-02T03:04:05Z"}, True),
        ({"at": "2024-01-02T03:04:05.123456+05:30", "customer": 5}, True),
        ({"at": "2024-01-02T03:04:05+14:00"}, True),
        ({"at": "2024-01-02 03:04:05"}, True),
        ({"at": "2024-02-29"}, True),
        ({"at": "1700000000"}, True),
        ({"at": "20240102"}, True),
        ({"at": "20240102T030405+0100"}, True),
        ({"at": "2024-01-02T03Z"}, True),
        ({"at": "9999-12-31T23:59:59.9999999Z"}, True),
        ({"at": ""}, False),
        ({"at": " "}, False),
        ({"at": "2023-02-29T00:00:00Z"}, False),
        ({"at": "2023-01-01T24:00:00Z"}, False),
        ({"at": "2023-01-01T00:60:00Z"}, False),
        ({"at": "2023-01-01T00:00:60Z"}, False),
        ({"at": "2023-01-01T00:00:00+01:60"}, False),
        ({"at": "2023-01-01T00:00:00+24:00"}, False),
        ({"at": "0000-01-01T00:00:00Z"}, False),
        ({"at": "2023-00-01T00:00:00Z"}, False),
        ({"at": None, "customer": None}, True),
        ({"context": {"browser": {"url": "u", "user_agent": "a"}}}, True),
        ({"context": {"browser": {"url": "u"}, "device": {"screen_width": 2}}}, True),
        ({"context": {"browser": None, "device": {"screen_width": 2}}}, True),
        ({"context": None}, True),
        ({"context": {}}, True),
        ({"context": {"browser": {}}}, True),
        ({"context": {"browser": {"url": ""}}}, True),
        ({"context": {"device": {"screen_width": 2**31}}}, False),
        ({"context": {"os": "x"}}, False),
        ({"what": "n" * 251}, False),
        ({"what": ""}, False),
    ],
)
def test_events(record: dict[str, Any], whole: bool) -> None:
    mapping = compiled(EVENT_SCHEMA, kind="events", fields=EVENT_FIELDS)
    assert sent(mapping, {"what": "Bought"} | record) == whole


@pytest.mark.parametrize(
    ("record", "whole"),
    [
        ({"customer": 5}, True),
        ({"customer": 5, "session": "1:2"}, True),
        ({"session": "https://app.fullstory.com/ui/O/session/1%3A2"}, True),
        ({"session": "https://"}, False),
    ],
)
def test_an_event_with_a_session_id(record: dict[str, Any], whole: bool) -> None:
    fields = EVENT_FIELDS | {"session.id": "session"}
    mapping = compiled(EVENT_SCHEMA, kind="events", fields=fields)
    assert sent(mapping, {"what": "Bought"} | record) == whole


@pytest.mark.parametrize(
    ("column", "absent"),
    [
        ("customer", None),
        ("customer", 7),
        ("at", None),
        ("context", None),
        ("context", {"browser": None, "device": {"screen_width": 3}}),
        ("context", {"browser": {"url": "v"}}),
    ],
)
@pytest.mark.parametrize("source", ["customer", {"template": "{customer}"}, {"template": "%{customer}!"}])
def test_a_chunk_in_which_some_events_lack_a_value(column: str, absent: Any, source: Any) -> None:
    fields = EVENT_FIELDS | {"user.uid": source}
    mapping = compiled(EVENT_SCHEMA, kind="events", fields=fields)
    full = {
        "what": "n",
        "at": "2024-01-02T03:04:05Z",
        "customer": -(2**63),
        "context": {"browser": {"url": "u"}, "device": {"screen_width": 2}},
    }
    together(mapping, [full, full | {"customer": 5}])
    together(mapping, [full, full | {column: absent}, full])
    together(mapping, [full | {column: absent}])


def test_a_chunk_whose_declared_columns_lie_in_objects_that_may_be_null() -> None:
    inner = {"n": {"type": ["null", "integer"]}, "on": {"type": ["null", "string"], "format": "date"}}
    deep = {"type": ["null", "object"], "properties": inner}
    outer = {"type": ["null", "object"], "properties": {"deep": deep, "k": {"type": "integer"}}}
    days = {"type": ["null", "array"], "items": {"type": "string", "format": "date"}}
    columns = {"uid": {"type": "integer"}, "o": outer, "days": days}
    mapping = compiled({"type": "object", "properties": columns})
    full = {"uid": 1, "o": {"deep": {"n": 1, "on": "2024-01-02"}, "k": 2}, "days": ["2024-01-02"]}
    part = {"uid": 2, "o": {"deep": {"n": None, "on": "2024-01-02"}}}
    others: list[Any] = [{"deep": None, "k": 2}, {"k": 2}, None]
    together(mapping, [full, full])
    together(mapping, [full, part, full | {"days": None}])
    for other in others:
        together(mapping, [full, full | {"o": other}, part])
        together(mapping, [{"uid": 3, "o": other}])
    together(mapping, [full, full | {"days": ["soon"]}])


def test_more_combinations_of_absent_columns_than_are_kept() -> None:
    columns = {f"c{n}": {"type": ["null", "integer"]} for n in range(13)}
    mapping = compiled({"type": "object", "properties": {"uid": {"type": "string"}} | columns})
    records = [{"uid": "u"} | {f"c{bit}": 1 for bit in range(13) if n >> bit & 1} for n in range(5000)]
    together(mapping, records)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"uid": {"type": "string"}}, "required": ["x"]},
        {"type": "object", "properties": {"uid": {"type": "string"}}, "minProperties": 1},
        {"type": "object", "properties": {"uid": {"type": "string"}}, "allOf": []},
        {"type": "object", "properties": {"uid": {"type": "string", "pattern": "x"}}},
        {"type": "object", "properties": {"uid": {"type": "integer", "minimum": "x"}}},
        {"type": "object", "properties": {"uid": {}, "a": {"not": {}}}, "required": ["uid", "a"]},
    ],
)
def test_schemas_that_types_cannot_tell(schema: dict[str, Any]) -> None:
    spec = MappingSpec(kind="users")
    mapping = compile_mapping("s", spec, schema, ["uid"], MappingOptions(), validate=True)
    assert mapping.decoder is None


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9}, [0, 9], [-1, 10]),
        ({"type": "integer", "exclusiveMinimum": 0.5}, [1], [0]),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, [2**63 - 1], []),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, [0, 0.5], [-0.5, 1]),
        ({"type": "integer", "multipleOf": 5}, [], [5]),
        ({"type": ["string", "null"], "minLength": 2}, ["ab", None], ["a"]),
        ({"type": ["string", "null"], "enum": ["a", "b"]}, ["a"], ["c", None]),
        ({"enum": ["a", None, 5]}, ["a", None], ["c", 5]),
        ({"const": "a"}, ["a"], ["b"]),
        ({"type": ["string", "null"], "pattern": "^a"}, [None], ["ab"]),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [1]),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, [], ["a", 1, None]),
        ({"oneOf": [{"minLength": 1}, {"type": "null"}]}, [], ["a", None]),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [1.5, None]),
        ({"$ref": "#/x"}, [], ["a", None]),
        ({}, ["a", 1, 1.5, True, None], [{}]),
        (True, ["a", None], [{}]),
        (False, [], ["a", None]),
        ({"type": "object"}, [], [{}]),
        ({"type": "object", "properties": {"z": {}}}, [{}, {"z": 1}], [{"z": {}}, {"y": 1}]),
        ({"type": "object", "properties": {"z": {}}, "enum": [{"z": 1}]}, [], [{"z": 2}]),
        ({"type": "object", "properties": {"z": {}}, "minProperties": 1}, [], [{}, {"z": 1}]),
        (
            {
                "type": "object",
                "properties": {"z": {"type": ["null", "integer"]}, "y": {"type": "string"}},
                "required": ["z"],
            },
            [{"z": 1}, {"z": 1, "y": "a"}],
            [{"z": None}, {}],
        ),
        ({"type": ["null", "object"]}, [None], [{}]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, [[], [1]], [[1] * 3]),
        ({"type": "array", "items": {"type": "object"}}, [], [[], [{}]]),
        ({"type": "array", "uniqueItems": True}, [], [[1]]),
    ],
)
def test_conditions_on_a_column(schema: Any, accepted: list[Any], refused: list[Any]) -> None:
    mapping = compiled({"type": "object", "properties": {"uid": {"type": "string"}, "c": schema}})
    for value in accepted:
        assert sent(mapping, {"uid": "u", "c": value})
    for value in refused:
        assert not sent(mapping, {"uid": "u", "c": value})


def test_an_object_loses_what_is_excluded_of_it() -> None:
    mapping = compiled(USERS, keys=("id",), exclude=["address.zip"])
    assert sent(mapping, USER)
    plain = {"type": "object", "properties": {"a": {}, "b": {}}}
    mapping = compiled({"type": "object", "properties": {"uid": {}, "o": plain}}, exclude=["o.b"])
    assert sent(mapping, {"uid": "u", "o": {"a": 1, "b": 2}})


def test_what_is_excluded_of_a_context_is_not_sent() -> None:
    mapping = compiled(EVENT_SCHEMA, kind="events", fields={"name": "what"}, exclude=["context.browser.url"])
    browser = {"user_agent": "a"}
    assert sent(mapping, {"what": "n", "context": {"browser": browser}})
    assert not accepts(mapping, {"what": "n", "context": {"browser": browser | {"url": "u"}}})


def test_an_object_used_as_a_plain_value_goes_by_dictionary() -> None:
    fields = {"email": "address", "display_name": "address.the city"}
    mapping = compiled(USERS, keys=("id",), fields=fields)
    assert not accepts(mapping, USER)
    assert sent(mapping, USER | {"address": None})


@pytest.mark.parametrize("source", ["meta.key", {"template": "x{meta.key}"}])
@pytest.mark.parametrize(("kind", "field"), [("users", "uid"), ("users", "id"), ("events", "name")])
def test_a_required_field_inside_an_object(kind: str, field: str, source: Any) -> None:
    meta = {"type": ["null", "object"], "properties": {"key": {"type": ["null", "string"]}}}
    schema = {"type": "object", "properties": {"meta": meta, "a": {}}}
    mapping = compiled(schema, kind=kind, fields={field: source})
    assert sent(mapping, {"meta": {"key": "k"}, "a": 1})
    for record in ({"meta": {"key": None}}, {"meta": {}}, {"meta": None}, {}):
        assert isinstance(mapping.map_record(record), Rejected)
        assert same(mapping, record)


def test_without_validation_only_the_types_in_use_matter() -> None:
    column = {"type": "string", "pattern": "^a", "minLength": 5}
    schema = {"type": "object", "properties": {"uid": {}, "c": column, "hidden": {"not": {}}}}
    mapping = compiled(schema, validate=False, exclude=["hidden"])
    assert sent(mapping, {"uid": "u", "c": "b", "hidden": {"any": ["thing"]}})
    assert not accepts(mapping, {"uid": "u", "c": 5})


def test_a_null_that_is_sent_goes_by_dictionary() -> None:
    options = MappingOptions(null_values="send")
    mapping = compiled(USERS, keys=("id",), options=options)
    assert sent(mapping, USER)
    assert sent(mapping, {"id": 1})
    assert not accepts(mapping, USER | {"mrr": None})
    assert not accepts(mapping, USER | {"address": None})


# --- by property ---------------------------------------------------------------------------------

NAMES = ["uid", "id", "email", "name", "user", "session", "context", "properties", "timestamp"]
PARTS = ["uid", "id", "browser", "device", "url", "screen_width", "use_most_recent", "a b", "a-b"]
names = st.sampled_from([*NAMES, "a", "a b", "a-b", "_sdc_x", "2"])
parts = st.sampled_from([*PARTS, "a", "location", "latitude"])
PLAIN = ["x", "é", "pro", "2024-01-02", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.5+01:00"]
ODD = ["", "x" * 61, "x" * 130, "x" * 260, "x" * 2049, "x" * 8193, "nope", "17", "2024-02-29T03:04:05Z"]
ODDER = ["2023-02-29T00:00:00Z", "https://app.fullstory.com/ui/x/session/1%3A2", "a\u2028b", '"q"\\']
texts = st.sampled_from(PLAIN * 6 + ODD + ODDER)
numbers = st.integers(-3, 3) | st.sampled_from([1.0, 0.5, -1.5, 2**31, 2**63, -(2**63), 1e300])
scalars = st.none() | st.booleans() | numbers | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(parts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def scalar_columns(draw: Any) -> tuple[Any, Any]:
    """A schema of a scalar, and a strategy of values that mostly suit it."""
    kind, values = draw(
        st.sampled_from(
            [("string", texts), ("integer", numbers), ("number", numbers), ("boolean", st.booleans())]
        )
    )
    extra: dict[str, Any] = {}
    if draw(st.integers(0, 3)) == 0:
        extra = draw(
            st.sampled_from(
                [
                    {"format": "date"},
                    {"format": "date-time"},
                    {"maxLength": 5},
                    {"minLength": 1},
                    {"minimum": 0},
                    {"maximum": 0.5, "minimum": -1},
                    {"exclusiveMinimum": 0, "exclusiveMaximum": 2},
                    {"multipleOf": 2},
                    {"pattern": "x"},
                    {"enum": ["x", None, 1]},
                    {"const": "x"},
                    {"not": {"type": "null"}},
                ]
            )
        )
    form = draw(st.integers(0, 5))
    if form == 0:
        return {"type": kind, **extra}, values
    if form == 1:
        return {"anyOf": [{"type": kind, **extra}, {"type": "null"}]}, values | st.none()
    if form == 2:
        return {"oneOf": [{"type": kind, **extra}, {"type": "null"}]}, values | st.none()
    if form == 3:
        other = draw(st.sampled_from(["string", "integer", "number", "array", "object"]))
        return {"type": [kind, other, "null"], **extra}, values | json_values
    return {"type": ["null", kind], **extra}, values | st.none()


@st.composite
def columns(draw: Any, depth: int = 2) -> tuple[Any, Any]:
    """A schema, and a strategy of values that mostly suit it."""
    choice = draw(st.integers(0, 9))
    if choice == 0:
        return draw(st.sampled_from([{}, True, {"type": "object"}, {"type": "array"}])), json_values
    if choice == 1:
        items, values = draw(scalar_columns())
        limits = draw(st.sampled_from([{}, {"maxItems": 1}, {"minItems": 1}]))
        return {"type": ["null", "array"], "items": items, **limits}, st.lists(values, max_size=3)
    if choice in (2, 3, 4) and depth:
        schema, values = draw(objects(parts, depth - 1))
        if draw(st.booleans()):
            schema = schema | {"type": ["null", "object"]}
            values |= st.none()
        return schema, values
    return draw(scalar_columns())


@st.composite
def objects(draw: Any, keys: Any, depth: int) -> tuple[Any, Any]:
    """A schema of an object, and a strategy of objects that mostly suit it."""
    made = draw(st.dictionaries(keys, columns(depth), max_size=5))
    schema: dict[str, Any] = {"type": "object", "properties": {k: v[0] for k, v in made.items()}}
    if draw(st.integers(0, 3)) == 0 and made:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(made)), max_size=2))
    if draw(st.integers(0, 5)) == 0:
        schema["additionalProperties"] = draw(st.booleans())
    wanted = set(schema.get("required", [])) if draw(st.integers(0, 9)) else set()
    values = st.fixed_dictionaries(
        {k: v[1] for k, v in made.items() if k in wanted},
        optional={k: v[1] for k, v in made.items() if k not in wanted},
    )
    if draw(st.integers(0, 5)) == 0:
        extra = st.dictionaries(keys, json_values, max_size=1)
        values = st.tuples(extra, values).map(lambda both: both[0] | both[1])
    return schema, values


options = st.builds(
    MappingOptions,
    null_values=st.sampled_from(["omit", "omit", "send"]),
    declare_types=st.sampled_from(["auto", "all", "none"]),
)
user_fields = st.sampled_from(
    [
        {},
        {},
        {"uid": {"template": "user_{id}"}},
        {"uid": {"template": "{a}%{id}"}, "email": "a"},
        {"id": "id"},
        {"display_name": "properties.a b", "uid": "id"},
        {"email": {"const": "e@x"}},
    ]
)
event_fields = st.sampled_from(
    [
        {},
        {"name": {"const": "Bought"}},
        {"name": "a", "timestamp": "timestamp", "user.uid": "id"},
        {"name": {"template": "{a} {name}"}, "user.uid": "uid", "user.id": "id"},
        {
            "name": {"const": "n"},
            "user.uid": {"template": "user_{id}"},
            "session.use_most_recent": {"const": True},
        },
        {"name": {"const": "n"}, "session.id": "session", "user.uid": "user.uid"},
        {"name": {"const": "n"}, "session.id": "a", "session.uid": "id", "timestamp": "a"},
        {"name": "a", "context.browser.url": "a b", "context.device.screen_width": "id"},
        {"name": "a", "context.location.latitude": "id", "context.browser.user_agent": "uid"},
        {"name": "a", "context": "context", "user.id": "context.id"},
    ]
)
picks = st.none() | st.sampled_from([["a", "properties.a"], {"x y": "a", "z": "user"}, []])


def compare(kind: str, schema: Any, records: list[Any], validate: bool, spec: Any, choice: Any):
    base = {"uid": {"type": "string"}, "id": {"type": "integer"}, "a": {"type": "string"}}
    schema = schema | {"properties": base | schema["properties"]}
    try:
        mapping = compile_mapping("s", MappingSpec(kind=kind, **spec), schema, [], choice, validate=validate)
    except ConfigurationError:  # the mapping names columns that this schema lacks
        plain = MappingSpec(kind=kind, fields={} if kind == "users" else {"name": {"const": "n"}})
        mapping = compile_mapping("s", plain, schema, [], choice, validate=validate)
    event(f"decoder: {mapping.decoder is not None}")
    if mapping.decoder is None:
        return
    validator = Draft202012Validator(schema)
    taken = []
    for record in records:
        is_typed = same(mapping, record)
        event(f"typed: {is_typed}")
        if is_typed:
            taken.append(record)
            assert not validate or validator.is_valid(record)
    together(mapping, taken)


@examples(120)
@given(st.data(), objects(names, 2), st.booleans(), user_fields, picks, options)
def test_users_are_mapped_alike_by_both_doors(
    data: Any, made: Any, validate: bool, fields: Any, properties: Any, choice: Any
) -> None:
    ids = {"uid": st.just("u"), "id": st.just(5), "a": st.sampled_from(PLAIN)}
    plain = st.fixed_dictionaries({}, optional=ids) | st.fixed_dictionaries(ids)
    record = st.tuples(plain, made[1]).map(lambda both: both[0] | both[1])
    records = data.draw(st.lists(record, min_size=1, max_size=4))
    spec = {"fields": fields, "properties": properties}
    compare("users", made[0], records, validate, spec, choice)


@examples(120)
@given(st.data(), objects(names, 2), st.booleans(), event_fields, picks, options)
def test_events_are_mapped_alike_by_both_doors(
    data: Any, made: Any, validate: bool, fields: Any, properties: Any, choice: Any
) -> None:
    ids = {"uid": st.just("u"), "id": st.just(5), "a": st.sampled_from(PLAIN)}
    plain = st.fixed_dictionaries({}, optional=ids) | st.fixed_dictionaries(ids)
    record = st.tuples(plain, made[1]).map(lambda both: both[0] | both[1])
    records = data.draw(st.lists(record, min_size=1, max_size=4))
    spec = {"fields": fields, "properties": properties}
    compare("events", made[0], records, validate, spec, choice)
