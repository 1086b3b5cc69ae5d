"""The `json` form of a mapping, through the executable and the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, SandboxApi, record, schema, state

Run = Callable[..., Outcome]

PROMOS = schema(
    "promos",
    {
        "customer_id": "integer",
        "applied_at": {"type": ["null", "string"], "format": "date-time"},
        "code": "string",
        "campaign": {"type": ["null", "object"], "properties": {"code": {"type": "string"}}},
        "lines": {"type": "array", "items": {"type": "object"}},
    },
)
PROMO = {
    "kind": "events",
    "json": {
        "name": "Promo applied",
        "timestamp": ["var", "applied_at"],
        "user": {"uid": ["concat", "user_", ["var", "customer_id"]]},
        "properties": {
            "codes": ["list", ["var", "code"], ["var", "campaign.code"]],
            "first": {"sku": ["var", "lines.0.sku"], "price": ["var", "lines.0.price"]},
            "seconds": ["toUnixTimestamp", ["var", "applied_at"]],
            "at": ["toUnixTimestamp", ["var", "code"]],
            "shop.country": "DE",
        },
        "schema": {"properties": {"first.price": "real"}},
    },
}


def promo(number: int, **columns: Any) -> str:
    return record(
        "promos", customer_id=number, applied_at=f"2026-01-01T00:00:{number:02}Z", code="SPRING", **columns
    )


def dot_split(value: Any) -> Any:
    """A configuration as Meltano passes it: objects split at the dots of their keys, no nulls."""
    if not isinstance(value, dict):
        return value
    split: dict[str, Any] = {}
    for key, inner in value.items():
        *parents, last = key.split(".")
        node = split
        for parent in parents:
            node = node.setdefault(parent, {})
        if inner is not None:
            node[last] = dot_split(inner)
    return split


@pytest.mark.parametrize("through", [lambda streams: streams, dot_split], ids=["plain", "meltano"])
def test_events(run_target: Run, sandbox: Sandbox, api: SandboxApi, through: Any) -> None:
    lines = [
        PROMOS,
        promo(1, campaign={"code": "C"}, lines=[{"sku": "a", "price": 5}, {"sku": "b"}]),
        promo(2, lines=[]),
        record("promos", customer_id=3, applied_at="noon", code="SPRING", lines=[]),
        state(promos=3),
    ]
    streams = through({"promos": PROMO})
    done = run_target(lines, api_url=sandbox.url, streams=streams, max_rejected_records=1)
    assert done.code == 0
    assert done.block["streams"]["promos"]["delivered"] == 2
    assert done.block["streams"]["promos"]["dropped_properties"] == {"at": 2}
    assert [reject["code"] for reject in done.rejects] == ["invalid_timestamp"]
    (first,) = api.events(uid="user_1")
    assert (first["name"], first["timestamp"]) == ("Promo applied", "2026-01-01T00:00:01Z")
    assert first["properties"] == {
        "codes": ["SPRING", "C"],
        "first": {"sku": "a", "price": 5},
        "seconds": 1767225601,
        "shop": {"country": "DE"},
    }
    (second,) = api.events(uid="user_2")
    assert second["properties"]["codes"] == ["SPRING"]
    assert second["properties"]["first"] == {}


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_users(run_target: Run, sandbox: Sandbox, api: SandboxApi, delivery: str) -> None:
    template = {
        "uid": ["concat", "acc_", ["var", "id"]],
        "email": ["var", "contact.emails.0"],
        "properties": ["var", "traits"],
        "schema": {"properties": {"seats": "int"}},
    }
    columns = {"id": "integer", "contact": {"type": "object"}, "traits": {"type": "object"}}
    lines = [
        schema("accounts", columns, ["id"]),
        record(
            "accounts",
            id=1,
            contact={"emails": ["a@b.example", "c@d.example"]},
            traits={"seats": 5, "plan": {"name": "pro"}},
        ),
        record("accounts", id=2, contact={}, traits={}),
        state(accounts=2),
    ]
    streams = {"accounts": {"kind": "users", "json": template}}
    done = run_target(lines, api_url=sandbox.url, streams=streams, delivery=delivery)
    assert done.code == 0, done.stderr
    user = api.user("acc_1")
    assert user["email"] == "a@b.example"
    assert user["properties"] == {"seats": 5, "plan": {"name": "pro"}}
    assert user["schema"]["properties"]["seats"] == "int"
    assert api.user("acc_2")["uid"] == "acc_2"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"json": {"name": ["vra", "code"]}}, "did you mean 'var'?"),
        ({"json": {"nme": "x"}}, "streams.promos.json.nme: Fullstory's events have no field"),
        ({"json": {"name": "x"}, "properties": ["code"]}, "streams.promos.properties: json is"),
        ({"json": "name"}, "streams.promos.json: takes an object"),
        ({"jsn": {"name": "x"}}, "did you mean 'json'?"),
        ({"json": {"name": ["var", "cod"]}}, "has no column 'cod'; did you mean 'code'?"),
    ],
)
def test_a_mistaken_template_ends_the_run(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, mapping: Any, message: str
) -> None:
    streams = {"promos": {"kind": "events"} | mapping}
    done = run_target([PROMOS, promo(1), state(promos=1)], api_url=sandbox.url, streams=streams)
    assert done.code == 1
    assert len(done.error_lines) == 1, done.stderr
    assert message in done.error_lines[0]
    assert done.stdout == ""
    assert api.events() == []


def test_a_stream_named_like_a_key_of_a_mapping(run_target: Run, sandbox: Sandbox, api: SandboxApi) -> None:
    columns = {"name": "string"}
    lines = [schema("public.json", columns), record("public.json", name="n"), state(a=1)]
    streams = {"public": {"json": {"kind": "events", "json": {"name": ["var", "name"]}}}}
    done = run_target(lines, api_url=sandbox.url, streams=streams)
    assert done.code == 0, done.stderr
    assert [event["name"] for event in api.events()] == ["n"]
