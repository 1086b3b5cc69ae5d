"""How generated code loads a column: from the Struct that a line was decoded to, or from a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from target_fullstory.mapping.plan.schema_shapes import schema_at, shape_of
from target_fullstory.mapping.plan.sources import (
    MISSING,
    Column,
    Const,
    Source,
    Template,
    columns_in,
    with_columns,
)
from target_fullstory.mapping.program.function_writer import FunctionSource
from target_fullstory.mapping.program.record_type import RecordType, TypedColumn
from target_fullstory.mapping.rules.destinations import Inline
from target_fullstory.mapping.rules.property_values import INT64_MAX, INT64_MIN, encodable

_SURE: dict[str, str] = {}
_OF_THE_TYPE = {"string": "type({v}) is str"}
_UNSURE = {
    "string": "type({v}) is str and {v}.isascii()",
    "integer": f"type({{v}}) is int and {INT64_MIN} <= {{v}} <= {INT64_MAX}",
    "number": "type({v}) is float and isfinite({v})",
    "boolean": "type({v}) is bool",
}
"""By JSON type, the test of a value of which nothing is known."""


class Loaded(msgspec.Struct, frozen=True):
    """A value in a variable."""

    variable: str  # its name
    kinds: frozenset[str]  # the JSON types that it may have or, where `tests` has them, that are worth a test
    # By JSON type, the test that the value is of it, and such as JSON and UTF-8 can hold.
    tests: dict[str, str]
    elements: frozenset[str] = frozenset()  # the JSON types of an array's elements, where they are sure
    type: TypedColumn | None = None  # what has been decoded; None for a value of a dictionary

    def is_sure(self, kinds: set[str] | frozenset[str]) -> bool:
        """Whether the value is of one of these types, or null."""
        return not self.tests and self.kinds - {"null"} <= kinds

    def taken(self, inline: Inline, otherwise: str) -> str:
        """An expression of what the value becomes: by its type, as `inline` has it, where its test passes.

        Else it is `otherwise`; null stays None.
        """
        variable, nullable = self.variable, "null" in self.kinds
        null = f"None if {variable} is None else " if nullable or self.tests else ""
        expression = ""
        for kind, (condition, becomes) in inline.items():
            if kind not in self.kinds:
                continue
            guard = self.tests.get(kind, "")
            if not self.tests and not self.is_sure({kind}):
                guard = f"type({{v}}) is {_PYTHON[kind]}"
            test = " and ".join(part for part in (guard, condition) if part).format(v=variable)
            result = becomes.format(v=variable)
            if not test:
                return result if result == variable else null + result
            expression += f"{result} if {test} else "
        # Where tests look at the type they come first: most values pass them.
        return (expression + null if self.tests else null + expression) + otherwise


_PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


class Layout(Protocol):
    """Loads columns and other sources."""

    code: FunctionSource

    def load(self, column: Column) -> Loaded:
        """Write what loads a column, unless it is loaded; null and absent are None."""

    def check(self, loaded: Loaded, test: Callable[[list[str | None]], bool]) -> str | None:
        """The variable that says whether a text's whole column passes a test; None where there is none."""


def load(layout: Layout, source: Source) -> Loaded:
    """Write what loads a value of any source; None for none."""
    if isinstance(source, Column):
        return layout.load(source)
    code = layout.code
    if isinstance(source, Const):
        return Loaded(code.know("constant", source.value), frozenset({"any"}), _UNSURE)
    columns = list(dict.fromkeys(columns_in(source)))
    values = "".join(f"{layout.load(column).variable}, " for column in columns)
    placed = with_columns(source, lambda column: _Place(columns.index(column)))
    slow = f"{code.know('read', placed.read)}(({values}))"
    fast = _joined(layout, source) if isinstance(source, Template) else None
    name = code.let("made", slow if fast is None else f"{fast} else {slow}")
    missing = code.know("MISSING", MISSING)
    code.line(f"if {name} is {missing}: {name} = None")
    if not isinstance(source, Template):
        return Loaded(name, frozenset({"any"}), _UNSURE)
    sure = all(encodable(part) for part in source.parts if isinstance(part, str))
    return Loaded(name, frozenset({"string", "null"}), _OF_THE_TYPE if sure else _UNSURE)


class _Place(msgspec.Struct, frozen=True):
    """A column among values that are loaded."""

    index: int

    def read(self, values: tuple[Any, ...]) -> Any:
        return values[self.index]


