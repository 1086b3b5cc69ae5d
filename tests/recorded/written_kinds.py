"""What docs/kinds.md tells, row by row, and its edges."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, numbered, record, schema, state, table
from tests.recorded.fullstory import REFUSED, UNKNOWN
from tests.recorded.values import NUMBERS, TEXTS, VALUES

USERS = {"kind": "users", "fields": {"uid": "uid"}}
EVENTS = {"kind": "events", "fields": {"name": {"const": "Done"}, "timestamp": "at", "user.uid": "uid"}}


def cases() -> list[Case]:
    """All of them."""
    return [*_deletions(), *_hard_delete(), *_order(), *_endpoints(), *_requests(), *_shared()]


def _one(name: str, mapping: Any, lines: list[str], **settings: Any) -> Case:
    return Case(f"kinds/{name}", {"streams": {"s": mapping}} | settings, [*lines, state()])


def _deletions() -> list[Case]:
    values: list[Any] = ["u1", "a/b", "a b", "ä", "..", "", None, 7, 7.0, True, [], "x" * 256]
    values += ["x" * 257, "?uid=1&b", REFUSED, UNKNOWN, "u1", "\ud800", 2**70]
    rows = [{"uid": one, "id": values[-at], "n": at} for at, one in enumerate(values)]
    columns = {"uid": "any", "id": "any", "n": "integer"}
    made = []
    for name, fields in {
        "defaults": {},
        "uid": {"uid": "uid"},
        "id": {"id": "id"},
        "both": {"uid": "uid", "id": "id"},
        "template": {"uid": {"template": "user_{uid}"}},
    }.items():
        mapping = {"kind": "user_deletions", "fields": fields}
        made.append(_one(f"deletions, {name}", mapping, table("s", columns, rows)))
    keyed = table("s", {"n": "integer"}, rows[:3], ["n"])
    made.append(_one("deletions, by the key", {"kind": "user_deletions"}, keyed))
    own = table("s", {"id": "string"}, rows, [])
    made.append(_one("deletions, by a column id", {"kind": "user_deletions"}, own))
    by_name = table("user_deletions", columns, rows)
    made.append(Case("kinds/deletions, by name", {"delivery": "batch"}, [*by_name, state()]))
    refused = table("user_deletions", columns, rows[:2])
    made.append(Case("kinds/deletions, not allowed", {}, refused, role="USER"))
    return made


def _hard_delete() -> list[Case]:
    marks: list[Any] = [None, "2026-01-01T00:00:00Z", "", None, 5, False, "gone", [], 0, None]
    rows = [
        {"uid": f"u{at % 6}", "id": at, "n": at, "_sdc_deleted_at": marks[at % len(marks)]}
        for at in range(40)
    ]
    rows += [{"uid": None, "_sdc_deleted_at": "x"}, {"uid": "u9", "n": "bad"}, {"uid": "x" * 257}]
    columns = {"uid": "string", "id": "integer", "n": "integer", "_sdc_deleted_at": "any"}
    made = []
    for delivery in ("single", "batch", "auto"):
        for with_column in (True, False):
            have = columns if with_column else dict(list(columns.items())[:3])
            told = "with" if with_column else "without"
            made.append(
                _one(
                    f"hard_delete, {delivery}, {told} the column",
                    USERS,
                    table("s", have, rows, ["uid"]),
                    delivery=delivery,
                    hard_delete=True,
                )
            )
    lines = table("s", columns, rows, ["uid"])
    made.append(_one("hard_delete, off", USERS, lines))
    by_id = {"kind": "users", "fields": {"id": "id"}}
    made.append(_one("hard_delete, own ids", by_id, lines, hard_delete=True))
    template = {"kind": "users", "json": {"uid": ["concat", "u_", ["var", "uid"]]}}
    made.append(_one("hard_delete, json", template, lines, hard_delete=True))
    made.append(_one("hard_delete, metadata", USERS, lines, hard_delete=True, add_record_metadata=True))
    return made


def _order() -> list[Case]:
    """Users, events, deletions and calls of the same people, in one stream of lines."""
    columns = {"uid": "string", "at": "date-time", "n": "integer", "verb": "string"}
    streams = {
        "users": USERS,
        "more": USERS,
        "events": EVENTS,
        "gone": {"kind": "user_deletions", "fields": {"uid": "uid"}},
        "calls": {"kind": "request", "method": "POST", "path": "/v2/annotations"},
    }
    turns = ["users", "users", "more", "events", "events", "gone", "users", "events", "calls"]
    made = []
    for name, kinds in {
        "users and events": ["users", "more", "events"],
        "users and deletions": ["users", "more", "gone"],
        "events and deletions": ["events", "gone"],
        "users, events and calls": ["users", "events", "calls"],
    }.items():
        lines = [schema(kind, columns, ["uid"]) for kind in kinds]
        taken = [turn for turn in turns * 12 if turn in kinds]
        for number, turn in enumerate(taken):
            row = {"uid": f"u{number * 7 % 11}", "n": number}
            lines.append(record(turn, row | {"at": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"}))
            if number % 17 == 16:
                lines.append(state(number))
        for delivery in ("single", "batch"):
            for wait in (True, False):
                settings = {"streams": streams, "delivery": delivery, "events_wait_for_users": wait}
                waits = "waiting" if wait else "not waiting"
                made.append(Case(f"kinds/{name}, {delivery}, {waits}", settings, [*lines, state(999)]))
    return made


_TYPES: list[Any] = [
    ["note.created", {"event_name": "recording.event.custom", "subcategory": "Order Placed"}],
    '["note.created"]',
    '[{"event_name": "a", "subcategory": null}]',
    "note.created",
    [],
    "[]",
    "",
    None,
    [1],
    [{"name": "x"}],
    [{"event_name": ""}],
    [None, "a"],
    {"event_name": "a"},
    [{"event_name": "a", "more": 1}],
]


def _endpoints() -> list[Case]:
    actions: list[Any] = ["create", "update", "delete", "CREATE", " update ", "drop", None, "", 5]
    ids: list[Any] = ["e-1", 7, "a/b", "..", "", None, "ä b"]
    flags: list[Any] = [True, False, "true", "False", "", None, "maybe", 0, 1, "1"]
    secrets: list[Any] = ["s3cret", "", None, 5, ["a"], "****", "ä\ud800", {"k": "v"}]
    rows = [
        {
            "action": actions[at % 3] if at % 4 else actions[at % len(actions)],
            "id": ids[at // 3 % len(ids)],
            "url": ["https://hooks.example.com/x", None, "", REFUSED][at % 5 % 4],
            "event_types": _TYPES[at % len(_TYPES)] if at % 2 else _TYPES[0],
            "secret": secrets[at // 2 % len(secrets)],
            "disabled": flags[at % len(flags)] if at % 3 else None,
            "more": "not sent",
        }
        for at in range(140)
    ]
    columns = dict.fromkeys(rows[0], "any")
    fixed = {
        "action": {"const": "create"},
        "url": "url",
        "event_types": {"const": _TYPES[0]},
        "secret": {"const": "a constant secret"},
        "disabled": {"const": True},
    }
    json = {
        "action": "update",
        "id": ["var", "id"],
        "url": ["concat", ["var", "url"], "/", ["var", "id"]],
        "event_types": ["list", "note.created", {"event_name": ["var", "action"]}],
        "secret": ["concat", "k-", ["var", "secret"]],
        "disabled": ["var", "disabled"],
    }
    made = []
    for name, mapping in {
        "columns": {},
        "constants": {"fields": fixed},
        "updates": {"fields": {"action": {"const": "update"}}},
        "json": {"json": json},
    }.items():
        lines = table("s", columns, rows, [])
        made.append(_one(f"endpoints, {name}", {"kind": "webhook_endpoints"} | mapping, lines))
    # A secret that is in a record of which the SCHEMA thinks otherwise.
    strict = {"action": "string", "id": "string", "secret": "integer", "url": "string"}
    bad = [{"action": "create", "url": "https://h", "secret": "hush", "id": None}]
    mapping = {"kind": "webhook_endpoints"}
    made.append(_one("endpoints, secret of a reject", mapping, table("s", strict, bad, [])))
    made.append(
        Case(
            "kinds/endpoints, not allowed",
            {"streams": {"s": mapping}},
            table("s", strict, bad, []),
            role="USER",
        )
    )
    return made


_WITH_NULLS = ("all columns", "renamed", "template")


def _requests() -> list[Case]:
    values: list[Any] = [*VALUES, *TEXTS[:24], "..", ".", "a/b", "a?b=c&d", "%2F", "a#b", "ä b"]
    rows = numbered(
        {
            "key": one,
            "plan": values[-at],
            "nested": {"a": [None, {"b": one}], "c": None},
            "verb": ["POST", "put", " patch ", "DELETE", "GET", "HEAD", None, 5][at % 8],
            "target": [
                "/v2/things",
                "/v2/things/1?a=b",
                "v2/things",
                "//evil.example/x",
                "https://evil.example/",
                "/v2/../x",
                "/a\\b",
                "/a#b",
                "/a b",
                "/ä",
                "/redirect",
                f"/{REFUSED}",
                f"/{UNKNOWN}",
                "",
                None,
                "/v2/{key}",
            ][at % 16],
        }
        for at, one in enumerate(values)
    )
    columns = {"id": "integer", "key": "any", "plan": "any", "nested": "any", "verb": "any"}
    columns |= {"target": "any", "_sdc_sequence": "integer"}
    template = {
        "who": ["concat", "u-", ["var", "key"]],
        "all": ["var", "nested"],
        "list": ["list", 1, ["var", "plan"], {"x": ["var", "id"]}],
        "when": ["toUnixTimestamp", ["var", "plan"]],
        "x y": {"deep": ["var", "nested.c"]},
    }
    post = {"method": "POST", "path": "/v2/users/{id}"}
    made = []
    for name, mapping in {
        "all columns": post,
        "path of values": {"method": "put", "path": "/v2/things/{key}/x?flag={plan}"},
        "chosen": post | {"properties": ["plan", "nested.a", "key"]},
        "renamed": post | {"properties": {"p.plan": "plan", "p.x y": "key", "id": "id"}},
        "excluded": post | {"exclude": ["key", "nested.a", "verb", "target"]},
        "template": post | {"json": template},
        "template of a column": post | {"json": ["var", "nested"]},
        "template of a list": post | {"json": ["list", ["var", "key"], 1]},
        "GET": {"method": "GET", "path": "/v2/things?x={key}"},
        "DELETE": {"method": "DELETE", "path": "/v2/things/{key}"},
        "DELETE with a body": {"method": "DELETE", "path": "/v2/{id}", "properties": ["key"]},
        "of the record": {"fields": {"method": "verb", "path": "target"}},
        "method of the record": {"fields": {"method": "verb"}, "path": "/v2/things/{id}"},
        "path of a template": {"fields": {"method": "verb", "path": {"template": "/v2/{key}"}}},
    }.items():
        lines = table("s", columns, rows)
        for nulls in ("omit", "send") if name in _WITH_NULLS else ("omit",):
            full = {"kind": "request"} | mapping
            made.append(_one(f"requests, {name}, {nulls}", full, lines, null_values=nulls))
    renamed = [{"method": row["verb"], "path": row["target"], "n": row["id"]} for row in rows]
    lines = table("s", {"method": "any", "path": "any", "n": "integer"}, renamed, [])
    made.append(_one("requests, by columns' names", {"kind": "request"}, lines))
    numbers = table("s", {"id": "integer", "v": "any"}, numbered({"v": one} for one in NUMBERS))
    made.append(_one("requests, numbers", {"kind": "request"} | post, numbers))
    return made


def _shared() -> list[Case]:
    rows = numbered(
        {
            "team": ["red", "blue", "red", "green", None, 5, ""][at % 7],
            "uid": f"u-{at}" if at != 50 else REFUSED,
            "email": "x" * (at % 50),
            "path": ["/v2/a", "/v2/b"][at // 9 % 2],
        }
        for at in range(120)
    )
    columns = {"id": "integer", "team": "any", "uid": "string", "email": "string", "path": "string"}
    post = {"kind": "request", "method": "POST", "path": "/v2/users/batch", "properties": ["uid", "email"]}
    moving = {"kind": "request", "method": "PUT", "fields": {"path": "path"}}
    made = []
    for name, mapping, settings in (
        ("defaults", post | {"batch": {}}, {}),
        ("by group", post | {"batch": {"size": 10, "key": "items", "group_by": "team"}}, {}),
        ("small", post | {"batch": {"size": 3}}, {"batch_size_rows": 20}),
        ("by bytes", post | {"batch": {"size": 100}}, {"max_batch_bytes": 1024}),
        ("several paths", moving | {"batch": {"size": 20}}, {}),
        ("several paths by group", moving | {"batch": {"size": 20, "group_by": "team"}}, {}),
        ("template", post | {"batch": {"size": 50}, "properties": None, "json": ["var", "uid"]}, {}),
    ):
        lines = table("s", columns, rows)
        for at in (110, 60):
            lines.insert(at, state(at))
        made.append(_one(f"shared requests, {name}", mapping, lines, **settings))
    lines = table("s", columns, rows)
    halved = {"streams": {"s": post | {"batch": {"size": 60, "key": "k"}}}}
    made.append(Case("kinds/shared requests, halved", halved, [*lines, state()], limit=900))
    return made
