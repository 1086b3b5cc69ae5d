"""A tap's SCHEMA, made valid JSON Schema of draft 2020-12.

Older drafts are translated. What cannot be right is replaced by what the tap plainly meant, or left out: no
record is rejected for it. Keywords that neither validation nor mapping knows are left out as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from target_fullstory.schemas.flaws import Flaw
from target_fullstory.schemas.older_drafts import in_draft_2020
from target_fullstory.schemas.record_validation import compiled
from target_fullstory.schemas.references import NOWHERE, References
from target_fullstory.schemas.regular_expressions import usable
from target_fullstory.schemas.violations import inside


def repaired(schema: dict[str, Any]) -> tuple[dict[str, Any], list[Flaw]]:
    """A SCHEMA that is valid and has `properties`, and what was wrong; the argument stays as it is."""
    repair = _Repair(schema)
    made = repair.root(schema)
    return _compilable(made, repair.flaws), list(dict.fromkeys(repair.flaws))


_TYPES = ("string", "integer", "number", "boolean", "null", "object", "array")
_ONE = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems"}
    | {"unevaluatedProperties", "not", "if", "then", "else"}
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_COUNTS = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
    | {"minContains", "maxContains"}
)
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_LEFT_OUT = object()
# More than a double tells apart: such a step is met by every number.
_SMALLEST_STEP = 1e-15
_LARGEST_COUNT = 2**63 - 1
_DEEPEST = 100


class _Repair:
    def __init__(self, root: dict[str, Any]) -> None:
        self.flaws: list[Flaw] = []
        self._root = root
        self._references = References(root)
        # By the identity of what is referred to: its name under `$defs`.
        self._names: dict[int, str] = {}
        self._definitions: dict[str, Any] = {}
        self._rules: dict[str, Callable[[str, Any, str, int], Any]] = {
            **dict.fromkeys(_ONE, self._one),
            **dict.fromkeys(_LISTS, self._list),
            **dict.fromkeys(_NAMED, self._named),
            **dict.fromkeys(_LIMITS, self._limit),
            **dict.fromkeys(_COUNTS, self._count),
            "type": self._type,
            "enum": self._enum,
            "const": lambda keyword, value, column, depth: value,  # noqa: ARG005
            "required": self._required,
            "dependentRequired": self._dependent_required,
            "uniqueItems": self._flag,
            "format": self._text,
            "pattern": self._pattern,
        }

    def root(self, schema: dict[str, Any]) -> dict[str, Any]:
        reference = schema.get("$ref")
        if "properties" not in schema and isinstance(reference, str):
            target = self._references.target(reference)
            if isinstance(target, dict) and target is not schema:
                schema = {**target, **{name: schema[name] for name in schema if name != "$ref"}}
        made: dict[str, Any] = self._schema(schema, "", 0)
        types = made.get("type", "object")
        if types != "object" and "object" not in types:
            self._flaw("", f"its type is {types}")
            del made["type"]
        if "properties" not in made:
            self._flaw("", "it declares no columns")
            made["properties"] = {}
        if self._definitions:
            made["$defs"] = self._definitions
        return made

    def _flaw(self, column: str, problem: str) -> None:
        self.flaws.append(Flaw(column, problem))

    def _schema(self, schema: Any, column: str, depth: int) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            self._flaw(column, "its schema is not an object")
            return {}
        if depth > _DEEPEST:
            self._flaw(column, "it is nested too deeply")
            return {}
        made: dict[str, Any] = {}
        for keyword, value in in_draft_2020(schema, lambda problem: self._flaw(column, problem)).items():
            if keyword in _REFERENCES:
                if (reference := self._reference(keyword, value, column, depth)) is not None:
                    made["$ref"] = reference
            elif keyword in self._rules:
                before = len(self.flaws)
                repaired_value = self._rules[keyword](keyword, value, column, depth)
                if repaired_value is not _LEFT_OUT:
                    _put(made, keyword, repaired_value, flawed=len(self.flaws) > before)
        if column and depth and _is_relative(schema.get("$id")):
            self._flaw(column, "`$id` is relative")
        return made

    def _one(self, keyword: str, value: Any, column: str, depth: int) -> Any:
        path = {"items": f"{column}[]", "contains": f"{column}[]"}.get(keyword, column)
        return self._schema(value, path, depth + 1)

    def _list(self, keyword: str, value: Any, column: str, depth: int) -> Any:
        if not isinstance(value, list) or not value:
            self._flaw(column, f"`{keyword}` is not a list of schemas")
            return _LEFT_OUT
        path = f"{column}[]" if keyword == "prefixItems" else column
        return [self._schema(inner, path, depth + 1) for inner in value]

    def _named(self, keyword: str, value: Any, column: str, depth: int) -> Any:
        if not isinstance(value, dict):
            self._flaw(column, f"`{keyword}` is not an object")
            return _LEFT_OUT
        made: dict[str, Any] = {}
        for name, inner in value.items():
            known: str | None = name
            path = inside(column, name) if keyword == "properties" else column
            if keyword == "patternProperties":
                known = usable(name)
            elif not _is_unicode(name):
                known = None
            if known is None:
                self._flaw(path, f"a name in `{keyword}` cannot be read")
                continue
            schema = self._schema(inner, path, depth + 1)
            if keyword == "properties" and isinstance(schema, bool):
                # singer-sdk and mapping read a column's schema as an object.
                schema = {} if schema else {"not": {}}
            made[known] = schema
        return made

    def _limit(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        number = _number(value)
        if number is None or (keyword == "multipleOf" and number <= 0):
            self._flaw(column, f"`{keyword}` is not a number that it can be")
            return _LEFT_OUT
        if number is not value:
            self._flaw(column, f"`{keyword}` is not a number")
        return _LEFT_OUT if keyword == "multipleOf" and number < _SMALLEST_STEP else number

    def _count(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        number = _number(value)
        if number is None or not 0 <= number <= _LARGEST_COUNT or number != int(number):
            self._flaw(column, f"`{keyword}` is not a number that it can be")
            return _LEFT_OUT
        if isinstance(value, str):
            self._flaw(column, f"`{keyword}` is not a number")
        return int(number)

    def _type(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        if isinstance(value, str) and value in _TYPES:
            return value
        names: list[str] = []
        for written in value if isinstance(value, list) else [value]:
            inner = written.get("type") if isinstance(written, dict) and len(written) == 1 else written
            name = inner.casefold() if isinstance(inner, str) else ""
            if name not in _TYPES:
                self._flaw(column, "`type` is not one of JSON's, so that any value is taken")
                return _LEFT_OUT
            names.append(name)
        made = list(dict.fromkeys(names))
        if made != value or not made:
            self._flaw(column, "`type` is not written as it should be")
        return made or _LEFT_OUT

    def _enum(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        if not isinstance(value, list) or not value:
            self._flaw(column, f"`{keyword}` is not a list of values")
            return _LEFT_OUT
        return value

    def _required(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        if not isinstance(value, list):
            self._flaw(column, f"`{keyword}` is not a list of columns")
            return _LEFT_OUT
        names = list(dict.fromkeys(name for name in value if isinstance(name, str) and _is_unicode(name)))
        if names != value:
            self._flaw(column, f"`{keyword}` is not a list of columns, each once")
        return names

    def _dependent_required(self, keyword: str, value: Any, column: str, depth: int) -> Any:
        if not isinstance(value, dict):
            self._flaw(column, f"`{keyword}` is not an object")
            return _LEFT_OUT
        made = {name: self._required(keyword, names, column, depth) for name, names in value.items()}
        return {name: names for name, names in made.items() if names is not _LEFT_OUT and _is_unicode(name)}

    def _flag(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        if not isinstance(value, bool):
            self._flaw(column, f"`{keyword}` is not true or false")
            return _LEFT_OUT
        return value

    def _text(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        if not isinstance(value, str) or not _is_unicode(value):
            self._flaw(column, f"`{keyword}` is not text")
            return _LEFT_OUT
        return value

    def _pattern(self, keyword: str, value: Any, column: str, depth: int) -> Any:  # noqa: ARG002
        found = usable(value) if isinstance(value, str) else None
        if found is None:
            self._flaw(column, f"`{keyword}` is not a regular expression that can be checked")
            return _LEFT_OUT
        return found

    def _reference(self, keyword: str, value: Any, column: str, depth: int) -> str | None:
        target = self._references.target(value) if isinstance(value, str) else NOWHERE
        if not isinstance(target, dict | bool):
            self._flaw(column, f"`{keyword}` leads nowhere")
            return None
        if target is self._root:
            return "#"
        name = self._names.get(id(target))
        if name is None:
            name = self._names[id(target)] = f"{len(self._names)}"
            self._definitions[name] = {}
            self._definitions[name] = self._schema(target, column, depth + 1)
        return f"#/$defs/{name}"


def _put(made: dict[str, Any], keyword: str, value: Any, *, flawed: bool) -> None:
    """Add a keyword; what was left out below it must not make its schema stricter."""
    if flawed and keyword in ("not", "if"):
        return
    # A format is not checked, so that branches which differ by it alone would all fit.
    if keyword == "oneOf" and (
        flawed or any("format" in branch for branch in value if isinstance(branch, dict))
    ):
        keyword = "anyOf"
    if flawed and keyword == "patternProperties":
        made["additionalProperties"] = made["unevaluatedProperties"] = True
    if flawed and keyword == "contains":
        made["maxContains"] = _LARGEST_COUNT
    made.setdefault(keyword, value)


def _number(value: Any) -> int | float | None:
    """A number, also one that is written as text."""
    if isinstance(value, str) and len(value) < 30:
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _is_relative(address: Any) -> bool:
    return isinstance(address, str) and ":" not in address


def _is_unicode(text: str) -> bool:
    return text.encode("utf-8", "replace") == text.encode("utf-8", "surrogatepass")


def _compilable(schema: dict[str, Any], flaws: list[Flaw]) -> dict[str, Any]:
    """The schema, without what the validator refuses for all that."""
    if _compiles(schema):
        return schema
    parts = {name: schema[name] for name in ("$defs",) if name in schema}
    columns = dict(schema["properties"])
    for name, column in columns.items():
        if not _compiles({**parts, "properties": {name: column}}):
            flaws.append(Flaw(name, "its schema cannot be read"))
            columns[name] = {}
    made = {**schema, "properties": columns}
    if _compiles(made):
        return made
    flaws.append(Flaw("", "it cannot be read beyond its columns"))
    made = {**parts, "type": "object", "properties": columns}
    return made if _compiles(made) else {"type": "object", "properties": {name: {} for name in columns}}


def _compiles(schema: dict[str, Any]) -> bool:
    try:
        compiled(schema)
    except (ValueError, TypeError, RecursionError):
        return False
    return True
