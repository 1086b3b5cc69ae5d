"""Records that become calls: deletions of users, webhook endpoints, any other call."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import (
    BatchSpec,
    Call,
    MappingOptions,
    MappingSpec,
    Rejected,
    check_spec,
    decode_call,
    redacted_call,
    redacted_spec,
    stored_call,
)
from target_fullstory.sending.call_dispatcher import group_calls
from tests.mapping.one_by_one import REFUSED, Mapped, OneByOne, compile_mapping

TEXT = {"type": ["null", "string"]}


def compiled(spec: MappingSpec, columns: list[str], **options: Any) -> OneByOne:
    schema = {"type": "object", "properties": {name: {} for name in columns}}
    mapping = compile_mapping("s", spec, schema, [], MappingOptions(**options))
    assert isinstance(mapping, OneByOne)
    return mapping


def call_of(mapping: OneByOne | OneByOne, record: dict[str, Any]) -> Call:
    mapped = mapping.map_record(record)
    assert isinstance(mapped, Mapped), mapped
    return decode_call(mapped.body)


def request(path: str, **spec: Any) -> MappingSpec:
    return MappingSpec(kind="request", method="POST", path=path, **spec)


@given(st.text(min_size=1))
def test_any_value_stays_in_its_place_in_a_path(value: str) -> None:
    mapping = compiled(request("/v2/{id}/x?q={id}#".rstrip("#")), ["id"])
    mapped = mapping.map_record({"id": value})
    if isinstance(mapped, Rejected):
        assert mapped.code == ("invalid_path" if value in {".", ".."} else "missing_path_value")
        return
    path = decode_call(mapped.body).path
    sent = requests.Request("POST", f"https://api.example.com{path}").prepare().url
    assert sent is not None
    parts = urlsplit(sent)
    assert parts.netloc == "api.example.com"
    assert [unquote(step) for step in parts.path.split("/")] == ["", "v2", value, "x"]
    assert unquote(parts.query) == f"q={value}"


@given(st.text())
def test_a_path_of_a_record_stays_on_its_host(path: str) -> None:
    spec = MappingSpec(kind="request", method="POST", fields={"path": "path"})
    mapped = compiled(spec, ["path"]).map_record({"path": path})
    if isinstance(mapped, Rejected):
        return
    sent = requests.Request("POST", f"https://api.example.com{decode_call(mapped.body).path}")
    parts = urlsplit(sent.prepare().url or "")
    assert parts.netloc == "api.example.com"
    assert not {".", ".."} & set(unquote(parts.path).split("/"))


def test_placeholders_in_a_records_path_are_not_expanded() -> None:
    mapping = compiled(MappingSpec(kind="request", method="POST"), ["path", "id"])
    call = call_of(mapping, {"path": "/v2/{id}", "id": "7"})
    assert call.path == "/v2/%7Bid%7D"
    assert json.loads(bytes(call.body)) == {"id": "7"}


@given(st.text(min_size=1, max_size=256))
def test_any_uid_can_be_deleted(uid: str) -> None:
    mapped = compiled(MappingSpec(kind="user_deletions"), ["uid"]).map_record({"uid": uid})
    if isinstance(mapped, Rejected):
        assert mapped.code == "missing_uid"
        return
    sent = requests.Request("DELETE", f"https://a.example{decode_call(mapped.body).path}").prepare()
    assert unquote(urlsplit(sent.url or "").query) == f"uid={uid}"
    assert mapped.key == uid


any_text = st.text(st.characters(codec=None), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(any_text, values, max_size=4))
def test_a_body_is_the_record_or_says_what_is_missing(record: dict[str, Any]) -> None:
    mapped = compiled(request("/v2/x"), [], null_values="send").map_record(record)
    assert isinstance(mapped, Mapped)
    body = json.loads(bytes(decode_call(mapped.body).body))
    sent = {key: value for key, value in record.items() if not key.startswith("_sdc_")}
    assert (body == sent) == (not mapped.dropped)
    "".join(mapped.dropped).encode()


@pytest.mark.parametrize(
    ("spec", "body"),
    [
        ({}, {"b": None, "c": {"d": [1, None], "e": 2}}),
        ({"properties": ["c"]}, {"c": {"d": [1, None], "e": 2}}),
        ({"properties": {"x.y": "c.e", "z": "id"}}, {"x": {"y": 2}, "z": "1"}),
        ({"exclude": ["b", "c.d"]}, {"c": {"e": 2}}),
        ({"properties": ["_sdc_sequence"]}, {"_sdc_sequence": 7}),
        ({"json": {"n": ["var", "c.e"], "k": "v"}}, {"n": 2, "k": "v"}),
    ],
)
def test_the_columns_of_a_body(spec: dict[str, Any], body: dict[str, Any]) -> None:
    schema = {"properties": {"id": {}, "b": {}, "c": {"type": "object", "properties": {"d": {}, "e": {}}}}}
    record = {"id": "1", "b": None, "c": {"d": [1, None], "e": 2}, "_sdc_sequence": 7}
    mapping = compile_mapping(
        "s", request("/v2/{id}", **spec), schema, [], MappingOptions(null_values="send")
    )
    assert json.loads(bytes(call_of(mapping, record).body)) == body


def test_nulls_are_left_out_by_default() -> None:
    call = call_of(compiled(request("/v2/x"), ["a", "b"]), {"a": None, "b": {"c": None}})
    assert json.loads(bytes(call.body)) == {"b": {"c": None}}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (MappingSpec(kind="user_deletions", properties=["a"]), "streams.s.properties"),
        (MappingSpec(kind="user_deletions", json={"uid": ["vr", "a"]}), "did you mean 'var'?"),
        (MappingSpec(kind="user_deletions", json={"email": "a"}), "streams.s.json.email"),
        (MappingSpec(kind="user_deletions", json={}), "has no uid or id"),
        (MappingSpec(kind="webhook_endpoints", json={"url": "x"}), "has no action"),
        (MappingSpec(kind="webhook_endpoints", path="/v2"), "streams.s.path"),
        (request("/v2", json={"a": 1}, properties=["a"]), "contradicts json"),
        (MappingSpec(kind="request", method="GET", path="/v2"), None),
        (
            MappingSpec(kind="webhook_endpoints", fields={"secret": {"const": ["top"]}}),
            "the secret is no plain value",
        ),
    ],
)
def test_mistakes_show_without_a_schema(spec: MappingSpec, said: str | None) -> None:
    if said is None:
        check_spec("s", spec)
        return
    with pytest.raises(ConfigurationError) as error:
        check_spec("s", spec)
    assert said in str(error.value)
    assert "top" not in str(error.value)


# Shared calls

calls_to_share = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from([None, "x", "y"]), st.integers(0, 40)), max_size=25
)


@given(calls_to_share, st.integers(1, 5), st.sampled_from([60, 200, 10_000]), st.booleans())
def test_sharing_loses_nothing_and_keeps_the_order(
    records: list[tuple[str, str | None, int]], size: int, max_bytes: int, grouped: bool
) -> None:
    batch = {"size": size} | ({"group_by": "g"} if grouped else {})
    spec = request("/v2/{p}", batch=None)
    spec = MappingSpec(kind="request", method="POST", path=spec.path, batch=_batch(**batch))
    mapping = compiled(spec, ["p", "g", "n"])
    calls = [
        call_of(mapping, {"p": path, "g": group, "n": number, "pad": "x" * pad})
        for number, (path, group, pad) in enumerate(records)
    ]
    runs = list(group_calls(calls, max_bytes))
    sent = [[json.loads(bytes(call.body)) for call in run] for run in runs]
    numbers = [[body["n"] for body in run] for run in sent]
    assert sorted(chain.from_iterable(numbers)) == list(range(len(records)))
    assert all(len(run) <= size for run in runs)
    assert all(len({(call.path, call.sharing and call.sharing.group) for call in run}) == 1 for run in runs)
    assert [run[0] for run in numbers] == sorted(run[0] for run in numbers)
    for group in {group for _, group, _ in records} if grouped else {None}:
        of_group = [n for n in chain.from_iterable(numbers) if not grouped or records[n][1] == group]
        assert of_group == sorted(of_group)
    for run in runs:
        assert len(run) == 1 or sum(len(call.body) + 1 for call in run) <= max_bytes


def _batch(**values: Any) -> Any:
    return msgspec.convert(values, BatchSpec)


# Secrets and stored calls


def test_a_secret_shows_nowhere() -> None:
    spec = MappingSpec(kind="webhook_endpoints", fields={"secret": {"template": "k{secret}"}})
    mapping = compiled(spec, ["action", "secret", "url"])
    record = {"action": "create", "url": "https://x", "secret": "abc123", "note": ["abc123"]}
    call = call_of(mapping, record)
    assert json.loads(bytes(call.body))["secret"] == "kabc123"
    assert b"abc123" not in redacted_call(call)
    kept, rejected = mapping.mapper.redact(record, Rejected("x", "'abc123' is too short"))
    assert "abc123" not in f"{kept} {rejected.message}"
    assert kept == record | {"secret": "****", "note": ["****"]}
    assert "const" not in str(
        redacted_spec(MappingSpec(kind="webhook_endpoints", fields={"secret": {"const": "abc"}}))
    )


@pytest.mark.parametrize(
    "spec",
    [
        MappingSpec(kind="user_deletions", fields={"id": "id"}),
        MappingSpec(kind="webhook_endpoints", fields={"action": {"const": "update"}}),
        request("/v2/{id}?a=b"),
    ],
)
@pytest.mark.parametrize("value", ["..a", "a\\b", "a\nb", "#", "é", "%2e"])
def test_a_stored_call_can_be_sent_again(spec: MappingSpec, value: str) -> None:
    mapped = compiled(spec, ["id", "x"]).map_record({"id": value, "x": 1})
    assert isinstance(mapped, Mapped)
    stored = json.loads(redacted_call(decode_call(mapped.body)))
    again = stored_call("request", stored)
    assert not isinstance(again, Rejected)
    assert (json.loads(bytes(again.request)), again.key) == (json.loads(mapped.body), mapped.key)


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        ({"method": "POST"}, "invalid_call"),
        ({"method": "TRACE", "path": "/v2"}, "invalid_call"),
        ({"method": "POST", "path": "//evil.example/v2"}, "invalid_call"),
        ({"method": "POST", "path": "/v2/../x"}, "invalid_call"),
        ([1], "invalid_call"),
        ({"method": "DELETE", "path": "/v2/users/a%2Fb", "id": "a/b"}, "invalid_path"),
        ({"method": "POST", "path": "/w", "action": "update", "body": {"secret": "****"}}, "masked_secret"),
    ],
)
def test_what_is_no_stored_call(stored: Any, code: str) -> None:
    again = stored_call("request", stored)
    assert isinstance(again, Rejected)
    assert again.code == code


# hard_delete


def test_only_records_that_are_still_there_are_decoded() -> None:
    schema = {"type": "object", "properties": {"uid": TEXT, "_sdc_deleted_at": TEXT, "n": TEXT}}
    options = MappingOptions(hard_delete=True)
    spec = MappingSpec(kind="users")
    mapping = compile_mapping("s", spec, schema, ["uid"], options, validate=True)

    def line(**record: Any) -> bytes:
        return json.dumps({"type": "RECORD", "stream": "s", "record": record}).encode()

    assert isinstance(mapping.map_line(line(uid="a", n="x")), Mapped)
    assert isinstance(mapping.map_line(line(uid="a", _sdc_deleted_at=None)), Mapped)
    for value in ("2026-01-01", "", False):
        with pytest.raises(REFUSED):
            mapping.map_line(line(uid="a", _sdc_deleted_at=value))
    mapped = mapping.map_record({"uid": "a", "_sdc_deleted_at": "2026-01-01", "n": "x" * 9000})
    assert isinstance(mapped, Mapped)
    assert (mapped.kind, mapped.key) == ("user_deletions", "a")
    assert mapped.body == b'{"method":"DELETE","path":"/v2/users?uid=a","uid":"a"}'
    kept = mapping.map_record({"uid": "a", "_sdc_deleted_at": ""})
    assert isinstance(kept, Mapped)
    assert kept.kind is None
