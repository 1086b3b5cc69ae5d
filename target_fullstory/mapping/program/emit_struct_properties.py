"""Writes the code that makes properties of a Struct that a line was decoded to.

Its values are within a property's limits, but for long texts: what else is asked is only whether they fit
their declared types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from target_fullstory.mapping.plan.json_form import members_of
from target_fullstory.mapping.plan.property_plan import Node
from target_fullstory.mapping.plan.sources import Column, Const, ObjectOf, Source
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.layouts import Loaded, StructLayout, load
from target_fullstory.mapping.program.record_type import RecordType, UntypedError
from target_fullstory.mapping.program.request_structs import object_type
from target_fullstory.mapping.rules.declared_types import ALWAYS_FIT, fitting
from target_fullstory.mapping.rules.destinations import Inline
from target_fullstory.mapping.rules.property_values import LEFT_OUT, MAX_VALUE_BYTES, leaf_of
from target_fullstory.mapping.rules.timestamps import are_moments, moment_of

_SHORT_TEXT: Inline = {"string": (f"len({{v}}) <= {MAX_VALUE_BYTES // 4}", "{v}")}

_MOST_SCHEMAS = 4096
"""Schemas kept: one per combination of declared properties seen."""


class Schemas(dict[tuple[bool, ...], "msgspec.Raw | None"]):
    """The `schema` of requests, by which of the properties are declared."""

    def __init__(self, types: list[tuple[str, str]]) -> None:
        """Take full name and type of each property that may be declared, in the order sent."""
        super().__init__()
        self._types = types

    def __missing__(self, fits: tuple[bool, ...]) -> msgspec.Raw | None:
        if len(self) >= _MOST_SCHEMAS:
            self.clear()
        declared = {name: kind for (name, kind), fit in zip(self._types, fits, strict=True) if fit}
        made = msgspec.Raw(msgspec.json.encode({"properties": declared})) if declared else None
        self[fits] = made
        return made


def leaf_taker(path: str) -> Any:
    """A function that makes a property's value of what a template made; None for none."""

    def leaf(value: Any, dropped: list[str]) -> Any:
        if value is None:
            return None
        value = leaf_of(value)
        if value is LEFT_OUT:
            dropped.append(path)
            return None
        return value

    return leaf


