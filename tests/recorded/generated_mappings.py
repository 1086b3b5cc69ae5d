"""Generated mappings, of all kinds and forms, for a given SCHEMA."""

from __future__ import annotations

from typing import Any

from tests.recorded.case import Dice, Json
from tests.recorded.generated_schemas import only_type, paths

_NAMES = ("plan", "Plan name", "total", "a", "b", "when", "x y", "owner", "2nd", "Größe", "deep")
_CONTEXT: dict[str, Any] = {
    "context.browser.url": "https://x.example/",
    "context.browser.user_agent": "ua",
    "context.mobile.app_name": "shop",
    "context.device.model": "M",
    "context.device.screen_width": 1200,
    "context.device.viewport_height": 800,
    "context.location.country": "DE",
    "context.location.city": "Köln",
    "context.location.latitude": 50.9,
    "context.location.ip_address": "::1",
}
_TYPES = {"string": "str", "integer": "int", "number": "real", "boolean": "bool", "date": "date"}


def mapping(dice: Dice, kind: str, schema: Json) -> Json:
    """A mapping that the SCHEMA allows."""
    known = paths(schema)
    if kind == "json users":
        return {"kind": "users", "json": _user_template(dice, known)}
    if kind == "json events":
        return {"kind": "events", "json": _event_template(dice, known)}
    if kind == "users":
        return {"kind": kind, "fields": _user(dice, known)} | _properties(dice, known)
    if kind == "events":
        return {"kind": kind, "fields": _event(dice, schema, known)} | _properties(dice, known)
    if kind == "user_deletions":
        source = {"uid": _source(dice, known)} if dice.chance(70) else {"id": dice.pick([*known])}
        return {"kind": kind, "fields": source if dice.chance(80) else {}}
    if kind == "webhook_endpoints":
        return {"kind": kind, "fields": _endpoint(dice, known)}
    return {"kind": "request"} | _request(dice, known)


def _source(dice: Dice, known: Json, constant: Any = "constant") -> Any:
    roll = dice.below(100)
    if roll < 60:
        return dice.pick([*known])
    if roll < 75:
        return {"const": constant}
    texts = ["", "u_", " ", "{{", "é"]
    parts = [f"{dice.pick(texts)}{{{path}}}" for path in dice.some(known, 3) or [*known][:1]]
    return {"template": "".join(parts)}


def _user(dice: Dice, known: Json) -> Json:
    fields: Json = {}
    roll = dice.below(100)
    if roll < 40:
        fields["uid"] = "id"
    elif roll < 70:
        fields["uid"] = _source(dice, known)
    elif roll < 78:
        fields["id"] = "id"
    for name in dice.some(["email", "display_name"], 2):
        fields[name] = _source(dice, known)
    return fields


def _event(dice: Dice, schema: Json, known: Json) -> Json:
    fields: Json = {"name": {"const": "Done"} if dice.chance(60) else _source(dice, known)}
    moments = [path for path, inner in known.items() if only_type(inner) == "date"]
    if dice.chance(80):
        fields["timestamp"] = dice.pick(moments) if moments else dice.pick([*known])
    objects = [name for name, inner in schema["properties"].items() if only_type(inner) == "object"]
    for group in ("user", "session", "context"):
        if objects and dice.chance(12):
            fields[group] = dice.pick(objects)
    if "user" not in fields:
        for name in dice.some(["user.uid", "user.id"], 2):
            fields[name] = _source(dice, known)
    if "session" not in fields and dice.chance(30):
        name = dice.pick(["session.id", "session.uid", "session.use_most_recent"])
        fields[name] = dice.pick([*known]) if dice.chance(70) else {"const": True}
    if "context" not in fields:
        for name in dice.some(_CONTEXT, 3):
            fields[name] = dice.pick([*known]) if dice.chance(70) else {"const": _CONTEXT[name]}
    return fields


def _properties(dice: Dice, known: Json) -> Json:
    roll = dice.below(100)
    if roll < 40:
        return {}
    if roll < 60:
        return {"exclude": dice.some(known, 3)}
    if roll < 80:
        chosen = dice.some(known, 6)
        excluded = [path for path in dice.some(known, 2) if path not in chosen]
        return {"properties": chosen, "exclude": excluded}
    return {"properties": {name: dice.pick([*known]) for name in dice.some(_NAMES, 5)}}


# The json form


def _user_template(dice: Dice, known: Json) -> Json:
    template: Json = {"uid": ["concat", "u_", ["var", "id"]] if dice.chance(70) else ["var", "id"]}
    for name in dice.some(["email", "display_name"], 2):
        template[name] = _text(dice, known)
    return template | _template_properties(dice, known)


