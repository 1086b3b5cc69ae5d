"""Writes the code that makes properties of a Struct that a line was decoded to.

Its values are within a property's limits: what is asked is only whether they fit their declared types.
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
from target_fullstory.mapping.rules.declared_types import ALWAYS_FIT, are_iso_8601, fitting, is_iso_8601
from target_fullstory.mapping.rules.destinations import Inline
from target_fullstory.mapping.rules.property_values import LEFT_OUT, MAX_VALUE_BYTES, leaf_of

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

    def emit(self) -> str:
        """Write what makes the properties of a record, last of all: the record may be used up by it.

        Returns:
            The arguments `properties` and `schema` of a request.
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
            self._note_declared(self._layout.load(source), node, source.steps)
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
            loaded = self._layout.load(source)
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
            value = loaded.taken(
                {"string": (f"len({{v}}) <= {MAX_VALUE_BYTES // 4}", "{v}")},
                f"{leaf}({loaded.variable}, dropped)",
            )
            loaded = Loaded(self._code.let(node.name, value), frozenset({"any"}), {"any": ""})
        return self._declare(loaded, node)

    def _constant(self, value: Any, node: Node) -> str:
        value, fitted = fitting(node.declared, leaf_of(value))
        if fitted is not None:
            self._declared.append((node.path, fitted, "True"))
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
                self._declare(loaded, node, fixed=True)
            return
        for column, child in (node.scope.nodes if node.scope else {}).items():
            inner = (*steps, column)
            if column in part.columns and any(one.declared for one in child.all_nodes()):
                self._note_declared(self._layout.load(Column(inner)), child, inner)

    def _declare(self, loaded: Loaded, node: Node, *, fixed: bool = False) -> str:
        """Write whether a value fits its declared type; returns the value to send.

        Raises:
            UntypedError: The value is sent as it is (`fixed`), but could have to be another.
        """
        declared, value = node.declared, loaded.variable
        if declared is None:
            return value
        present = f"{value} is not None"
        if loaded.is_sure(ALWAYS_FIT.get(declared, frozenset())) or (
            loaded.is_sure({"array"})
            and loaded.elements
            and loaded.elements <= ALWAYS_FIT.get(declared[:-1], set())
        ):
            fits = present if "null" in loaded.kinds else "True"
        elif declared == "date" and loaded.is_sure({"string"}):
            test = f"{self._code.know('is_iso_8601', is_iso_8601)}({value})"
            check = self._layout.check(loaded, are_iso_8601)
            fits = f"{present} and ({check} or {test})" if check else f"{present} and {test}"
        else:
            if fixed and not self._is_sure(loaded.kinds, loaded.elements, node):
                raise UntypedError
            fit = self._code.know("fitting", fitting)
            value, kind = self._code.variable(node.name), self._code.variable("kind")
            self._code.line(f"{value}, {kind} = {fit}({declared!r}, {loaded.variable})")
            fits = f"{kind} is not None"
        self._declared.append((node.path, declared, fits))
        return value

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
