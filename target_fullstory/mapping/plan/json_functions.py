"""The language of the `json` form, that of Fullstory's Streams: literals and calls of functions.

A list whose first item names a function is a call; anything else is a literal; calls nest.
"""

from __future__ import annotations

from datetime import tzinfo
from difflib import get_close_matches
from typing import Any, Final, NoReturn

from target_fullstory.errors import config_error, did_you_mean
from target_fullstory.mapping.plan.schema_shapes import Shape
from target_fullstory.mapping.plan.sources import (
    Column,
    Const,
    Conversion,
    Converted,
    ListOf,
    ObjectOf,
    Source,
    Template,
    UnixSeconds,
)
from target_fullstory.mapping.plan.written_sources import find_column
from target_fullstory.mapping.rules.casts import Cast
from target_fullstory.mapping.rules.property_values import LEFT_OUT, text_of
from target_fullstory.mapping.rules.timestamps import unix_seconds_of

_CASTS: Final = {
    name: Conversion(cast=Cast(kind, each=name.endswith("s"), joined=kind == "str"))
    for kind, names in {
        "str": ("asString", "asStrings"),
        "real": ("asNumber", "asNumbers"),
        "bool": ("asBool", "asBools"),
    }.items()
    for name in names
}

FUNCTIONS: Final = ("var", "concat", "list", "toUnixTimestamp", *_CASTS)
"""The language's functions."""

_ANYTHING = Shape()
"""A SCHEMA that names no columns: any may be there."""


def compile_template(
    stream: str, key: str, template: Any, shape: Shape = _ANYTHING, zone: tzinfo | None = None
) -> Source:
    """Makes one source of a template; what is the same for every record becomes a constant.

    `zone` is that of moments without one. A null is as if it were not written, for Meltano passes none on.

    Raises:
        ConfigurationError: An unknown function, arguments a function cannot take, a column that the
            SCHEMA lacks. The message names the key and the nearest valid name.
    """
    try:
        return _Compiler(stream, shape, zone).any(key, template)
    except RecursionError:
        raise config_error(stream, key, "the template is nested too deeply") from None


def compile_value(
    stream: str, key: str, template: Any, shape: Shape = _ANYTHING, zone: tzinfo | None = None
) -> Source:
    """Makes one source of a template that stands where neither a list nor an object can.

    A list that is no call is a mistake here: most likely a misspelt function.
    """
    return _Compiler(stream, shape, zone).plain(key, template)


