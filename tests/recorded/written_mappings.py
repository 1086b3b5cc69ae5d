"""What docs/mapping.md tells of streams and fields, row by row, and its edges."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Case, Json, both_paths, numbered, state, table
from tests.recorded.values import MOMENTS, TEXTS, VALUES

EVENT = {"const": "Done"}


def cases() -> list[Case]:
    """All of them."""
    return [*_users(), *_events(), *_timestamps(), *_streams()]


def _users() -> list[Case]:
    ids: list[Any] = [7, 7.0, "7", " 7 ", True, 1e20, 1.5, 2**63, 10**30, "", None, [7], {"a": 7}]
    ids += ["x" * 256, "x" * 257, "ä" * 256, "ä" * 257, "\ud800", "a/b", "..", float("nan"), 0, -0.0]
    columns = {"id": "any", "region": "any", "contact": "any", "email": "any", "display_name": "any"}
    contacts: list[Any] = [
        {"email": "ada@example.com", "phones": ["1", "2"]},
        {"email": "a" * 120 + "@example.com", "phones": []},
        {"email": "a" * 116 + "@example.com", "phones": [None, 3]},
        {"email": 5, "phones": "12"},
        None,
        "text",
        {"email": None, "phones": {"0": "zero"}},
    ]
    rows = [
        {
            "id": one,
            "region": ids[at - 1],
            "contact": contacts[at % len(contacts)],
            "email": f"{at}@example.com" if at % 3 else "e" * (126 + at % 5),
            "display_name": "N" * (254 + at % 4) if at % 2 else TEXTS[at % len(TEXTS)],
        }
        for at, one in enumerate(ids)
    ]
    mapped = {
        "uid": {"template": "{region}:{id}"},
        "email": "contact.email",
        "display_name": {"template": "{{{id}}} {contact.phones.0}"},
    }
    made = []
    for name, fields in {
        "defaults": {},
        "templates": mapped,
        "paths": {"uid": "contact.phones.1", "display_name": "contact.phones.0"},
        "own ids": {"id": "id"},
        "own ids and uids": {"id": "id", "uid": "region"},
        "constants": {"uid": {"const": "everybody"}, "display_name": {"const": "Ünï"}},
    }.items():
        lines = table("people", columns, rows, ["id"])
        made += both_paths(f"mapping/user, {name}", {"people": {"kind": "users", "fields": fields}}, lines)
    typed = {"uid": "string!", "id": "integer", "email": "string", "seats": "integer"}
    known = [{"uid": f"u{at}", "id": at, "email": None, "seats": at} for at in range(6)]
    by_uid = both_paths("mapping/user, column uid", {}, table("users", typed, known, ["id"]))
    unkeyed = both_paths("mapping/user, no key", {}, table("users", typed, known, []))
    two = both_paths("mapping/user, two keys", {}, table("users", typed, known, ["uid", "id"]))
    merges = [
        {"id": number % 4, "plan": plan, "nested": nested, "email": email}
        for number, (plan, nested, email) in enumerate(
            [
                ("a", {"x": 1}, "1@e"),
                (None, {"y": 2}, None),
                ("c", None, "3@e"),
                ("d", {"x": None}, ""),
                ("e", {"z": {"q": 1}}, "5@e"),
                ("", {}, "6@e"),
                ("g", {"y": 3}, None),
                ("h", "text", "8@e"),
                ("i", {"z": {"r": 1}}, "9@e"),
            ]
        )
    ]
    merged = table("users", {"id": "integer", "plan": "string", "nested": "any"}, merges)
    return [*made, *by_uid, *unkeyed, *two, *both_paths("mapping/user, merged", {}, merged)]


_CLIENT: Json = {
    "browser": {"url": "https://x.example/", "user_agent": "ua", "initial_referrer": "r", "more": 1},
    "mobile": {"app_id": "a", "app_version": 1.0, "app_name": "", "build_variant": None},
    "device": {
        "manufacturer": "m",
        "model": "x" * 300,
        "screen_width": 100,
        "screen_height": 100.0,
        "viewport_width": "200",
        "viewport_height": 2**31,
    },
    "location": {
        "country": "DE",
        "region": "BE",
        "city": "Köln",
        "latitude": 50.1,
        "longitude": "6.9",
        "ip_address": "::1",
        "planet": "Earth",
    },
    "other": {"a": 1},
}


def _events() -> list[Case]:
    whole: list[Any] = [
        _CLIENT,
        {"browser": None, "device": {"screen_width": 1.5}},
        {"location": {"latitude": float("nan"), "longitude": True, "city": ["x"]}},
        {},
        None,
        "text",
        {"browser": "text", "mobile": {"app_id": 5}},
        {"browser": {"url": "u"}},
        {"device": {"screen_width": -1, "screen_height": "1e2", "viewport_width": ""}},
    ]
    people: list[Any] = [{"uid": "u"}, {"id": 9}, {"uid": "", "id": "i"}, {"uid": None}, None, 5]
    people += [{"uid": "u" * 257}, {"uid": 7.0, "id": 8, "name": "N"}, {"id": "x/y"}]
    sessions: list[Any] = [None, {"id": "a:b"}, {"use_most_recent": True}, {"uid": "s"}, {}, "a:b"]
    sessions += [{"id": "", "use_most_recent": "true"}, {"id": 5, "more": 1}]
    rows = numbered(
        {
            "name": ["Ordered", "n" * 250, "n" * 251, "", None, 5, "Ö"][at % 7],
            "timestamp": f"2026-01-01T00:00:{at:02}Z" if at % 5 else None,
            "user": people[at % len(people)],
            "session": sessions[at % len(sessions)],
            "context": whole[at % len(whole)],
            "amount": at / 2,
        }
        for at in range(50)
    )
    open_columns = {"id": "integer", "name": "any", "timestamp": "any", "amount": "number"}
    objects: Json = dict.fromkeys(("user", "session", "context"), "any")
    typed: Json = {
        "user": {"type": ["null", "object"], "properties": {"uid": {"type": ["string", "null"]}}},
        "session": {"type": "object", "properties": {"id": column_or_null("string")}},
        "context": {
            "type": ["null", "object"],
            "properties": {
                "browser": {
                    "type": ["null", "object"],
                    "properties": {"url": column_or_null("string"), "more": {"type": "integer"}},
                },
                "device": {
                    "type": ["null", "object"],
                    "properties": {
                        "model": column_or_null("string"),
                        "screen_width": column_or_null("integer"),
                    },
                },
                "location": {
                    "type": ["null", "object"],
                    "properties": {"city": column_or_null("string"), "latitude": column_or_null("number")},
                },
            },
        },
    }
    fast_rows = numbered(
        {
            "name": "Ordered",
            "timestamp": "2026-01-01T00:00:00Z",
            "user": {"uid": f"u{at}"} if at % 4 else None,
            "session": {"id": "a:b"} if not at % 3 else {},
            "context": [
                {"browser": {"url": "u"}, "device": {"model": "m", "screen_width": at}},
                {"location": {"city": "Köln", "latitude": 1.5}},
                {"browser": {"more": 5}},
                {"location": {"latitude": 2}, "browser": {"url": "u"}},
                None,
            ][at % 5],
        }
        for at in range(30)
    )
    parts: Json = {
        "name": EVENT,
        "context.browser.url": "page.url",
        "context.browser.user_agent": {"template": "ua/{page.version}"},
        "context.mobile.app_name": {"const": "shop"},
        "context.mobile.app_version": "page.version",
        "context.device.screen_width": "width",
        "context.device.screen_height": {"const": 100},
        "context.location.latitude": "width",
        "context.location.country": "page.country",
        "context.location.ip_address": "ip",
        "user.uid": "who",
        "session.use_most_recent": "online",
    }
    part_rows = numbered(
        {
            "page": {"url": TEXTS[at % len(TEXTS)], "version": VALUES[at % len(VALUES)]},
            "width": VALUES[at % len(VALUES)],
            "ip": TEXTS[-at % len(TEXTS)],
            "who": [f"u{at}", at, None][at % 3],
            "online": [True, "true", "TRUE", "yes", 1, False, None, "false"][at % 8],
        }
        for at in range(max(len(TEXTS), len(VALUES)))
    )
    part_columns: Json = dict.fromkeys(("page", "width", "ip", "who", "online"), "any")
    events = {"events": {"kind": "events"}}
    made = both_paths("mapping/event, whole objects", events, table("events", open_columns | objects, rows))
    made += both_paths(
        "mapping/event, typed objects", events, table("events", open_columns | typed, rows + fast_rows)
    )
    excluded = {"events": {"kind": "events", "exclude": ["context.browser.url", "user", "timestamp"]}}
    made += both_paths(
        "mapping/event, excluded parts", excluded, table("events", open_columns | typed, fast_rows)
    )
    renamed = {
        "visits": {
            "kind": "events",
            "fields": {"name": EVENT, "context": "client", "user": "who", "session": "visit"},
        }
    }
    moved = [
        {"id": row["id"], "client": row["context"], "who": row["user"], "visit": row["session"]}
        for row in rows
    ]
    made += both_paths(
        "mapping/event, objects of other names",
        renamed,
        table("visits", {"id": "integer", "client": "any", "who": "any", "visit": "any"}, moved),
    )
    made += both_paths(
        "mapping/event, parts",
        {"pages": {"kind": "events", "fields": parts}},
        table("pages", {"id": "integer", **part_columns}, part_rows),
    )
    return made


def column_or_null(name: str) -> Json:
    """A column's schema."""
    return {"type": ["null", name]}


