"""What real taps of many makers print, recorded in `taps`, goes through the target and arrives.

`tests/ecosystem/taps/record.py` makes the recordings; docs/taps.md lists them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, SandboxApi, record, schema
from tests.ecosystem.project import ROOT
from tests.ecosystem.taps.known import DIRECTORY, TAPS

USERS = {"kind": "users", "fields": {"uid": "id", "display_name": "name"}}
EVENTS = {"kind": "events", "fields": {"name": "kind", "timestamp": "happened_at", "user.uid": "user_id"}}


@dataclass(frozen=True)
class Case:
    """A recording, a mapping, and what Fullstory has to hold."""

    tap: str
    streams: dict[str, Any]
    received: dict[str, int]
    user: dict[str, Any] = field(default_factory=dict)
    """The fields and some properties of one user."""
    types: dict[str, str] = field(default_factory=dict)
    """The types of some of its properties."""
    event: dict[str, Any] = field(default_factory=dict)
    """The parts of one event, and some of its properties."""
    warnings: tuple[str, ...] = ()
    """What each warning has to match; each has to be told."""
    settings: dict[str, Any] = field(default_factory=dict)
    stated: bool = True
    """Whether the tap sends a STATE."""


CASES = [
    Case(
        "meltanolabs-tap-postgres",
        {"*users": USERS, "*events": EVENTS},
        {"public-users": 6, "public-events": 18},
        user={
            "uid": "2",
            "display_name": "Name 2",
            "points": 9007199254740002,
            "balance": 19.5,
            "score": 0.25,
            "born_on": "1970-02-02",
            "last_seen": "2026-01-01T14:00:00.250000+00:00",
            "address": {"geo": {"lat": 0.5}, "city": "Town 2"},
            "labels": '[{"k":1},{"k":2}]',
            "tags": ["vip", 'grüß, "dich" {\\}'],
            "sizes": [2.25, 1.5],
            "plan": "business",
            "photo": "00000002",
        },
        types={"points": "int", "born_on": "date", "last_seen": "date", "sizes": "reals"},
        event={"name": "Ordered", "user": "1", "timestamp": "2026-03-02T00:02:00.500000+00:00", "id": 2}
        | {"amount": 2.2, "payload": {"term": "t2"}},
        # With `json_as_object`, this tap calls every jsonb column an object, arrays too.
        settings={"validate_records": False},
    ),
    Case(
        "pipelinewise-tap-postgres",
        {"*users": USERS, "*events": EVENTS},
        {"public-users": 6, "public-events": 18},
        user={
            "uid": "2",
            "points": 9007199254740002,
            "balance": 19.5,
            "score": 0.25,
            "born_on": "1970-02-02T00:00:00+00:00",
            "labels": '[{"k":1},{"k":2}]',
            "tags": ["vip", 'grüß, "dich" {\\}'],
            "sizes": [2.25, 1.5],
        },
        types={"points": "int", "born_on": "date", "tags": "strs", "balance": "real"},
        event={"name": "Searched", "user": "1", "id": 1, "payload": ["a", 1]},
        warnings=(r"public-events.*amount", r"public-users.*(balance|score|sizes)"),
    ),
    Case(
        "tap-mysql",
        {"users": USERS, "events": EVENTS},
        {"users": 6, "events": 12},
        user={
            "uid": "1",
            "email": "u1@example.com",
            "display_name": "Zoë 1",
            "balance": -0.75,
            "points": 9007199254740001,
            "is_active": True,
            "address": '{"city": "Town 1"}',
            "born_on": "1970-02-01T00:00:00.000000Z",
        },
        types={"points": "int", "balance": "real", "flag": "bool", "seen_at": "date"},
        event={"name": "Ordered", "user": "1", "timestamp": "2026-03-02T00:02:00.000000Z", "amount": 2.25},
    ),
    Case(
        "pipelinewise-tap-mysql",
        {"*users": USERS, "*events": EVENTS},
        {"shop-users": 6, "shop-events": 12},
        # `time` without a leading zero, under the format "time"; bytes under the format "binary".
        user={"uid": "1", "wakes_at": "6:30:01", "photo": "00FF", "plan": "free", "ratio": 0.333333333},
        types={"points": "int", "updated_at": "date", "wakes_at": "str"},
        event={"name": "Ordered", "user": "1", "amount": 2.25},
    ),
    Case(
        "tap-gitlab",
        {
            "users": USERS,
            "issues": {
                "kind": "events",
                "fields": {
                    "name": {"const": "Issue Opened"},
                    "timestamp": "created_at",
                    "user.uid": "author.id",
                },
            },
        },
        {"users": 3, "issues": 3, "projects": 1},
        user={"uid": "2", "display_name": "Zoë 2", "project_id": 7, "locked": True},
        event={
            "name": "Issue Opened",
            "timestamp": "2026-03-01T08:00:00.125000Z",
            "user": "1",
            "labels": ["bug", "größer"],
            "description": 'It says "no"\nand stops.',
        },
        settings={"unmapped_streams": "ignore"},
    ),
    Case(
        "tap-rest-api",
        {
            "contacts": {
                "kind": "users",
                "fields": {"uid": "id", "display_name": {"template": "{name.first} {name.last}"}},
                "exclude": ["name"],
            }
        },
        {"contacts": 4},
        user={
            "uid": "c-2",
            "email": "c2@example.com",
            "display_name": "Ada O'Hara 2",
            "score": 3,
            "visits": 2,
            "vip": True,
            "tags": ["a", "b"],
            "orders": '[{"sku":"S2","price":9.99}]',
            "updated_at": "2026-03-02T09:00:00Z",
        },
        types={"score": "real", "visits": "int", "updated_at": "date"},
    ),
    Case(
        "tap-rest-api-msdk",
        {"contacts": {"kind": "users", "fields": {"uid": "id", "display_name": "name_last"}}},
        {"contacts": 4},
        user={"uid": "c-3", "display_name": "O'Hara 3", "score": 4.5, "tags": "[]", "visits": 3},
        types={"visits": "int", "updated_at": "str"},
    ),
    Case(
        "tap-dbf",
        {"members": {"kind": "users", "fields": {"uid": "ID", "email": "EMAIL"}}},
        {"members": 3},
        user={"uid": "1", "email": "u1@example.com", "PAID": 12.5, "VIP": True},
        types={"PAID": "real", "VIP": "bool"},
    ),
    Case(
        "tap-jsonl",
        {"log": {"kind": "events", "fields": {"name": "what", "timestamp": "at", "user.uid": "who"}}},
        {"log": 3},
        event={"name": "Größe gewählt", "timestamp": "2026-03-01T10:01:00Z", "user": "u1", "ms": 7},
    ),
    Case(
        "tap-spreadsheets",
        {
            "crm": {
                "kind": "users",
                "fields": {"uid": "customer_id", "email": "e_mail", "display_name": "full_name"},
            }
        },
        {"crm": 3},
        user={
            "uid": "1",
            "email": "u1@example.com",
            "display_name": "O'Hara, Zoë",
            "seats": "3",
            "monthly_fee": "12.50",
            "trial": "true",
        },
    ),
    Case(
        "tap-feed",
        {
            "feed": {
                "kind": "events",
                "fields": {
                    "name": {"const": "Note Published"},
                    "timestamp": "entry_published",
                    "user.uid": "entry_author",
                },
            }
        },
        {"feed": 2},
        event={
            "name": "Note Published",
            "timestamp": "2026-03-02T09:30:00+01:00",
            "user": "u1@example.com",
            "entry_title": "Dark mode & more",
        },
    ),
    Case(
        "tap-dimdate",
        {"calendar": {"kind": "events", "fields": {"name": "weekday_name", "timestamp": "date"}}},
        {"calendar": 4},
        event={"name": "Saturday", "timestamp": "2026-02-28T00:00:00Z", "date_key": 20260228},
    ),
    Case(
        "tap-test-data-generator",
        {"people": {"kind": "users"}},
        {"people": 6},
        user={
            "uid": "f66ff20d-c74a-4dd6-80af-ad121310b0de",
            "email": "timothy58@example.com",
            "last_name": "Morales",
            "price": 80.22,
            "hour": "12:45:23 PM",
            "size": {"width": 4821165731},
        },
        types={"id": "int", "born_on": "date", "tags": "strs"},
        stated=False,
    ),
    Case(
        "plinxore-tap-diffgen",
        {"members": {"kind": "users", "properties": ["seats", "paid", "since"]}},
        {"members": 3},
        user={"uid": "1", "email": "m1@example.com", "seats": 3, "paid": "10.50", "since": "2026-01-31"},
        types={"seats": "int", "since": "date"},
    ),
]


def lines_of(tap: str) -> list[str]:
    """The recording; files that it names are those beside it."""
    text = (DIRECTORY / f"{tap}.jsonl").read_text(encoding="utf-8")
    return text.replace("file:///data/", f"{DIRECTORY.as_uri()}/").splitlines()


def warnings_in(outcome: Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if re.search(r"\| WARNING", line)]


def part(whole: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """As much of a user or an event as is asked for, its properties beside its fields."""
    flat = {**whole["properties"], **whole}
    flat["user"] = whole.get("user", {}).get("uid")
    return {name: flat.get(name) for name in named}


def last_state(tap: str) -> Any:
    """The value of the last STATE in the recording."""
    *_, last = (line for line in lines_of(tap) if re.match(r'\{"type": ?"STATE"', line))
    return json.loads(last)["value"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tap)
def test_all_arrives(case: Case, run_target: Callable[..., Outcome], api: SandboxApi) -> None:
    settings = {"api_url": api.url, "streams": case.streams} | case.settings
    outcome = run_target(lines_of(case.tap), **settings)
    assert outcome.code == 0, outcome.stderr
    told = warnings_in(outcome)
    for pattern in case.warnings:
        assert [line for line in told if re.search(pattern, line)], f"no warning {pattern}: {told}"
    assert not [line for line in told if not any(re.search(p, line) for p in case.warnings)]
    kinds = {stream: counts["kind"] for stream, counts in outcome.report["streams"].items()}
    assert outcome.rejects == []
    for stream, counts in outcome.report["streams"].items():
        end = "ignored" if kinds[stream] == "ignored" else "delivered"
        assert counts["received"] == counts[end] == case.received[stream], counts
        assert counts["dropped_properties"] == {}
    assert kinds.keys() == case.received.keys()
    if case.stated:
        # Whatever bookmarks the tap has come back as they were.
        assert outcome.states[-1] == last_state(case.tap) | {"target_fullstory": outcome.block}
    else:
        assert outcome.states == []
    users = [n for stream, n in case.received.items() if kinds[stream] == "users"]
    events = [n for stream, n in case.received.items() if kinds[stream] == "events"]
    assert len(api.get("/v2/users")["results"]) == sum(users)
    assert len(api.events()) == sum(events)
    if case.user:
        user = api.user(case.user["uid"])
        assert part(user, case.user) == case.user
        declared = user["schema"]["properties"]
        assert {name: declared.get(name) for name in case.types} == case.types
    if case.event:
        assert case.event in [part(event, case.event) for event in api.events()]


def test_deletions_of_an_audit_log(
    run_target: Callable[..., Outcome], api: SandboxApi, sandbox: Sandbox
) -> None:
    """A tap that marks what is deleted in a way of its own: a stream map makes it the common one."""
    before = [schema("members", {"id": "integer"}, ["id"]), record("members", id=3)]
    members = {"api_url": sandbox.url, "streams": {"members": {"kind": "users"}}}
    assert run_target(before, **members).code == 0
    (there,) = api.get("/v2/users")["results"]
    assert there["uid"] == "3"
    deleted = {"_sdc_deleted_at": "_sdc_diffgen_ts_created if is_deleted else None"}
    outcome = run_target(
        lines_of("plinxore-tap-diffgen"), **members, stream_maps={"members": deleted}, hard_delete=True
    )
    assert outcome.code == 0, outcome.stderr
    left = [user["uid"] for user in api.get("/v2/users")["results"] if not user["is_being_deleted"]]
    assert sorted(left) == ["1", "2"]


def test_a_column_that_says_deleted(run_target: Callable[..., Outcome], api: SandboxApi) -> None:
    """`false` in that column is no deletion."""
    members = {"kind": "users", "soft_delete": {"column": "is_deleted"}}
    before = [schema("members", {"id": "integer"}, ["id"]), record("members", id=3)]
    assert run_target(before, api_url=api.url, streams={"members": {"kind": "users"}}).code == 0
    outcome = run_target(
        lines_of("plinxore-tap-diffgen"), api_url=api.url, streams={"members": members}, hard_delete=True
    )
    assert outcome.code == 0, outcome.stderr
    left = [user for user in api.get("/v2/users")["results"] if not user["is_being_deleted"]]
    assert sorted(user["uid"] for user in left) == ["1", "2"]
    assert "is_deleted" not in left[0]["properties"]


def test_arrays_in_a_column_of_objects_are_rejected_by_name(
    run_target: Callable[..., Outcome], api: SandboxApi
) -> None:
    streams = {"*users": USERS, "*events": EVENTS}
    outcome = run_target(lines_of("meltanolabs-tap-postgres"), api_url=api.url, streams=streams)
    assert outcome.code == 1
    assert len(outcome.rejects) == 8
    for reject in outcome.rejects:
        assert reject["code"] == "schema_violation"
        column = {"public-users": "labels", "public-events": "payload"}[reject["stream"]]
        assert reject["message"].startswith(f"column {column}: ")
        assert "[" not in reject["message"]


def test_times_with_a_space_are_sent_with_a_t(run_target: Callable[..., Outcome], api: SandboxApi) -> None:
    feed = {
        "kind": "events",
        "fields": {"name": {"const": "Note"}, "timestamp": "entry_published"},
        "properties": {"published": "entry_published"},
    }
    outcome = run_target(lines_of("tap-feed"), api_url=api.url, streams={"feed": feed})
    assert outcome.code == 0, outcome.stderr
    published = {event["properties"]["published"] for event in api.events()}
    assert "2026-03-02T09:30:00+01:00" in published
    assert all("T" in moment for moment in published)


SLOPPY: dict[str, Any] = {
    "draft_4_bound": {"type": "number", "maximum": 9, "exclusiveMaximum": True},
    "draft_3_required": {"type": "string", "required": True},
    "draft_4_tuple": {"type": "array", "items": [{"type": "string"}], "additionalItems": False},
    "id_of_a_place": {"$id": "#/properties/id_of_a_place", "type": "integer"},
    "type_twice": {"type": ["null", "string", "null"]},
    "type_in_a_type": {"type": ["string", {"type": "null"}]},
    "type_any": {"type": "any"},
    "type_of_a_database": {"type": ["null", "datetime"]},
    "no_schema": None,
    "null_enum": {"type": "string", "enum": None},
    "text_for_a_length": {"type": "string", "maxLength": "40"},
    "negative_length": {"type": "string", "maxLength": -1},
    "lost_definition": {"$ref": "#/definitions/lost"},
    "lost_file": {"$ref": "user"},
}
"""A column for each mistake that SCHEMAs of taps have; `lost_file` beside a column called `pattern`."""


def test_sloppy_schemas_are_repaired(run_target: Callable[..., Outcome], api: SandboxApi) -> None:
    """One warning each, which names the stream and the column."""
    values = {"draft_4_bound": 8.5, "draft_4_tuple": ["a"], "id_of_a_place": 7}
    lines = []
    for number, (name, column) in enumerate(SLOPPY.items()):
        columns = {"uid": {"type": "string"}, "pattern": {"type": "string"}, name: column}
        sent = {"type": "object", "properties": columns}
        message = {"type": "SCHEMA", "stream": f"s{number}", "schema": sent}
        lines.append(json.dumps(message | {"key_properties": ["uid"]}))
        lines.append(record(f"s{number}", **{"uid": name, name: values.get(name, "x")}))
    outcome = run_target(lines, api_url=api.url, streams={"s*": {"kind": "users"}})
    assert outcome.code == 0, outcome.stderr
    told = warnings_in(outcome)
    assert len(told) == len(SLOPPY)
    for number, name in enumerate(SLOPPY):
        assert [ln for ln in told if re.search(rf"\bs{number}\b.*\b{name}\b", ln)], told
        assert api.user(name)["properties"] == {name: values.get(name, "x")}
    assert api.user("id_of_a_place")["schema"]["properties"]["id_of_a_place"] == "int"


def test_every_tap_has_a_recording_and_a_case() -> None:
    recorded = {path.stem for path in DIRECTORY.glob("*.jsonl")}
    assert recorded == set(TAPS) == {case.tap for case in CASES}


def test_docs_list_every_tap() -> None:
    page = (ROOT / "docs/taps.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w.]+) \| ([^|]+?) \|", page, re.MULTILINE)
    assert sorted(rows) == sorted((tap.package, tap.version, tap.maker) for tap in TAPS.values())
