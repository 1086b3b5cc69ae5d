"""Fullstory's own id of a user stands in a path: `.`, `..` and `a/b` would lead to another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.mapping import MappingOptions, MappingSpec, Rejected
from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, SandboxApi, record, schema, state
from tests.mapping.one_by_one import Mapped, OneByOne, compile_mapping

COLUMNS = {"uid": {"type": "string"}, "key": {"type": "string"}}
SCHEMA = {"type": "object", "properties": COLUMNS}


def mapping_of(source: Any, **more: Any) -> OneByOne:
    spec = MappingSpec(kind="users", fields={"id": source} | more)
    return compile_mapping("s", spec, SCHEMA, [], MappingOptions(), validate=True)


@pytest.mark.parametrize("with_uid", [False, True])
@pytest.mark.parametrize(
    ("source", "key", "is_id"),
    [
        ("key", ".", False),
        ("key", "..", False),
        ("key", "...", True),
        ("key", ".a", True),
        ({"template": "{key}"}, "..", False),
        ({"template": ".{key}"}, ".", False),
        ({"template": ".{key}"}, "a", True),
        ({"template": "{key}{key}"}, ".", False),
        ("key", "a/b", False),
        ("key", "/", False),
        ("key", "a%2Fb", True),
        ({"template": "7/{key}"}, "a", False),
    ],
)
def test_an_id_that_is_a_step_of_a_path_or_not(source: Any, key: str, is_id: bool, with_uid: bool) -> None:
    mapping = mapping_of(source, **({"uid": "uid"} if with_uid else {}))
    columns = {"uid": "u", "key": key}
    outcome = mapping.map_record(columns)
    assert mapping.map_line(record("s", **columns).encode()) == outcome
    if is_id:
        assert isinstance(outcome, Mapped)
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.code == "invalid_path"


@pytest.mark.parametrize("constant", ["..", "a/b"])
def test_a_constant_that_is_no_step_is_a_mistake(constant: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fields\.id"):
        mapping_of({"const": constant})


@pytest.mark.parametrize("key", ["..", "a/b"])
def test_a_deletion_by_uid_does_not_mind_its_id(key: str) -> None:
    spec = MappingSpec(kind="user_deletions", fields={"uid": "uid", "id": "key"})
    mapping = compile_mapping("s", spec, SCHEMA, [], MappingOptions())
    assert isinstance(mapping.map_record({"uid": "u", "key": key}), Mapped)
    outcome = mapping.map_record({"uid": None, "key": key})
    assert isinstance(outcome, Rejected)
    assert outcome.code == "invalid_path"


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_such_a_record_is_rejected_alone(
    delivery: str, run_target: Callable[..., Outcome], sandbox: Sandbox, api: SandboxApi
) -> None:
    run_target([schema("users", {"uid": "string"}), record("users", uid="a")], api_url=sandbox.url)
    (known,) = (one["id"] for one in api.get("/v2/users")["results"])
    outcome = run_target(
        [
            schema("people", {"key": "string", "seats": "integer"}, ["key"]),
            *(record("people", key=key, seats=7) for key in (".", known, "..", "a/b")),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams={"people": {"kind": "users", "fields": {"id": "key"}}},
        delivery=delivery,
        max_rejected_records=3,
    )
    assert outcome.code == 0, outcome.stderr
    assert [one["code"] for one in outcome.rejects] == ["invalid_path"] * 3
    assert api.user("a")["properties"] == {"seats": 7}
    assert outcome.states[-1]["bookmarks"] == {"done": True}
