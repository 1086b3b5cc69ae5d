"""The source of one function, as it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any


class FunctionSource:
    """Lines of a function, and the objects that they name."""

    def __init__(self, head: str) -> None:
        """Begin the function."""
        self._name = head.removeprefix("def ").partition("(")[0]
        self._lines = [head]
        self._depth = 1
        self._known: dict[str, Any] = {"isfinite": isfinite}
        self._count = 0
        self._mark = 0

    def line(self, text: str) -> None:
        """Write a line."""
        self._lines.append(f"{'    ' * self._depth}{text}")

    def mark(self) -> None:
        """Remember this place in the function's outermost block."""
        self._mark = len(self._lines)

    def before(self, text: str) -> None:
        """Write a line at the place that is marked."""
        self._lines.insert(self._mark, f"    {text}")
        self._mark += 1

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a line and, within the context, what it holds."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def know(self, name: str, value: Any) -> str:
        """Let the function name an object; returns the name."""
        if self._known.setdefault(name, value) is not value:
            name = self.variable(name)
            self._known[name] = value
        return name

    def variable(self, hint: str) -> str:
        """A name that stands for nothing else, made of a column's or a field's."""
        self._count += 1
        plain = re.sub(r"[^a-zA-Z0-9]+", "_", hint).strip("_").lower()
        return f"{plain}_{self._count}" if plain[:1].isalpha() else f"v_{plain}_{self._count}"

    def let(self, hint: str, expression: str) -> str:
        """Write an assignment; returns the variable."""
        name = self.variable(hint)
        self.line(f"{name} = {expression}")
        return name

    @property
    def text(self) -> str:
        """The source."""
        return "\n".join(self._lines) + "\n"

    def compile(self) -> Callable[..., Any]:
        """The function."""
        namespace = dict(self._known)
        exec(compile(self.text, "<mapping>", "exec"), namespace)  # noqa: S102 - our own code
        made: Callable[..., Any] = namespace[self._name]
        return made