def _event_template(dice: Dice, known: Json) -> Json:
    template: Json = {"name": "Done" if dice.chance(50) else _text(dice, known)}
    if dice.chance(80):
        moment = ["var", dice.pick([*known])]
        template["timestamp"] = moment if dice.chance(60) else ["toUnixTimestamp", moment]
    if dice.chance(60):
        template["user"] = {dice.pick(["uid", "id"]): ["var", dice.pick([*known])]}
    if dice.chance(30):
        template["session"] = {"id": ["concat", ["var", "id"], ":", ["var", dice.pick([*known])]]}
    for name in dice.some(_CONTEXT, 2):
        value = _text(dice, known) if isinstance(_CONTEXT[name], str) else ["var", dice.pick([*known])]
        _, group, field = name.split(".")
        template.setdefault("context", {}).setdefault(group, {})[field] = value
    return template | _template_properties(dice, known)


def _text(dice: Dice, known: Json) -> Any:
    if dice.chance(50):
        return ["var", dice.pick([*known])]
    return ["concat", *(_part(dice, known) for _ in range(1 + dice.below(3))), "."]


def _part(dice: Dice, known: Json) -> Any:
    return dice.pick(["a", " ", 5, 2.5, True, ["var", dice.pick([*known])], ["var", "id"]])


def _template_properties(dice: Dice, known: Json) -> Json:
    if dice.chance(10):
        objects = [path for path, inner in known.items() if only_type(inner) == "object"]
        return {"properties": ["var", dice.pick(objects)]} if objects else {}
    properties = {name: _template(dice, known, 0) for name in dice.some(_NAMES, 7)}
    declared: Json = {}
    for name, path in zip(("typed 1", "typed 2"), dice.some(known, 2), strict=False):
        kind = _TYPES.get(only_type(known[path]) or "")
        properties[name] = ["var", path]
        # A path with dots may stand for two columns, of which one is known here.
        if kind is not None and "." not in path:
            declared[name] = kind
    return {"properties": properties} | ({"schema": {"properties": declared}} if declared else {})


def _template(dice: Dice, known: Json, depth: int) -> Any:
    roll = dice.below(100)
    if roll < 40:
        return ["var", dice.pick([*known])]
    if roll < 52:
        return _text(dice, known)
    if roll < 62:
        return dice.pick(["literal", 5, 5.5, True, None, [1, 2], ["a", "b"], "2026-01-05", {}])
    if roll < 72 or depth > 2:
        return ["toUnixTimestamp", dice.pick([["var", dice.pick([*known])], "2026-01-05", 5])]
    if roll < 86:
        return ["list", *(_template(dice, known, depth + 1) for _ in range(dice.below(4)))]
    return {name: _template(dice, known, depth + 1) for name in dice.some(_NAMES, 4)}


# Calls


def _endpoint(dice: Dice, known: Json) -> Json:
    fields: Json = {"action": {"const": dice.pick(["create", "update", "delete"])}}
    if dice.chance(80):
        fields["id"] = "id"
    for name in dice.some(["url", "secret"], 2):
        fields[name] = _source(dice, known)
    if dice.chance(50):
        fields["event_types"] = {"const": ["note.created", {"event_name": "a", "subcategory": "b"}]}
    if dice.chance(40):
        fields["disabled"] = {"const": True} if dice.chance(50) else dice.pick([*known])
    return fields


def _request(dice: Dice, known: Json) -> Json:
    method = dice.pick(["POST", "POST", "PUT", "PATCH", "DELETE", "GET"])
    found: Json = {"method": method, "path": f"/v2/things/{{{dice.pick([*known])}}}"}
    if dice.chance(50):
        found["path"] = "/v2/things"
    if dice.chance(15):
        found["path"] += "?flag={id}"
    if method == "GET":
        return found
    roll = dice.below(100)
    if roll < 20:
        found["properties"] = dice.some([path for path in known if "." not in path], 4) or ["id"]
    elif roll < 40:
        names = ("p.plan", "p.x y", "q", "r.s.t", "é")
        found["properties"] = {name: dice.pick([*known]) for name in dice.some(names, 4)}
    elif roll < 60:
        found["json"] = {name: _template(dice, known, 0) for name in dice.some(_NAMES, 4)}
    else:
        found["exclude"] = dice.some(known, 2)
    if dice.chance(35):
        found["batch"] = {"size": dice.pick([1, 4, 100]), "key": dice.pick(["requests", "items"])}
        if dice.chance(50):
            found["batch"]["group_by"] = dice.pick([*known])
    return found