class StructProperties:
    """Writes the properties of one stream."""

    def __init__(self, layout: StructLayout, plan: StreamPlan) -> None:
        """Write for a layout's records."""
        self._layout = layout
        self._code = layout.code
        self._plan = plan.properties
        self._declared: list[tuple[str, str, str]] = []
        # What may be changed in the record itself, and the type that it is held against.
        self._changed: dict[tuple[str, ...], str] = {}

    def emit(self) -> str:
        """Write what makes a record's properties; returns a request's arguments `properties` and `schema`.

        It comes last: the record itself may become the properties.
        """
        if not self._plan.produces:
            return "None, None"
        tops = list(self._tops())
        whole = self._record_itself(tops)
        if whole is None:
            members = {node.name: self._value(source, node) for source, node in tops}
            members = {name: value for name, value in members.items() if value != "None"}
            made = self._made(list(members), list(members.values()))
            return f"{made}, {self._schema()}"
        for source, node in tops:
            column = self._layout.types.columns.get(node.name)
            if column and (column.long or any(one.declared for one in node.all_nodes())):
                loaded = self._within_limits(self._layout.load(source), node, whole=True)
                self._note_declared(loaded, node, source.steps)
        schema = self._code.let("schema", self._schema())
        if whole:
            unset = self._code.know("UNSET", msgspec.UNSET)
            others = " = ".join(f"record.{attribute}" for attribute in whole)
            self._code.line(f"{others} = {unset}")
        return f"record, {schema}"

    def _tops(self) -> Iterator[tuple[Any, Node]]:
        """The top-level properties and their sources, in the order sent."""
        for entry in self._plan.entries:
            if entry.node is not None:
                yield entry.source, entry.node
            elif entry.spread is not None and isinstance(entry.source, Column):
                for column, node in entry.spread.nodes.items():
                    yield Column((*entry.source.steps, column)), node

    def _record_itself(self, tops: list[tuple[Any, Node]]) -> list[str] | None:
        """The attributes to unset so that the record is its own properties; None where it cannot be."""
        types = self._layout.types
        if not all(isinstance(one, Column) and one.steps == (node.name,) for one, node in tops):
            return None
        sent = {node.name: node for _, node in tops if node.name in types.columns}
        if [name for name in types.columns if name in sent] != list(sent):
            return None
        for name, node in sent.items():
            column = types.columns[name]
            if name in types.required and "null" in column.kinds:
                return None  # it would be sent as null
            if column.part is not None and not _is_sent_as_decoded(node, column.part):
                return None
            if not self._is_sure(column.kinds, column.elements, node):
                return None
        others = [one.attribute for name, one in types.columns.items() if name not in sent]
        return others if len(others) <= len(sent) else None

    @staticmethod
    def _is_sure(kinds: frozenset[str], elements: frozenset[str], node: Node) -> bool:
        """Whether the value is sent unchanged, whatever its declared type."""
        if node.declared == "int":
            return "number" not in kinds
        return not (node.declared == "ints" and "array" in kinds and elements != {"integer"})

    def _value(self, source: Source, node: Node) -> str:
        """Write what makes a property's value; returns its expression."""
        if isinstance(source, ObjectOf) or (isinstance(source, Const) and isinstance(source.value, dict)):
            nodes = {} if node.scope is None else node.scope.nodes
            members = {nodes[name].name: self._value(one, nodes[name]) for name, one in members_of(source)}
            return self._made(list(members), list(members.values()))
        if isinstance(source, Const):
            return self._constant(source.value, node)
        if isinstance(source, Column):
            loaded = self._within_limits(self._layout.load(source), node)
            if loaded.variable == "None":
                return "None"
            if loaded.type is not None and loaded.type.part is not None:
                self._note_declared(loaded, node, source.steps)
                value = self._object(loaded.variable, node, loaded.type.part)
                return (
                    value if value == loaded.variable else f"None if {loaded.variable} is None else {value}"
                )
        else:
            loaded = load(self._layout, source)
            leaf = self._code.know("leaf", leaf_taker(node.path))
            value = loaded.taken(_SHORT_TEXT, f"{leaf}({loaded.variable}, dropped)")
            loaded = Loaded(self._code.let(node.name, value), frozenset({"any"}), {"any": ""})
        return self._declare(loaded, node)

    def _within_limits(self, loaded: Loaded, node: Node, *, whole: bool = False) -> Loaded:
        """Write what leaves out a text that is too long, in the record too where its `whole` is sent."""
        if loaded.type is None or not loaded.type.long:
            return loaded
        code, text, column = self._code, loaded.variable, loaded.type
        value = code.let(node.name, text)
        is_text = f"{text} is not None" if loaded.is_sure({"string"}) else f"type({text}) is str"
        with code.block(f"if {is_text} and len({text}) > {MAX_VALUE_BYTES // 4}:"):
            code.line(f"{value} = {code.know('leaf', leaf_taker(node.path))}({text}, dropped)")
            if whole:
                with code.block(f"if {value} is None:"):
                    code.line(f"record.{column.attribute} = {code.know('UNSET', msgspec.UNSET)}")
        return msgspec.structs.replace(loaded, variable=value, kinds=loaded.kinds | {"null"})

    def _constant(self, value: Any, node: Node) -> str:
        value, fitted = fitting(node.declared, leaf_of(value), self._plan.zone)
        if fitted is not None:
            self._note(node, "True")
        elif node.declared is not None and value is not None:
            self._code.line(f"undeclared.append({node.path!r})")
        if isinstance(value, list):
            value = msgspec.Raw(msgspec.json.encode(value))
        return "None" if value is None else self._code.know(f"constant_{node.name}", value)

    def _object(self, variable: str, node: Node, part: RecordType) -> str:
        """An expression of an object as it is sent, for one that is not null."""
        if _is_sent_as_decoded(node, part):
            return variable
        members = {}
        for column, child in (node.scope.nodes if node.scope else {}).items():
            found = part.columns.get(column)
            if found is None:
                continue
            value = f"{variable}.{found.attribute}"
            if found.part is not None and not _is_sent_as_decoded(child, found.part):
                inner = self._code.variable(column)
                value = f"None if ({inner} := {value}) is None else {self._object(inner, child, found.part)}"
            members[child.name] = f"({value})" if ":=" in value else value
        return self._made(list(members), list(members.values()))

    def _made(self, names: list[str], values: list[str]) -> str:
        return f"{self._code.know('Object', object_type(names))}({', '.join(values)})"

    def _note_declared(self, loaded: Loaded, node: Node, steps: tuple[str, ...]) -> None:
        """Note the types that are declared with a column that is sent as it is, and within its objects."""
        part = loaded.type.part if loaded.type else None
        if part is None:
            if loaded.variable != "None":
                self._declare(loaded, node, steps)
            return
        for column, child in (node.scope.nodes if node.scope else {}).items():
            inner = (*steps, column)
            if column in part.columns and any(one.declared for one in child.all_nodes()):
                self._note_declared(self._layout.load(Column(inner)), child, inner)

    def _declare(self, loaded: Loaded, node: Node, steps: tuple[str, ...] | None = None) -> str:
        """Write whether a value fits its declared type; returns the value to send.

        A value at `steps` is sent with what holds it: a date is changed there.

        Raises:
            UntypedError: The value at `steps` could have to be another.
        """
        declared, value, code = node.declared, loaded.variable, self._code
        if declared is None:
            return value
        present = f"{value} is not None"
        if loaded.is_sure(ALWAYS_FIT.get(declared, frozenset())) or (
            loaded.is_sure({"array"})
            and loaded.elements
            and loaded.elements <= ALWAYS_FIT.get(declared[:-1], set())
        ):
            self._note(node, present if "null" in loaded.kinds else "True")
            return value
        place = None if steps is None else self._place(loaded, node, steps)
        undeclared = f"undeclared.append({node.path!r})"
        if declared == "date" and loaded.is_sure({"string"}):
            check = self._layout.check(loaded, are_moments)
            fits = code.let("fits", present)
            if place is None:
                value = code.let(node.name, value)
            with code.block(f"if {fits} and not {check}:" if check else f"if {fits}:"):
                moment = code.let("moment", self._called("moment_of", moment_of, loaded.variable))
                with code.block(f"if {moment} is None:"):
                    code.line(f"{fits} = False")
                    code.line(undeclared)
                with code.block("else:"):
                    code.line(f"{place or value} = {moment}")
        else:
            call = self._called("fitting", fitting, repr(declared), value)
            value, kind = code.variable(node.name), code.variable("kind")
            code.line(f"{value}, {kind} = {call}")
            fits = f"{kind} is not None"
            with code.block(f"if {kind} is None and {value} is not None:"):
                code.line(undeclared)
            if place is not None and declared.startswith("date"):
                with code.block(f"if {fits}:"):
                    code.line(f"{place} = {value}")
        self._note(node, fits)
        return value

    def _place(self, loaded: Loaded, node: Node, steps: tuple[str, ...]) -> str:
        """Where a value is that is sent with what holds it."""
        other = self._changed.setdefault(steps, node.declared or "")
        unchanged = self._is_sure(loaded.kinds, loaded.elements, node)
        if loaded.type is None or other != node.declared or not unchanged:
            raise UntypedError
        return f"{self._layout.load(Column(steps[:-1])).variable}.{loaded.type.attribute}"

    def _called(self, name: str, function: Any, *arguments: str) -> str:
        """The call of a function that takes the time zone of dates last."""
        zone = () if self._plan.zone is None else (self._code.know("zone", self._plan.zone),)
        return f"{self._code.know(name, function)}({', '.join((*arguments, *zone))})"

    def _note(self, node: Node, fits: str) -> None:
        """Note by which expression a property's type is declared."""
        if not node.silent:
            self._declared.append((node.path, str(node.declared), fits))

    def _schema(self) -> str:
        if not self._declared:
            return "None"
        schemas = Schemas([(path, kind) for path, kind, _ in self._declared])
        every = schemas[(True,) * len(self._declared)]
        known = self._code.know("schemas", schemas)
        tests = [fits for *_, fits in self._declared if fits != "True"]
        full = self._code.know("full_schema", every)
        if not tests:
            return full
        fits = "".join(f"{fits}, " for *_, fits in self._declared)
        return f"{full} if {' and '.join(tests)} else {known}[{fits}]"


def _is_sent_as_decoded(node: Node, part: RecordType) -> bool:
    """Whether a decoded object is the object that is sent."""
    nodes = {} if node.scope is None else node.scope.nodes
    if [name for name in nodes if name in part.columns] != list(part.columns):
        return False
    return all(
        nodes[name].name == name and (column.part is None or _is_sent_as_decoded(nodes[name], column.part))
        for name, column in part.columns.items()
    )