class _Compiler:
    """Compiles the templates of one stream."""

    def __init__(self, stream: str, shape: Shape, zone: tzinfo | None) -> None:
        self._stream = stream
        self._shape = shape
        self._zone = zone

    def any(self, key: str, template: Any) -> Source:
        """A template where any value may stand."""
        if isinstance(template, dict):
            members = tuple(
                (name, self.any(f"{key}.{name}", inner))
                for name, inner in template.items()
                if inner is not None
            )
            if all(isinstance(source, Const) for _, source in members):
                return Const(ObjectOf(members).read({}))
            return ObjectOf(members)
        if isinstance(template, list):
            if is_call(template):
                return self._call(key, template)
            return self._list(key, template)
        return Const(template)

    def plain(self, key: str, template: Any) -> Source:
        """A template where neither a list nor an object may stand."""
        if isinstance(template, list) and not is_call(template):
            if template and isinstance(template[0], str):
                self._fail(key, _unknown(template[0]))
            self._fail(key, "neither a list nor an object can stand here")
        source = self.any(key, template)
        value = source.value if isinstance(source, Const) else None
        lists = isinstance(source, Converted) and source.by.cast is not None and source.by.cast.each
        if lists or isinstance(source, (ListOf, ObjectOf)) or isinstance(value, (list, dict)):
            self._fail(key, "neither a list nor an object can stand here")
        return source

    def _list(self, key: str, template: list[Any]) -> Source:
        """A list that is no call."""
        items = self._items(key, template, 0)
        source = _list_of(items)
        name = template[0] if template else None
        if isinstance(name, str) and (not isinstance(source, Const) or _nearly_a_function(name)):
            # By Streams' rule a literal list, but hardly meant as one: text and then calls.
            self._fail(key, _unknown(name, " (a list of values is ['list', …])"))
        return source

    def _items(self, key: str, items: list[Any], first: int) -> tuple[Source, ...]:
        return tuple(
            self.any(f"{key}.{index}", item)
            for index, item in enumerate(items[first:], first)
            if item is not None
        )

    def _call(self, key: str, call: list[Any]) -> Source:
        function, *arguments = call
        if function == "list":
            return _list_of(self._items(key, call, 1))
        if function == "concat":
            return self._concat(key, arguments)
        if len(arguments) != 1:
            self._fail(key, f"{function} takes one argument, this has {len(arguments)}")
        if function == "var":
            return self._var(key, arguments[0])
        if function in _CASTS:
            return self._cast(key, _CASTS[function], arguments[0])
        return self._unix_seconds(key, arguments[0])

    def _var(self, key: str, path: Any) -> Column:
        if not isinstance(path, str) or not path:
            self._fail(key, "var takes the path of a column, such as ['var', 'contact.email']")
        return find_column(self._stream, key, self._shape, path)

    def _cast(self, key: str, by: Conversion, argument: Any) -> Source:
        source = self.any(f"{key}.1", argument)
        if isinstance(source, ObjectOf):
            self._fail(f"{key}.1", "an object of the template cannot stand here")
        if not isinstance(source, Const):
            return Converted(source, by)
        value = by.apply(source.value)
        if value is LEFT_OUT:
            self._fail(f"{key}.1", f"{source.value!r:.80} cannot be cast")
        return Const(value)

    def _concat(self, key: str, arguments: list[Any]) -> Source:
        if not arguments:
            self._fail(key, "concat takes at least one argument")
        parts: list[str | Column | UnixSeconds | Converted] = []
        for index, argument in enumerate(arguments, 1):
            source = self.plain(f"{key}.{index}", argument)
            if isinstance(source, Template):
                parts += source.parts
            elif isinstance(source, (Column, UnixSeconds, Converted)):
                parts.append(source)
            elif isinstance(source, Const):
                parts.append(self._literal(f"{key}.{index}", source.value))
        return _template_of(parts)

    def _literal(self, key: str, value: Any) -> str:
        text = "" if value == "" else text_of(value)
        if text is None:
            shown = "null" if value is None else repr(value)
            self._fail(key, f"{shown} cannot be written as text")
        return text

    def _unix_seconds(self, key: str, argument: Any) -> Source:
        source = self.plain(f"{key}.1", argument)
        if isinstance(source, (Column, Template, Converted)):
            return UnixSeconds(source, zone=self._zone)
        # What is in seconds already stays so: a distant year would be taken for milliseconds.
        if isinstance(source, Const) and not is_call(argument, "toUnixTimestamp"):
            seconds = unix_seconds_of(source.value, self._zone)
            if seconds is None:
                problem = f"{source.value!r} is neither ISO 8601 nor Unix seconds or milliseconds"
                self._fail(f"{key}.1", problem)
            return Const(seconds)
        return source

    def _fail(self, key: str, problem: str) -> NoReturn:
        raise config_error(self._stream, key, problem)


def is_call(template: Any, *functions: str) -> bool:
    """Whether a template is a call, of one of these functions where some are given."""
    if not isinstance(template, list) or not template or not isinstance(template[0], str):
        return False
    return template[0] in (functions or FUNCTIONS)


def _unknown(name: str, remedy: str = "") -> str:
    return f"unknown function {name[:60]!r}{remedy}{did_you_mean(name, FUNCTIONS)}"


def _nearly_a_function(name: str) -> bool:
    """Whether text can hardly be meant as anything but a function's name."""
    letters = "".join(character for character in name.casefold() if character.isalpha())
    return bool(get_close_matches(letters, [known.casefold() for known in FUNCTIONS], 1, 0.9))


def _list_of(items: tuple[Source, ...]) -> Source:
    made = ListOf(items)
    return Const(made.read({})) if all(isinstance(item, Const) for item in items) else made


def _template_of(parts: list[str | Column | UnixSeconds | Converted]) -> Source:
    """A template without empty texts, neighbouring ones joined."""
    joined: list[str | Column | UnixSeconds | Converted] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    if all(isinstance(part, str) for part in joined):
        return Const("".join(map(str, joined)))
    return Template(tuple(joined))
