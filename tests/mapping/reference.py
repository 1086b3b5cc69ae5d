"""What docs/mapping.md and docs/json-form.md say, as a small and slow mapper of its own.

It is written from those pages, not from the mapper's code, and shares nothing with it. It knows mappings that
are valid: mistakes are left to the mapper.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

ABSENT = object()
"""No value at all, where null is one."""
UNUSABLE = object()
"""A value that is none: no text can be made of it, or no moment."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

USER_FIELDS = {"id": None, "uid": 256, "email": 128, "display_name": 256}
TEXT_FIELDS = {
    "browser": ["url", "user_agent", "initial_referrer"],
    "mobile": ["app_id", "app_version", "app_name", "build_variant"],
    "device": ["manufacturer", "model"],
    "location": ["country", "region", "city", "ip_address"],
}
PIXEL_FIELDS = ["screen_width", "screen_height", "viewport_width", "viewport_height"]
NUMBER_FIELDS = ["latitude", "longitude"]
GROUPS = ("user", "session", "context")


class RejectError(Exception):
    """Carries the code of a rejected record."""


class Reference:
    """Maps records as the pages say."""

    def __init__(self, kind: str, spec: dict[str, Any], schema: Any, keys: list[str], options: Any):
        self.kind, self.spec, self.schema, self.keys = kind, spec, schema, keys
        self.options = options
        self.columns = list((schema or {}).get("properties") or {})
        self.zone = ZoneInfo(spec["timezone"]) if spec.get("timezone") else timezone.utc
        self.undeclared: list[str] = []

    def map(self, record: dict[str, Any]) -> tuple[dict[str, Any] | str, list[str], list[str]]:
        """The request, or the code of the reason why there is none; and the names left out or undeclared."""
        dropped: list[str] = []
        self.undeclared = []
        try:
            fields = self.user(record, dropped) if self.kind == "users" else self.event(record, dropped)
            made = fields | self.properties(record, dropped)
            return made, sorted(set(dropped)), sorted(self.undeclared)
        except RejectError as reject:
            return str(reject), [], []

    # Sources

    def sources(self) -> dict[str, Any]:
        """By Fullstory's field, its source as written; an object column for a group of fields."""
        if "json" in self.spec:
            return flat(self.spec["json"])
        found = dict(self.spec.get("fields") or {})
        exclude, used = self.spec.get("exclude") or [], self.used(found)
        if self.kind == "users":
            if "uid" not in found and "uid" in self.columns and "uid" not in used:
                found["uid"] = "uid"
            if "uid" not in found and "id" not in found and len(self.keys) == 1:
                found["uid"] = self.keys[0]
            defaults = ["email", "display_name"]
        else:
            found.setdefault("name", "name")
            defaults = ["timestamp"]
        for name in defaults:
            if name not in found and name in self.columns and name not in exclude:
                found[name] = name
        for group in GROUPS if self.kind == "events" else ():
            mapped = any(name.split(".")[0] == group for name in found)
            free = group not in exclude and group not in self.used(found)
            schema = effective(self.schema["properties"].get(group)) if group in self.columns else None
            if schema is not None and not mapped and free and may_be(schema, "object"):
                found[group] = group
        return found

    def used(self, sources: dict[str, Any]) -> set[str]:
        """The columns that fields take as a whole."""
        names: list[str] = []
        for source in sources.values():
            names += named_in(source)
        return {name for name in names if name in self.columns}

    def value(self, source: Any, record: dict[str, Any]) -> Any:
        """A source's value; a template of the `json` form is a source, too."""
        if "json" in self.spec:
            return evaluated(source, record, self.zone)
        if isinstance(source, str):
            return at(record, source, self.columns)
        if "const" in source:
            return source["const"]
        if source.keys() - {"template"}:
            return self.converted(source, record)
        parts = re.split(r"\{([^{}]+)\}", source["template"])
        return joined(
            part if number % 2 == 0 else at(record, part, self.columns)
            for number, part in enumerate(parts)
            if part
        )

    def converted(self, source: dict[str, Any], record: dict[str, Any]) -> Any:
        """A value that is converted."""
        default = source.get("default", ABSENT)
        value = self.value({"template": source["template"]}, record) if "template" in source else ABSENT
        for name in source.get("coalesce") or ([source["column"]] if "column" in source else []):
            found = at(record, name, self.columns)
            if found is not ABSENT and (value is ABSENT or found is not None):
                value = found
            if not is_nothing(found, trim="coalesce" in source and source.get("trim")):
                break
        else:
            if "coalesce" in source and value is not None:
                value = ABSENT
        if value is UNUSABLE:
            return UNUSABLE
        if isinstance(value, str):
            value = value.strip() if source.get("trim") else value
            value = value.lower() if source.get("lower") else value
            value = value.upper() if source.get("upper") else value
        kind = "date" if source.keys() & {"format", "timezone"} else source.get("as")
        entries = source.get("map") or {}
        if is_nothing(value) and not ("" in entries and value == ""):
            if default is not ABSENT:
                return cast(kind, default, source, self.zone)
            if value == "" and not entries and kind in (None, "str", "bool"):
                return False if kind == "bool" else ""
            return ABSENT if value == "" else value
        if entries:
            text = "" if value == "" else text_of(value)
            value = entries.get(text, default)
            return UNUSABLE if value is ABSENT else cast(kind, value, source, self.zone)
        return cast(kind, value, source, self.zone)

    # Fields

    def user(self, record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
        sources, request = self.sources(), {}
        for name, limit in USER_FIELDS.items():
            if name in sources:
                value = self.value(sources[name], record)
                text = self.text_field(name, value, limit, dropped)
                if name == "id" and text is not None and (text in (".", "..") or "/" in text):
                    raise RejectError("invalid_path")
                if text is not None:
                    request[name] = text
        if not request.keys() & {"uid", "id"}:
            raise RejectError("missing_uid")
        return request

    def text_field(self, name: str, value: Any, limit: int | None, dropped: list[str]) -> str | None:
        if value is ABSENT or value is None or value == "":
            return None
        text = text_of(value)
        if text is None:
            dropped.append(name)
        elif limit is not None and len(text) > limit:
            raise RejectError(f"{name.rpartition('.')[2]}_too_long")
        return text

    def event(self, record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
        sources = self.sources()
        asked: dict[str, Any] = {}
        for name, source in sources.items():
            if name in GROUPS or (name.startswith("context.") and name.count(".") == 1):
                self.group(name, self.value(source, record), asked, dropped)
            elif name != "properties":
                asked[name] = self.value(source, record)
        texts = {"name": 250, "user.uid": 256, "user.id": None}
        found = {
            name: self.text_field(name, asked[name], limit, dropped)
            for name, limit in texts.items()
            if name in asked
        }
        moment = asked.get("timestamp", ABSENT)
        if moment is not ABSENT and moment is not None:
            source = sources["timestamp"]
            if isinstance(source, list) and source[0] == "toUnixTimestamp" and isinstance(moment, int):
                # As a number, seconds of a distant year would be taken for milliseconds.
                moment = written_seconds(moment)
            found["timestamp"] = timestamp(moment, self.zone)
            if found["timestamp"] is None:
                raise RejectError("invalid_timestamp")
        for name, value in asked.items():
            if name.startswith(("session.", "context.")) and value not in (ABSENT, None, ""):
                found[name] = other_field(name, value)
                if found[name] is None:
                    dropped.append(name)
        if found.get("name") is None:
            raise RejectError("missing_name")
        found = {name: value for name, value in found.items() if value is not None}
        return nested(identified(found))

    def group(self, name: str, value: Any, asked: dict[str, Any], dropped: list[str]) -> None:
        """Take the fields of a whole object, and note what has no place."""
        if value is ABSENT or value is None:
            return
        places = [place for place in event_fields() if place.startswith(f"{name}.")]
        if not isinstance(value, dict):
            dropped.append(name)
            return
        exclude = self.spec.get("exclude") or []
        for key, inner in value.items():
            place = f"{name}.{key}"
            if place in exclude or inner is None:
                continue
            if place in places and place != "session.uid":
                asked[place] = inner
            elif any(other.startswith(f"{place}.") for other in places):
                self.group(place, inner, asked, dropped)
            else:
                dropped.append(f"{name}.{property_name(key)}")

    # Properties

    def properties(self, record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
        declared: dict[str, str] = {}
        if "json" in self.spec:
            if "properties" not in self.spec["json"]:
                return {}
            rows = self.rows_of_template(record)
        elif self.spec.get("properties") == [] or self.spec.get("properties") == {}:
            return {}
        else:
            rows = self.rows(record)
        if "json" in self.spec and not rows and not self.spec["json"]["properties"]:
            return {}
        made = self.level(rows, "", dropped, declared, top=True)
        count = sum(leaves(value) for value in made.values())
        if self.kind == "users" and count > 500:
            raise RejectError("too_many_properties")
        types = {"schema": {"properties": declared}} if declared else {}
        return {"properties": made} | types

    def rows(self, record: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """Name, value and schema of each top-level property, the SCHEMA's columns first, be they absent."""
        chosen, exclude = self.spec.get("properties"), self.spec.get("exclude") or []
        types = self.schema.get("properties") or {}
        if chosen is not None:
            pairs = chosen.items() if isinstance(chosen, dict) else [(name, name) for name in chosen]
            rows = [
                (name, without(self.value(path, record), path, exclude), self.schema_of(path, types))
                for name, path in pairs
            ]
            named = isinstance(chosen, dict)
            return [row for one in rows for row in (spread([one]) if not named else [one])]
        used = self.used(self.sources())
        names = [*types, *(name for name in record if name not in types)]
        return spread(
            [
                (name, without(record.get(name, ABSENT), name, exclude), types.get(name))
                for name in names
                if name not in used and name not in exclude and not name.startswith("_sdc_")
            ]
        )

    def rows_of_template(self, record: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        template = self.spec["json"]["properties"]
        return [
            (name, evaluated(inner, record, self.zone), schema_of(inner, self.schema))
            for name, inner in template.items()
        ]

    def level(
        self, rows: Any, path: str, dropped: list[str], declared: dict[str, str], *, top: bool = False
    ) -> dict[str, Any]:
        """One object of properties."""
        names: dict[str, int] = {}
        made: dict[str, Any] = {}
        # What the SCHEMA tells takes its name first, whether or not the record has it.
        for column, value, schema in rows:
            name = unused(property_name(column), names)
            full = f"{path}{name}"
            if value is ABSENT or (value is None and not (top and self.options.null_values == "send")):
                continue
            if len(full) > 512:
                raise RejectError("property_name_too_long")
            if isinstance(value, dict):
                types = (effective(schema) or {}).get("properties") or {}
                inner = [*types, *(key for key in value if key not in types)]
                inside = [(key, value.get(key, ABSENT), types.get(key)) for key in inner]
                made[name] = self.level(inside, f"{full}.", dropped, declared)
                continue
            leaf = leaf_of(value)
            if leaf is UNUSABLE:
                dropped.append(full)
                continue
            made[name] = leaf
            kind = self.held(schema)
            if kind is None or leaf is None:
                continue
            if not fits(kind, leaf):
                self.undeclared.append(full)
                continue
            if self.options.declare_types != "none":
                declared[full] = kind
            change = {"int": int, "date": lambda one: day_or_moment(one, self.zone)}.get(kind.rstrip("s"))
            if change is not None:
                made[name] = [change(item) for item in leaf] if kind.endswith("s") else change(leaf)
        return made

    def held(self, schema: Any) -> str | None:
        """The type that a column's values are held against: dates always, others where it is declared."""
        kind = type_of(effective(schema))
        choices = {"all": TYPES, "auto": AUTO, "none": ("date", "dates")}
        return kind if kind in choices[self.options.declare_types] else None

    def schema_of(self, source: Any, types: dict[str, Any]) -> Any:
        """What a source of `properties` tells of its values."""
        if isinstance(source, str):
            return schema_at(types, source)
        if "const" in source:
            return schema_of(source["const"], {})
        kind = "date" if source.keys() & {"format", "timezone"} else source.get("as")
        if kind is not None:
            return CAST_SCHEMAS[kind]
        told = [schema_of(value, {}) for value in (source.get("map") or {}).values()]
        if "map" not in source:
            names = source.get("coalesce") or [source.get("column")]
            told = [schema_at(types, name) if name else {"type": "string"} for name in names]
        told += [schema_of(source["default"], {})] if "default" in source else []
        return told[0] if all(alike(one, told[0]) for one in told) else {}


CAST_SCHEMAS: dict[str, Any] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "real": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date-time"},
}
TYPES = tuple(name + many for name in CAST_SCHEMAS for many in ("", "s"))


AUTO = ("int", "date", "ints", "dates")


def event_fields() -> list[str]:
    """The dotted names of an event's fields that lie in objects."""
    texts = [f"context.{group}.{name}" for group, names in TEXT_FIELDS.items() for name in names]
    numbers = [f"context.device.{name}" for name in PIXEL_FIELDS]
    numbers += [f"context.location.{name}" for name in NUMBER_FIELDS]
    session = ["session.id", "session.uid", "session.use_most_recent"]
    return ["user.uid", "user.id", *session, *texts, *numbers]


def other_field(name: str, value: Any) -> Any:
    """The value of a field of a session or a context; None where it cannot be taken."""
    last = name.rpartition(".")[2]
    if name == "session.use_most_recent":
        value = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        return value if isinstance(value, bool) else None
    if last in PIXEL_FIELDS or last in NUMBER_FIELDS:
        try:
            number = float(value) if isinstance(value, str) else value
        except ValueError:
            return None
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        if not math.isfinite(number):
            return None
        if last in NUMBER_FIELDS:
            return number
        return int(number) if number == int(number) and abs(number) < 2**31 else None
    text = text_of(value)
    if name == "session.id" and text is not None and text.startswith("http"):
        return text.rstrip("/").rpartition("/")[2].replace("%3A", ":") if text.count("/") > 2 else None
    if name == "session.uid" and text is not None and len(text) > 256:
        return None
    return text


def identified(found: dict[str, Any]) -> dict[str, Any]:
    """An event is identified in one way."""
    ways = ("session.id", "session.uid", "user.uid", "user.id")
    way = next((name for name in ways if name in found), None)
    recent = found.get("session.use_most_recent") and way in ("user.uid", "user.id")
    kept = {name: value for name, value in found.items() if name.split(".")[0] not in ("user", "session")}
    if way is not None:
        kept[way] = found[way]
    if recent:
        kept["session.use_most_recent"] = True
    return kept


# Conversions


def named_in(source: Any) -> list[str]:
    """The columns that a source names."""
    if isinstance(source, str):
        return [source]
    names = re.findall(r"\{([^{}]+)\}", source.get("template", ""))
    return [*names, *source.get("coalesce", []), *([source["column"]] if "column" in source else [])]


def is_nothing(value: Any, *, trim: Any = False) -> bool:
    return value is ABSENT or value is None or value == "" or bool(trim and value == " " * len(str(value)))


def alike(one: Any, other: Any) -> bool:
    one, other = effective(one), effective(other)
    return types_of(one) == types_of(other) and one.get("format") == other.get("format")


def cast(kind: str | None, value: Any, source: dict[str, Any], zone: Any) -> Any:
    """A value as one of a type."""
    if kind is None:
        return value
    if kind == "str":
        if isinstance(value, dict | list):
            return json_of(value)
        text = text_of(value)
        return UNUSABLE if text is None else text
    if kind == "bool":
        texts = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, "": False}
        if isinstance(value, str):
            return texts.get(value.strip().lower(), UNUSABLE)
        return bool(value) if value in (0, 1) else UNUSABLE
    if kind == "date":
        return date_of(value, source, zone)
    number = number_of(value)
    if number is None:
        return UNUSABLE
    if kind == "real":
        return number
    return int(number) if number == int(number) and -(2**63) <= number < 2**63 else UNUSABLE


def number_of(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            number = Decimal(value.strip() if re.fullmatch(r"[-+.0-9eE\s]+", value, re.ASCII) else "x")
        except InvalidOperation:
            return None
        return int(number) if re.fullmatch(r"[-+]?\d+", value.strip()) else float(number)
    return value if isinstance(value, int | float) else None


def date_of(value: Any, source: dict[str, Any], zone: Any) -> Any:
    own = ZoneInfo(source["timezone"]) if "timezone" in source else None
    if "format" in source:
        try:
            text = (text_of(value) or "").strip()
            clock = datetime.strptime(text, source["format"])  # noqa: DTZ007 - the zone is added below
        except ValueError:
            return UNUSABLE
        if "H" not in source["format"] and own is None:
            return clock.date().isoformat()
        return offset_of(clock, "", own or zone)
    if isinstance(value, str) and own is None:
        made = day_or_moment(value.strip(), zone)
        if made is not None:
            return made
    made = timestamp(value, own or zone)
    return UNUSABLE if made is None else made


def day_or_moment(text: str, zone: Any) -> str | None:
    """A date as a property: a day stays one."""
    moment = timestamp(text, zone) if re.match(r"\d{4}-\d\d-\d\d|\d{8}([Tt]|$)", text, re.ASCII) else None
    return moment[:10] if moment is not None and len(text) <= 10 else moment


def offset_of(clock: datetime, fraction: str, zone: Any) -> str:
    """A clock's time in a zone, with its offset."""
    here = clock.replace(tzinfo=zone)
    written = here.isoformat()
    if re.search(r"[+-]\d\d:\d\d:\d\d$", written):
        written = here.astimezone(timezone.utc).isoformat()
    return (written[:19] + fraction + written[19:]).replace("+00:00", "Z")


def json_of(value: Any) -> str:
    encoded = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # As others write a large number.
    return re.sub(r"(?<=\d)e\+(?=\d)", "e", encoded)


# Values


def text_of(value: Any) -> str | None:
    """An identifier or a name as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value and is_text(value) else None


def is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def is_unusable(value: Any) -> bool:
    """Whether a value is none, or something in it."""
    if isinstance(value, dict):
        return any(map(is_unusable, value.values()))
    return any(map(is_unusable, value)) if isinstance(value, list) else value is UNUSABLE


def leaf_of(value: Any) -> Any:
    """A property's value that is no object."""
    if isinstance(value, str):
        return value if is_text(value) and len(value.encode()) <= 8192 else UNUSABLE
    if isinstance(value, float):
        return value if math.isfinite(value) else UNUSABLE
    if isinstance(value, list):
        items = [item for item in value if item is not None]
        if is_unusable(items):
            return UNUSABLE
        encoded = json_of(items)
        if not is_text(encoded) or len(encoded.encode()) > 8192:
            return UNUSABLE
        return encoded if any(isinstance(item, dict | list) for item in items) else items
    return value


def timestamp(value: Any, zone: Any = timezone.utc) -> str | None:
    """A moment as it is sent."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = value.strip() if isinstance(value, str) else ""
    number = value if isinstance(value, int | float) else None
    found = re.fullmatch(
        r"(\d{4})-?(\d\d)-?(\d\d)(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d+)?)?)?([Zz]|[+-]\d\d:\d\d)?)?",
        text,
    )
    if found is not None:
        year, month, day, hour, minute, second, fraction, offset = found.groups()
        parts = [int(part or 0) for part in (year, month, day, hour, minute, second)]
        try:
            clock = datetime(*parts)  # noqa: DTZ001 - what the clock shows
        except ValueError:
            return None
        if offset is None:
            return offset_of(clock, fraction or "", zone)
        return f"{clock.isoformat()}{fraction or ''}{offset.upper()}"
    if number is None and re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        number = float(text)
    if number is None or not math.isfinite(number):
        return None
    seconds = number / 1000 if abs(number) >= 100_000_000_000 else number
    try:
        moment = EPOCH + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")


def unix_seconds(value: Any, zone: Any) -> Any:
    """Whole seconds since 1970."""
    if value is ABSENT or value is None:
        return ABSENT
    text = timestamp(value, zone)
    if text is None:
        return UNUSABLE
    whole = re.sub(r"\.\d+", "", text).replace("Z", "+00:00")
    try:
        return math.floor(datetime.fromisoformat(whole).astimezone(timezone.utc).timestamp())
    except OverflowError:
        return UNUSABLE


def written_seconds(seconds: int) -> Any:
    """Seconds since 1970 as ISO 8601."""
    try:
        return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return UNUSABLE


# Names and types


def property_name(column: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", column).lstrip("_") or "p"
    return f"p_{name}" if name[0].isdigit() else name


def unused(name: str, names: dict[str, int]) -> str:
    """The name, or with `_2`, `_3` … where it is taken."""
    found = name
    while found in names:
        names[name] += 1
        found = f"{name}_{names[name]}"
    names[found] = 1
    return found


def effective(schema: Any) -> Any:
    """A column's schema, of `anyOf` and `oneOf` the one branch besides null."""
    if not isinstance(schema, dict):
        return {}
    branches = schema.get("anyOf") or schema.get("oneOf")
    if "type" in schema or not isinstance(branches, list):
        return schema
    rest = [one for one in branches if one not in ({"type": "null"}, {"type": ["null"]})]
    return effective(rest[0]) if len(rest) == 1 else {}


def may_be(schema: Any, kind: str) -> bool:
    types = types_of(schema)
    return not types or kind in types


def types_of(schema: Any) -> set[str]:
    types = schema.get("type") or ("object" if schema.get("properties") else [])
    return {types} - {"null"} if isinstance(types, str) else set(types) - {"null"}


def type_of(schema: Any, *, element: bool = False) -> str | None:
    """Fullstory's type of a column's values, as the SCHEMA tells it."""
    types = types_of(schema or {})
    if types == {"array"} and not element:
        inner = type_of(effective(schema.get("items")), element=True)
        return inner and f"{inner}s"
    if types == {"string"}:
        return "date" if schema.get("format") in ("date", "date-time") else "str"
    names = {"integer": "int", "number": "real", "boolean": "bool"}
    return names.get(next(iter(types))) if len(types) == 1 else None


def fits(kind: str, value: Any) -> bool:
    """Whether a value is of a declared type."""
    if kind.endswith("s"):
        return isinstance(value, list) and all(fits(kind[:-1], item) for item in value)
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool | list):
        return False
    if kind == "int":
        return isinstance(value, int | float) and value == int(value) and -(2**63) <= value < 2**63
    if kind == "real":
        return isinstance(value, int | float)
    return isinstance(value, str) and (kind == "str" or day_or_moment(value, timezone.utc) is not None)


# The record


def at(record: Any, path: str, columns: Any = ()) -> Any:
    """The value at a path; a column of that very name comes first."""
    if path in columns:
        return record.get(path, ABSENT)
    for step in path.split("."):
        if isinstance(record, dict):
            record = record.get(step, ABSENT)
        elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
            record = record[int(step)]
        else:
            return ABSENT
    return record


def schema_at(columns: dict[str, Any], path: str) -> Any:
    if path in columns:
        return columns[path]
    schema: Any = {"properties": columns}
    for step in path.split("."):
        schema = effective(schema)
        inside = schema.get("items") if step.isdigit() else (schema.get("properties") or {}).get(step)
        schema = inside
    return schema


def without(value: Any, path: str, exclude: list[str]) -> Any:
    """A value without what of it is excluded."""
    if not isinstance(value, dict):
        return value
    kept = {key: inner for key, inner in value.items() if f"{path}.{key}" not in exclude}
    return {key: without(inner, f"{path}.{key}", exclude) for key, inner in kept.items()}


def spread(rows: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """An object column called `properties` is not nested; columns that the record alone tells come last."""
    told_rows: list[tuple[str, Any, Any]] = []
    further: list[tuple[str, Any, Any]] = []
    for name, value, schema in rows:
        if name != "properties" or not may_be(effective(schema), "object"):
            (told_rows if schema is not None else further).append((name, value, schema))
            continue
        types = effective(schema).get("properties") or {}
        known = value if isinstance(value, dict) else {}
        told_rows += [(key, known.get(key, ABSENT), types[key]) for key in types]
        if isinstance(value, dict):
            further += [(key, value[key], None) for key in value if key not in types]
        else:
            # What is no object is a property of that name, but a null is not sent.
            further.append((name, ABSENT if value is None else value, None))
    return told_rows + [row for row in further if row[1] is not ABSENT]


def leaves(value: Any) -> int:
    return sum(map(leaves, value.values())) if isinstance(value, dict) else 1


def nested(found: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as objects."""
    made: dict[str, Any] = {}
    for name, value in found.items():
        *parents, last = name.split(".")
        node = made
        for step in parents:
            node = node.setdefault(step, {})
        node[last] = value
    return made


# The `json` form


def flat(template: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The templates of fields, by dotted name."""
    found: dict[str, Any] = {}
    for name, inner in template.items():
        if path or name not in ("properties", "schema"):
            place = f"{path}{name}"
            found |= flat(inner, f"{place}.") if isinstance(inner, dict) else {place: inner}
    return found


def is_call(template: Any) -> bool:
    names = ("var", "concat", "list", "toUnixTimestamp", *CASTS)
    return isinstance(template, list) and bool(template) and template[0] in names


CASTS = {
    f"as{name}{many}": (kind, many)
    for name, kind in {"String": "str", "Number": "real", "Bool": "bool"}.items()
    for many in ("", "s")
}


def evaluated_cast(function: str, value: Any) -> Any:
    kind, many = CASTS[function]
    if value is UNUSABLE:
        return value
    if is_nothing(value) and not (value == "" and kind != "real"):
        return ABSENT if value == "" else value
    if many:
        values = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
        made = [evaluated_cast(function[:-1], one) for one in values if kind != "real" or one != ""]
        return UNUSABLE if UNUSABLE in made else made
    if value == "":
        return "" if kind == "str" else False
    if kind == "str" and isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        texts = ["" if one == "" else text_of(one) for one in value if one is not None]
        return UNUSABLE if None in texts else ", ".join(map(str, texts))
    return cast(kind, value, {}, timezone.utc)


def evaluated(template: Any, record: dict[str, Any], zone: Any) -> Any:
    """What a template gives."""
    if isinstance(template, dict):
        members = {key: evaluated(inner, record, zone) for key, inner in template.items()}
        return {key: one for key, one in members.items() if one is not ABSENT and one is not None}
    if not isinstance(template, list):
        return template
    function, arguments = template[0], template[1:]
    if function == "var":
        return at(record, arguments[0])
    values = [evaluated(argument, record, zone) for argument in arguments]
    if function in CASTS:
        return evaluated_cast(function, values[0])
    if function == "toUnixTimestamp":
        return UNUSABLE if values[0] is UNUSABLE else unix_seconds(values[0], zone)
    if function == "concat":
        return joined(values)
    return [value for value in values if value is not ABSENT and value is not None]


def joined(values: Any) -> Any:
    """Texts one after the other; nothing where one of them is."""
    texts: list[str] = []
    for value in values:
        if value is ABSENT or value is None or value == "":
            return ABSENT
        text = text_of(value)
        if text is None:
            return UNUSABLE
        texts.append(text)
    return "".join(texts)


def schema_of(template: Any, schema: Any) -> Any:
    """What a template tells of its values."""
    if isinstance(template, dict):
        return {"properties": {key: schema_of(inner, schema) for key, inner in template.items()}}
    if is_call(template):
        kinds = {"concat": {"type": "string"}, "toUnixTimestamp": {"type": "integer"}}
        if template[0] == "var":
            return schema_at(schema["properties"], template[1])
        if template[0] in kinds:
            return kinds[template[0]]
        if template[0] in CASTS:
            kind, many = CASTS[template[0]]
            return {"type": "array", "items": CAST_SCHEMAS[kind]} if many else CAST_SCHEMAS[kind]
        inner = [schema_of(item, schema) for item in template[1:]]
        of_one_kind = inner and all(alike(one, inner[0]) for one in inner)
        return {"type": "array", "items": inner[0] if of_one_kind else None}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": names[type(template)]}