def _joined(layout: Layout, template: Template) -> str | None:
    """A template's text where each of its columns is present, and text or a whole number."""
    pieces, tests = "", []
    for part in template.parts:
        if isinstance(part, str):
            pieces += part.replace("{", "{{").replace("}", "}}")
            continue
        if not isinstance(part, Column):
            return None
        loaded = layout.load(part)
        kinds = loaded.kinds - {"null"}
        if kinds not in ({"string"}, {"integer"}):
            return None
        (kind,) = kinds
        guard = loaded.tests.get(kind, "").format(v=loaded.variable)
        present = loaded.variable if kind == "string" else f"{loaded.variable} is not None"
        tests.append(f"{guard} and {present}" if guard and kind == "string" else guard or present)
        pieces += f"{{{loaded.variable}}}"
    return f"f{pieces!r} if {' and '.join(tests)}"


class StructLayout:
    """Loads from the Struct of typed decoding, whose values need no test."""

    def __init__(self, code: FunctionSource, types: RecordType) -> None:
        """Load from the variable `record`."""
        self.code = code
        self.types = types
        record = Loaded("record", frozenset({"object"}), _SURE)
        self._loaded: dict[tuple[str, ...], Loaded] = {(): record}

    def load(self, column: Column) -> Loaded:
        """Write what loads a column, unless it is loaded."""
        return self._load(column.steps)

    def _load(self, steps: tuple[str, ...]) -> Loaded:
        if steps not in self._loaded:
            self._loaded[steps] = self._loaded_within(self._load(steps[:-1]), steps)
        return self._loaded[steps]

    def _loaded_within(self, holder: Loaded, steps: tuple[str, ...]) -> Loaded:
        step, variable = steps[-1], holder.variable
        items = holder.type.items if holder.type else None
        if items is not None:
            # One that lacks is as good as null.
            test = f"{variable} is None or len({variable}) <= {int(step)}"
            name = self.code.let(step, f"None if {test} else {variable}[{int(step)}]")
            return Loaded(name, items.kinds | {"null"}, _SURE, items.elements, items)
        part = self.types if len(steps) == 1 else holder.type.part if holder.type else None
        found = part.columns.get(step) if part else None
        if part is None or found is None:
            return Loaded("None", frozenset({"null"}), _SURE)
        access, kinds = f"{variable}.{found.attribute}", found.kinds
        if "null" in holder.kinds or step not in part.required:
            kinds |= {"null"}
        if "null" in holder.kinds:
            access = f"None if {variable} is None else {access}"
        return Loaded(self.code.let(step, access), kinds, _SURE, found.elements, found)

    def check(self, loaded: Loaded, test: Callable[[list[str | None]], bool]) -> str | None:
        """Write, before the loop, whether a text's column passes a test; None for what is no column."""
        top = any(one is loaded.type for one in self.types.columns.values())
        if loaded.type is None or not top or not loaded.is_sure({"string"}):
            return None
        values = f"[one.{loaded.type.attribute} for one in records]"
        name = self.code.variable("all")
        self.code.before(f"{name} = {self.code.know(test.__name__, test)}({values})")
        return name


class DictLayout:
    """Loads from a dictionary; the SCHEMA says what a value most likely is."""

    def __init__(self, code: FunctionSource, schema: Any) -> None:
        """Load from the variable `record`, and from its `get` of that name."""
        self.code = code
        self._shape = shape_of(schema)
        self._variables: dict[tuple[str, ...], str] = {}

    def load(self, column: Column) -> Loaded:
        """Write what loads a column, unless it is loaded."""
        return Loaded(self._variable(column), frozenset({*self.tests_of(column), "null"}), _UNSURE)

    def tests_of(self, column: Column) -> dict[str, str]:
        """The tests of what the SCHEMA says that the column is."""
        types = shape_of(schema_at(self._shape, column.steps)).types
        if "number" in types:
            types |= {"integer"}
        return {kind: test for kind, test in _UNSURE.items() if kind in types}

    def _variable(self, column: Column) -> str:
        steps = column.steps
        if steps not in self._variables:
            self._variables[steps] = self._load(column)
        return self._variables[steps]

    def _load(self, column: Column) -> str:
        key = column.steps[-1]
        if column.keys is None:
            name = self.code.let(key, f"{self.code.know('read', column.read)}(record)")
            self.code.line(f"if {name} is {self.code.know('MISSING', MISSING)}: {name} = None")
            return name
        if len(column.steps) == 1:
            return self.code.let(key, f"get({key!r})")
        holder = self._variable(Column(column.steps[:-1]))
        return self.code.let(key, f"{holder}.get({key!r}) if type({holder}) is dict else None")

    def check(self, loaded: Loaded, test: Callable[[list[str | None]], bool]) -> None:
        """None: a dictionary comes alone."""
