"""Writes the code that makes properties of a record in a dictionary."""

from __future__ import annotations

from target_fullstory.mapping.plan.property_plan import Entry, Node
from target_fullstory.mapping.plan.sources import MISSING, Column, Converted
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.layouts import DictLayout, load
from target_fullstory.mapping.program.property_writer import PropertyWriter
from target_fullstory.mapping.rules.declared_types import ALWAYS_FIT
from target_fullstory.mapping.rules.property_names import (
    MAX_NAME_LENGTH,
    MAX_USER_PROPERTIES,
    too_many_properties,
)
from target_fullstory.mapping.rules.property_values import TEXT_TEST
from target_fullstory.mapping.rules.timestamps import moment_of

_WRITTEN_DEPTH = 8
"""Levels of objects that code is written for; deeper ones are left to the writer."""


class DictProperties:
    """Writes the properties of one stream."""

    def __init__(self, layout: DictLayout, plan: StreamPlan) -> None:
        """Write for a layout's records."""
        self._layout = layout
        self._code = layout.code
        self._plan = plan.properties
        self._of_user = plan.kind == "users"

    def emit(self) -> str:
        """Write what makes a record's properties; returns a request's arguments `properties` and `schema`."""
        if not self._plan.produces:
            return "None, None"
        code, writer = self._code, self._code.know("PropertyWriter", PropertyWriter)
        code.line(f"writer = {writer}({code.know('plan', self._plan)}, dropped, undeclared)")
        code.line("values, declared = writer.values, writer.declared")
        for entry in self._plan.entries:
            self._entry(entry)
        if self._plan.skipped is not None:
            planned = code.know("planned", self._plan.skipped)
            with code.block(f"if not record.keys() <= {planned}:"):
                code.line(f"writer.rest(record, {planned})")
        if self._of_user:
            count = "len(values) + writer.nested"
            with code.block(f"if {count} > {MAX_USER_PROPERTIES}:"):
                code.line(f"raise {code.know('too_many', too_many_properties)}({count})")
        return "values, {'properties': declared} if declared else None"

    def _entry(self, entry: Entry) -> None:
        """Write a top-level property, or an object column whose parts are."""
        code, source, missing = self._code, entry.source, self._code.know("MISSING", MISSING)
        column = source if isinstance(source, Column) and source.keys is not None else None
        # Only of columns can null be other than absent.
        asks = isinstance(source, (Column, Converted)) and (self._plan.send_nulls or entry.node is None)
        if column is not None and len(column.steps) == 1:
            default = f", {missing}" if asks else ""
            value = code.let(column.steps[0], f"get({column.steps[0]!r}{default})")
        elif isinstance(source, Column) or (isinstance(source, Converted) and asks):
            asks, value = True, code.let("made", f"{code.know('read', source.read)}(record)")
        else:
            value = load(self._layout, source).variable
        if entry.node is None:
            with code.block(f"if {value} is not {missing}:"):
                code.line(f"writer.spread({code.know('spread', entry.spread)}, {value})")
            return
        node = code.know("node", entry.node)
        other, write = f"{value} is not None", f"writer.write(values, {node}, {value}, 1)"
        if asks:
            other, write = f"{value} is not {missing}", f"writer.top({node}, {value})"
        branched = column is not None and self._quick(entry.node, column, value, "values", 1)
        with code.block(f"{'elif' if branched else 'if'} {other}:"):
            code.line(write)

    def _quick(self, node: Node, column: Column, value: str, target: str, depth: int) -> bool:
        """Write what a value of the column's type becomes; returns whether there is anything.

        What fails all of these tests is for the writer.
        """
        if len(node.path) > MAX_NAME_LENGTH or depth > _WRITTEN_DEPTH:
            return False
        tests = self._layout.tests_of(column)
        if node.declared == "int":
            tests.pop("number", None)  # a whole one would become an integer
        branch = "if"
        for kind, guard in tests.items():
            test = f"{guard} and {TEXT_TEST}" if kind == "string" else guard
            with self._code.block(f"{branch} {test.format(v=value)}:"):
                self._put(node, kind, value, f"{target}[{node.name!r}]")
            branch = "elif"
        if node.scope is not None and node.scope.nodes:
            with self._code.block(f"{branch} type({value}) is dict:"):
                self._object(node, column, value, target, depth)
            branch = "elif"
        return branch == "elif"

    def _object(self, node: Node, column: Column, value: str, target: str, depth: int) -> None:
        """Write an object without its nulls."""
        code, scope = self._code, node.scope
        if scope is None:
            return
        inner = code.let(node.name, f"{target}[{node.name!r}] = {{}}")
        for name, child in scope.nodes.items():
            part = code.let(name, f"{value}.get({name!r})")
            within = Column((*column.steps, name))
            branched = self._quick(child, within, part, inner, depth + 1)
            with code.block(f"{'elif' if branched else 'if'} {part} is not None:"):
                code.line(f"writer.write({inner}, {code.know('node', child)}, {part}, {depth + 1})")
        known = code.know("known", frozenset(scope.nodes))
        with code.block(f"if not {value}.keys() <= {known}:"):
            code.line(f"writer.further({inner}, {code.know('node', node)}, {value}, {depth})")
        if self._of_user:
            code.line(f"writer.nested += len({inner}) - 1")

    def _put(self, node: Node, kind: str, value: str, place: str) -> None:
        """Write what puts a value in its place, and declares its type where it is of that."""
        code = self._code
        undeclared = f"undeclared.append({node.path!r})"
        declare = "pass" if node.silent else f"declared[{node.path!r}] = {node.declared!r}"
        if node.declared == "date" and kind == "string":
            zone = "" if self._plan.zone is None else f", {code.know('zone', self._plan.zone)}"
            moment = code.let("moment", f"{code.know('moment_of', moment_of)}({value}{zone})")
            with code.block(f"if {moment} is None:"):
                code.line(f"{place} = {value}")
                code.line(undeclared)
            with code.block("else:"):
                code.line(f"{place} = {moment}")
                code.line(declare)
            return
        code.line(f"{place} = {value}")
        if node.declared is not None:
            code.line(declare if kind in ALWAYS_FIT.get(node.declared, ()) else undeclared)
