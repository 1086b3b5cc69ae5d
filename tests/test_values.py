"""Dates, casts, small transforms and soft deletions, through the executable and real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Outcome, SandboxApi, record, schema, state
from tests.running import check_refused, command

Run = Callable[..., Outcome]
SLOW = {"max_events": 1_000_000}
MOMENT = {"type": ["null", "string"], "format": "date-time"}


def warnings_of(done: Outcome) -> list[str]:
    return [line.partition("target-fullstory")[2] for line in done.stderr.splitlines() if "| WARNING" in line]


@pytest.mark.parametrize("path", [{}, SLOW], ids=["fast", "slow"])
def test_the_transforms_of_a_mapping(run_target: Run, api: SandboxApi, path: dict[str, Any]) -> None:
    customers = {
        "kind": "users",
        "fields": {
            "uid": {"column": "id", "as": "str"},
            "email": {"coalesce": ["work_email", "email"], "lower": True, "trim": True},
            "display_name": {"column": "name", "default": "Unknown"},
        },
        "properties": {
            "seats": {"column": "seats_text", "as": "int"},
            "plan": {"column": "tier", "map": {"1": "free", "2": "team"}},
            "joined": {"column": "joined", "format": "%d.%m.%Y %H:%M", "timezone": "Europe/Berlin"},
            "lines": {"column": "lines", "as": "str"},
        },
    }
    columns = dict.fromkeys(("work_email", "email", "name", "seats_text", "joined"), "string")
    columns |= {"id": "integer", "tier": "integer", "lines": {}}
    first = {"id": 1, "work_email": " ", "email": " Ada@Example.com", "seats_text": " 12 ", "tier": 2}
    first |= {"joined": "05.07.2026 09:12", "lines": [{"sku": "A1"}]}
    second = {"id": 2, "name": "Bo", "seats_text": "a dozen", "tier": 3, "joined": "2026-07-05"}
    lines = [
        schema("customers", columns, ["id"]),
        record("customers", **first),
        record("customers", **second),
    ]
    done = run_target([*lines, state(n=1)], api_url=api.url, streams={"customers": customers}, **path)
    assert done.code == 0, done.stderr
    ada, bo = api.user("1"), api.user("2")
    assert (ada["email"], ada["display_name"]) == ("ada@example.com", "Unknown")
    assert ada["properties"] == {
        "seats": 12,
        "plan": "team",
        "joined": "2026-07-05T09:12:00+02:00",
        "lines": '[{"sku":"A1"}]',
    }
    assert ada["schema"]["properties"] | {"seats": "int", "joined": "date"} == ada["schema"]["properties"]
    assert (bo["display_name"], bo["properties"]) == ("Bo", {})
    assert done.block["streams"]["customers"]["dropped_properties"] == {"seats": 1, "plan": 1, "joined": 1}


@pytest.mark.parametrize("path", [{}, SLOW], ids=["fast", "slow"])
def test_dates_are_sent_alike_and_others_are_told(
    run_target: Run, api: SandboxApi, config: dict[str, Any], tmp_path: Path, path: dict[str, Any]
) -> None:
    columns = {"id": "integer", "at": MOMENT, "on": {"type": ["null", "string"], "format": "date"}}
    rows = [
        {"id": 1, "at": "2026-07-05 09:12:44", "on": "2026-07-05"},
        {"id": 2, "at": "2026-07-05T09:12:44Z", "on": "soon"},
        {"id": 3, "at": "n/a", "on": "2026-02-30"},
        {"id": 4, "at": None, "on": "never"},
    ]
    lines = [schema("people", columns, ["id"]), *(record("people", **row) for row in rows), state(n=1)]
    people = {"kind": "users", "timezone": "Europe/Berlin"}
    done = run_target(lines, api_url=api.url, streams={"people": people}, **path)
    assert done.code == 0, done.stderr
    sent = [api.user(str(number)) for number in range(1, 5)]
    assert [user["properties"] for user in sent] == [
        {"at": "2026-07-05T09:12:44+02:00", "on": "2026-07-05"},
        {"at": "2026-07-05T09:12:44Z", "on": "soon"},
        {"at": "n/a", "on": "2026-02-30"},
        {"on": "never"},
    ]
    assert sent[0]["schema"]["properties"] == {"at": "date", "on": "date"}
    counts = done.block["streams"]["people"]
    assert (counts["undeclared_values"], counts["dropped_properties"]) == ({"at": 1, "on": 3}, {})
    seen = command(tmp_path, config | {"streams": {"people": people}}, "preview", text="\n".join(lines))
    line = "  values that are not of their column's type, sent as they are: 3 of on, 1 of at"
    assert line in seen.stdout.splitlines()
    told = warnings_of(done)
    assert [("property at" in line, "property on" in line) for line in told] == [(False, True), (True, False)]
    assert all("Stream people" in line and "n/a" not in line for line in told)


@pytest.mark.parametrize("path", [{}, SLOW], ids=["fast", "slow"])
def test_events_without_a_timestamp(
    run_target: Run, api: SandboxApi, config: dict[str, Any], tmp_path: Path, path: dict[str, Any]
) -> None:
    columns = {"id": "integer", "at": MOMENT}
    lines = []
    for stream in ("some", "none"):
        rows = [
            {"id": at, "at": "2026-01-05T09:12:44Z" if stream == "some" and at else None} for at in range(4)
        ]
        lines += [schema(stream, columns, ["id"]), *(record(stream, **row) for row in rows)]
    fields = {"name": {"const": "Done"}, "timestamp": "at"}
    settings = {"streams": {"*": {"kind": "events", "fields": fields}}, **path}
    done = run_target([*lines, state(n=1)], api_url=api.url, **settings)
    assert done.code == 0, done.stderr
    assert done.block["events_without_timestamp"] == done.report["events_without_timestamp"] == 5
    seen = command(tmp_path, config | settings, "preview", text="\n".join(lines))
    assert seen.code == 0, seen.stderr
    for outcome in (done, seen):
        some, none = warnings_of(outcome)
        assert "Stream some: an event has no timestamp" in some
        assert "Stream none: an event has no timestamp" in none


def test_events_that_all_have_one_are_not_told(run_target: Run, api: SandboxApi) -> None:
    lines = [schema("events", {"name": "string", "timestamp": MOMENT})]
    lines += [record("events", name="n", timestamp="2026-01-05 09:12:44"), state(n=1)]
    done = run_target(lines, api_url=api.url)
    assert done.block["events_without_timestamp"] == 0
    assert warnings_of(done) == []


REJECTED: list[tuple[dict[str, Any], dict[str, Any], str, str | None]] = [
    ({"fields": {"uid": "a.b"}}, {"a": {"b": None}}, "missing_uid", "a.b"),
    ({"fields": {"uid": "t"}}, {"t": "u" * 257}, "uid_too_long", "t"),
    ({"fields": {"uid": "id", "email": "t"}}, {"t": "e" * 129}, "email_too_long", "t"),
    (
        {"fields": {"uid": "id", "display_name": "a.b"}},
        {"a": {"b": "d" * 257}},
        "display_name_too_long",
        "a.b",
    ),
    ({"fields": {"uid": {"column": "t", "as": "int"}}}, {"t": "x"}, "missing_uid", "t"),
    ({"fields": {"uid": {"template": "u_{t}"}}}, {"t": None}, "missing_uid", "t"),
    ({"fields": {"uid": {"template": "{t}{id}"}}}, {"t": None}, "missing_uid", None),
    ({"fields": {"uid": {"coalesce": ["t", "s"]}}}, {"t": None}, "missing_uid", None),
    ({"kind": "events", "fields": {"name": "t"}}, {"t": ""}, "missing_name", "t"),
    ({"kind": "events", "fields": {"name": "t"}}, {"t": "n" * 251}, "name_too_long", "t"),
    ({"kind": "events", "fields": {"name": "id", "timestamp": "t"}}, {"t": "noon"}, "invalid_timestamp", "t"),
    (
        {"kind": "events", "fields": {"name": "id", "timestamp": {"column": "t", "format": "%d.%m.%Y"}}},
        {"t": "2026-01-05"},
        "invalid_timestamp",
        "t",
    ),
    ({"kind": "user_deletions", "fields": {"uid": "t"}}, {"t": None}, "missing_uid", "t"),
    ({"kind": "request", "method": "POST", "path": "/v2/{t}"}, {"t": ""}, "missing_path_value", "t"),
]


@pytest.mark.parametrize("path", [{}, SLOW], ids=["fast", "slow"])
def test_a_reject_names_its_column(run_target: Run, api: SandboxApi, path: dict[str, Any]) -> None:
    columns = {"id": "integer", "t": "string", "s": "string"}
    columns |= {"a": {"type": ["null", "object"], "properties": {"b": {"type": ["null", "string"]}}}}
    streams, lines = {}, []
    for number, (mapping, row, _, _) in enumerate(REJECTED):
        streams[f"s{number}"] = {"kind": "users"} | mapping
        lines += [schema(f"s{number}", columns), record(f"s{number}", **({"id": 1} | row))]
    done = run_target([*lines, state(n=1)], api_url=api.url, streams=streams, **path)
    assert done.code == 1
    found = [(reject["stream"], reject["code"], reject.get("column")) for reject in done.rejects]
    assert found == [(f"s{at}", code, column) for at, (_, _, code, column) in enumerate(REJECTED)]


def test_a_column_that_says_deleted_is_no_property(run_target: Run, api: SandboxApi) -> None:
    columns = {"id": "integer", "gone": "boolean", "plan": "string"}
    people: dict[str, Any] = {"kind": "users", "soft_delete": {"column": "gone"}}
    there = [schema("people", columns, ["id"]), *(record("people", id=n, gone=n == 3) for n in range(1, 4))]
    done = run_target([*there, state(n=1)], api_url=api.url, streams={"people": people})
    assert done.code == 0, done.stderr
    assert "soft_delete has no effect while hard_delete is false" in done.stderr
    assert [api.user(str(number))["properties"] for number in (1, 2, 3)] == [{}, {}, {}]
    named = {"people": people | {"properties": ["gone"]}}
    later = [there[0], record("people", id=1, gone=None), record("people", id=2, gone=True)]
    later.append(record("people", id=3, gone=False))
    done = run_target([*later, state(n=2)], api_url=api.url, streams=named, hard_delete=True)
    assert done.code == 0, done.stderr
    left = {user["uid"]: user for user in api.get("/v2/users")["results"] if not user["is_being_deleted"]}
    assert sorted(left) == ["1", "3"]
    assert left["3"]["properties"] == {"gone": False}


def test_a_mistake_in_a_transform_ends_the_run_at_its_start(tmp_path: Path, config: dict[str, Any]) -> None:
    for fields, told in (
        ({"uid": {"column": "id", "as": "string"}}, "streams.people.fields.uid.as: 'string' is no type"),
        ({"uid": {"column": "id", "timezone": "Europe/Berln"}}, "did you mean 'Europe/Berlin'?"),
    ):
        streams = {"people": {"kind": "users", "fields": fields}}
        check_refused(command(tmp_path, config | {"streams": streams}, "preview"), told)


def test_meltano_splits_names_at_their_dots(run_target: Run, api: SandboxApi) -> None:
    """A source within is no part of a name."""
    columns = {"id": "integer", "tier": "number", "who": "string"}
    orders = {
        "kind": "events",
        "fields": {"name": {"const": "n"}, "user": {"uid": {"column": "who", "lower": True}}},
        "properties": {"tier": {"column": "tier", "map": {"1": {"5": "half"}}, "default": "none"}},
    }
    lines = [schema("orders", columns), record("orders", id=1, tier=1.5, who="ADA"), state(n=1)]
    done = run_target(lines, api_url=api.url, streams={"orders": orders})
    assert done.code == 0, done.stderr
    (made,) = api.events()
    assert made["properties"] == {"tier": "half"}
    assert made["user"]["uid"] == "ada"
