"""Writes the code that makes Fullstory's own fields, the same for both layouts."""

from __future__ import annotations

from target_fullstory.mapping.plan.field_plan import Field, column_for
from target_fullstory.mapping.plan.sources import Const
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.layouts import Layout, Loaded, load
from target_fullstory.mapping.program.request_structs import SessionOfEvent, UserOfEvent, object_type
from target_fullstory.mapping.rules.destinations import missing_name, missing_uid

Fields = dict[str, str]
"""By a field's name, the expression of its value; missing where no record has it."""


def emit_fields(layout: Layout, plan: StreamPlan) -> Fields:
    """Write what makes the values of the fields, in the order of the request."""
    found: Fields = {}
    for field in plan.fields:
        name = field.destination.name
        if isinstance(field.source, Const):
            constant = field.destination.convert(field.source.value)
            found[name] = layout.code.know(name.replace(".", "_"), constant)
            if constant is False:
                del found[name]
            continue
        loaded = load(layout, field.source)
        if loaded.variable != "None":
            found[name] = layout.code.let(name, _converted(layout, field, loaded))
    return found


def _converted(layout: Layout, field: Field, loaded: Loaded) -> str:
    destination = field.destination
    take = layout.code.know(f"take_{destination.path[-1]}", field.take)
    taken = loaded.taken(destination.inline, f"{take}({loaded.variable}, dropped)")
    check = layout.check(loaded, destination.unchanged) if destination.unchanged else None
    return f"{loaded.variable} if {check} else {taken}" if check else taken


def emit_user(layout: Layout, plan: StreamPlan, fields: Fields) -> tuple[str, str]:
    """Write the check of a user's required fields.

    Returns the arguments of `UserRequest` before `properties`, and the user's key.
    """
    code, given = layout.code, [name for name in ("uid", "id") if name in fields]
    names = [field.destination.name for field in plan.fields]
    sought = [name for name in names if name in ("uid", "id")]
    absent = " and ".join(f"{fields[name]} is None" for name in given) or "True"
    with code.block(f"if {absent}:"):
        column = column_for(plan.fields, "uid", "id")
        code.line(f"raise {code.know('missing_uid', missing_uid)}({sought}, {column!r})")
    key = fields[given[0]] if given else "None"
    if len(given) > 1:
        key = f"{fields['id']} if {key} is None else {key}"
    order = ("id", "uid", "email", "display_name")
    return ", ".join(fields.get(name, "None") for name in order), key


def emit_event(layout: Layout, plan: StreamPlan, fields: Fields) -> str:
    """Write the check of an event's name, and whose event it is.

    Returns the arguments of `EventRequest` before `properties`.
    """
    code = layout.code
    with code.block(f"if {fields.get('name')} is None:"):
        column = column_for(plan.fields, "name")
        code.line(f"raise {code.know('missing_name', missing_name)}({column!r})")
    user, session = _emit_identity(layout, fields)
    context = _emit_context(layout, fields)
    timestamp = fields.get("timestamp", "None")
    return ", ".join((str(fields.get("name")), timestamp, user, session, context))


def _emit_identity(layout: Layout, fields: Fields) -> tuple[str, str]:
    """Write the one way in which an event is identified.

    A session id stands alone; a session `uid` likewise, where there is no id. Else the user's `uid` goes
    before the user's `id`, with `use_most_recent` only where it is true. An event with neither is sent as it
    is.
    """
    code = layout.code
    user_type, session_type = code.know("User", UserOfEvent), code.know("Session", SessionOfEvent)
    recent = fields.get("session.use_most_recent")
    most_recent = code.know("most_recent", SessionOfEvent(use_most_recent=True))
    recent_session = f"{most_recent} if {recent} else None" if recent else "None"
    ways = {
        "session.id": ("None", "{session}(id={v})"),
        "session.uid": ("None", "{session}(uid={v})"),
        "user.uid": ("{user}(uid={v})", recent_session),
        "user.id": ("{user}(id={v})", recent_session),
    }
    given = [name for name in ways if name in fields]
    if not given:
        return "None", "None"
    user, session = code.variable("user"), code.variable("session")
    for number, name in enumerate(given):
        makes_user, makes_session = (
            part.format(user=user_type, session=session_type, v=fields[name]) for part in ways[name]
        )
        with code.block(f"{'elif' if number else 'if'} {fields[name]} is not None:"):
            code.line(f"{user} = {makes_user}")
            code.line(f"{session} = {makes_session}")
    with code.block("else:"):
        code.line(f"{user} = {session} = None")
    return user, session


def _emit_context(layout: Layout, fields: Fields) -> str:
    """Write the context: an object of objects, of which each has a value."""
    grouped: dict[str, dict[str, str]] = {}
    for name, variable in fields.items():
        if name.startswith("context."):
            _, group, field = name.split(".")
            grouped.setdefault(group, {})[field] = variable
    groups = {group: _emit_object(layout, group, members) for group, members in grouped.items()}
    return _emit_object(layout, "context", groups) if groups else "None"


def _emit_object(layout: Layout, name: str, members: dict[str, str]) -> str:
    made = layout.code.know(name.capitalize(), object_type(list(members)))
    absent = " is None and ".join(members.values())
    values = ", ".join(members.values())
    return layout.code.let(name, f"None if {absent} is None else {made}({values})")
