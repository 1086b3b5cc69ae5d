"""Writes the code that makes properties of a record in a dictionary."""

from __future__ import annotations

from target_fullstory.mapping.plan.property_plan import Entry, Node
from target_fullstory.mapping.plan.sources import MISSING, Column
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.layouts import DictLayout
from target_fullstory.mapping.program.property_writer import PropertyWriter
from target_fullstory.mapping.rules.declared_types import ALWAYS_FIT, is_iso_8601
from target_fullstory.mapping.rules.property_names import (
    MAX_NAME_LENGTH,
    MAX_USER_PROPERTIES,
    too_many_properties,
)
from target_fullstory.mapping.rules.property_values import TEXT_TEST


def emit_dict_properties(layout: DictLayout, plan: StreamPlan) -> str:
    """Write what makes the properties of a record.

    Returns:
        The arguments `properties` and `schema` of a request.
    """
    code, properties = layout.code, plan.properties
    if not properties.produces:
        return "None, None"
    writer = code.know("PropertyWriter", PropertyWriter)
    code.line(f"writer = {writer}({code.know('plan', properties)}, dropped)")
    code.line("values, declared = writer.values, writer.declared")
    for entry in properties.entries:
        _emit_entry(layout, entry, send_nulls=properties.send_nulls)
    if properties.skipped is not None:
        planned = code.know("planned", properties.skipped)
        with code.block(f"if not record.keys() <= {planned}:"):
            code.line(f"writer.rest(record, {planned})")
    if plan.kind == "users":
        count, too_many = "len(values) + writer.nested", code.know("too_many", too_many_properties)
        with code.block(f"if {count} > {MAX_USER_PROPERTIES}:"):
            code.line(f"raise {too_many}({count})")
    return "values, {'properties': declared} if declared else None"


def _emit_entry(layout: DictLayout, entry: Entry, *, send_nulls: bool) -> None:
    code, source = layout.code, entry.source
    missing = code.know("MISSING", MISSING)
    if isinstance(source, Column) and source.keys and len(source.keys) == 1:
        default = f", {missing}" if send_nulls or entry.node is None else ""
        value = code.let(source.keys[0], f"get({source.keys[0]!r}{default})")
    else:
        default = missing
        value = code.let("made", f"{layout.reader(source)}(record)")
    if entry.node is None:
        with code.block(f"if {value} is not {missing}:"):
            code.line(f"writer.spread({code.know('spread', entry.spread)}, {value})")
        return
    node = code.know("node", entry.node)
    otherwise = (
        (f"{value} is not {missing}", f"writer.top({node}, {value})")
        if default
        else (f"{value} is not None", f"writer.write(values, {node}, {value}, 1)")
    )
    quick = isinstance(source, Column) and len(entry.node.path) <= MAX_NAME_LENGTH
    tests = _quick_tests(layout, source, value) if quick and isinstance(source, Column) else {}
    if entry.node.declared == "int":
        tests.pop("number", None)  # a whole one would become an integer
    for number, (kind, test) in enumerate(tests.items()):
        with code.block(f"{'elif' if number else 'if'} {test}:"):
            code.line(f"values[{entry.node.name!r}] = {value}")
            _emit_declared(layout, entry.node, kind, value)
    with code.block(f"{'elif' if tests else 'if'} {otherwise[0]}:"):
        code.line(otherwise[1])


def _quick_tests(layout: DictLayout, source: Column, value: str) -> dict[str, str]:
    """By JSON type that the SCHEMA tells, the test by which a value is sent as it is."""
    return {
        kind: f"{test} and {TEXT_TEST}".format(v=value)
        if kind == "string"
        else test.format(v=value)
        for kind, test in layout.tests_of(source).items()
    }


def _emit_declared(layout: DictLayout, node: Node, kind: str, value: str) -> None:
    declare = f"declared[{node.path!r}] = {node.declared!r}"
    if node.declared == "date" and kind == "string":
        with layout.code.block(f"if {layout.code.know('is_iso_8601', is_iso_8601)}({value}):"):
            layout.code.line(declare)
    elif kind in ALWAYS_FIT.get(node.declared or "", ()):
        layout.code.line(declare)