def _timestamps() -> list[Case]:
    rows = numbered({"at": moment, "n": at} for at, moment in enumerate(MOMENTS))
    made = []
    for kind in ("any", "date-time", "date", "string", "integer", "number"):
        fields = {"name": EVENT, "timestamp": "at"}
        made += both_paths(
            f"mapping/timestamps in a column of {kind}",
            {"pings": {"kind": "events", "fields": fields}},
            table("pings", {"id": "integer", "at": kind, "n": "integer"}, rows),
            validate_records=False,
        )
    fields = {"name": EVENT, "timestamp": {"template": "{day}T{time}"}}
    rows = [
        {"id": 1, "day": "2026-01-05", "time": "10:11:12"},
        {"id": 2, "day": "2026-01-05", "time": "10:11+01"},
        {"id": 3, "day": "2026-02-30", "time": "10:11"},
        {"id": 4, "day": None, "time": "10:11"},
    ]
    made += both_paths(
        "mapping/timestamps of a template",
        {"pings": {"kind": "events", "fields": fields}},
        table("pings", {"id": "integer", "day": "string", "time": "string"}, rows),
    )
    return made


def _streams() -> list[Case]:
    users = {"kind": "users", "fields": {"uid": "id"}}
    streams: Json = {
        "public-?rders": {"kind": "events", "fields": {"name": {"const": "first"}}},
        "public-*": {"kind": "events", "fields": {"name": {"const": "second"}}},
        "crm_[ab]*": users,
        "public-customers": users,
        "db": {"schema": {"people": users}},
        "*": {"kind": "users", "fields": {"uid": {"template": "rest-{id}"}}},
    }
    names = ["public-orders", "public-customers", "public-logins", "crm_a1", "crm_c", "users"]
    names += ["db.schema.people", "events", "user_deletions"]
    lines = []
    for name in names:
        lines += table(name, {"id": "integer", "name": "string"}, numbered([{"name": "n"}, {}]))
    known = table("users", {"id": "integer"}, numbered([{}, {}]))
    other = table("other", {"id": "integer"}, numbered([{}, {}]))
    cut = [*known, state(1), *other, state(2)]
    return [
        *both_paths("mapping/streams by name and glob", streams, lines),
        *both_paths("mapping/streams ignored", {}, [*known, *other], unmapped_streams="ignore"),
        *both_paths("mapping/streams without a mapping", {}, cut),
    ]
