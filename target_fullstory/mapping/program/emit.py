"""From a plan to the source of the function that maps its records, one per layout."""

from __future__ import annotations

from target_fullstory.mapping.outcome import Rejection
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.column_uses import uses_of
from target_fullstory.mapping.program.emit_dict_properties import DictProperties
from target_fullstory.mapping.program.emit_fields import emit_event, emit_fields, emit_user
from target_fullstory.mapping.program.emit_struct_properties import StructProperties
from target_fullstory.mapping.program.function_writer import FunctionSource
from target_fullstory.mapping.program.layouts import DictLayout, Layout, StructLayout
from target_fullstory.mapping.program.record_type import RecordType, UntypedError, record_type_of, use_at
from target_fullstory.mapping.program.request_structs import EventRequest, UserRequest
from target_fullstory.mapping.rules.property_names import MAX_NAME_LENGTH, MAX_USER_PROPERTIES

_DEEPEST = 30
"""Levels of objects that an expression is written for."""


def record_type_for(plan: StreamPlan, *, validate: bool) -> RecordType:
    """The Struct whose instances `emit_for_structs` can map; with `validate` it takes only valid records.

    A record whose column for deletions is not null is left to `emit_for_dicts`, unless that is a flag.

    Raises:
        UntypedError: There is none.
        TypeError: A name or a limit is none that msgspec can express.
        ValueError: Likewise.
    """
    nodes = list(plan.properties.all_nodes())
    leaves = sum(not (node.scope and node.scope.nodes) for node in nodes)
    too_many = plan.kind == "users" and leaves > MAX_USER_PROPERTIES
    if too_many or any(len(node.path) > MAX_NAME_LENGTH or node.path.count(".") > _DEEPEST for node in nodes):
        raise UntypedError
    uses = uses_of(plan)
    if plan.deleted is not None:
        use = use_at(uses, plan.schema, plan.deleted.steps)
        use.plain, use.void = plan.deletes_by_flag, not plan.deletes_by_flag
    nulls, keys = not plan.properties.send_nulls, frozenset(plan.key_properties)
    return record_type_of(plan.schema, uses, validate=validate, nulls=nulls, required=keys)


def emit_for_structs(plan: StreamPlan, types: RecordType) -> FunctionSource:
    """Write the function that maps a list of decoded records.

    It adds the requests and the users' keys to lists, the rejections to a third, each with the index of its
    record, and the names of properties that are not of their type to a fourth; reports what was dropped of a
    record, and returns whether all events carry a timestamp.
    """
    code = FunctionSource("def map_records(records, requests, keys, rejected, undeclared, report_dropped):")
    code.line("add, add_key = requests.append, keys.append")
    code.line("begin, dropped = len(requests) + len(rejected), []")
    code.line(f"timed = {plan.kind == 'events'}")
    code.mark()
    rejection = code.know("Rejection", Rejection)
    layout = StructLayout(code, types)
    with code.block("for record in records:"):
        with code.block("try:"):
            head, key, timestamp = _emit_fields(layout, plan)
            properties = StructProperties(layout, plan).emit()
            code.line(f"add({head}, {properties}))")
            if plan.kind == "users":
                code.line(f"add_key({key})")
            elif timestamp == "None":
                code.line("timed = False")
            else:
                code.line(f"if {timestamp} is None: timed = False")
            with code.block("if dropped:"):
                code.line("report_dropped(dropped)")
                code.line("dropped.clear()")
        with code.block(f"except {rejection} as rejection:"):
            code.line("at = len(requests) + len(rejected) - begin")
            code.line("rejected.append((at, rejection.outcome))")
            code.line("dropped.clear()")
    code.line("return timed")
    return code


def emit_for_dicts(plan: StreamPlan) -> FunctionSource:
    """Write the function that maps one record; it returns a `Rejected` or raises a `Rejection` instead.

    The names of what is left out are added to `dropped`, those of properties that are not of their type to
    `undeclared`. A violation of the SCHEMA rejects a record whose
    fields do not: their codes say more.
    """
    code = FunctionSource("def map_record(record, violation, dropped, undeclared):")
    layout = DictLayout(code, plan.schema)
    code.line("get = record.get")
    head, _, _ = _emit_fields(layout, plan)
    with code.block("if violation is not None:"):
        code.line("return violation")
    properties = DictProperties(layout, plan).emit()
    code.line(f"return {head}, {properties})")
    return code


def _emit_fields(layout: Layout, plan: StreamPlan) -> tuple[str, str, str]:
    """Write what makes the fields.

    Returns the beginning of the request's expression, the user's key and the event's timestamp.
    """
    fields = emit_fields(layout, plan)
    if plan.kind == "users":
        values, key = emit_user(layout, plan, fields)
        return f"{layout.code.know('UserRequest', UserRequest)}({values}", key, "None"
    for group in plan.groups if isinstance(layout, DictLayout) else ():
        layout.code.line(f"{layout.code.know('note_unknown', group.note_unknown)}(record, dropped)")
    values = emit_event(layout, plan, fields)
    made = f"{layout.code.know('EventRequest', EventRequest)}({values}"
    return made, "None", fields.get("timestamp", "None")
