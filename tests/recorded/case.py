"""A case: settings and the tap's lines; and what its makers share."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One run of the target.

    Attributes:
        name: Its family and its own name, `family/name`.
        settings: The configuration; `replay` adds the address, the key and so on.
        lines: The input.
        files: Files beside the input, by name, those named `.gz` yet to be compressed; `@FILES@` in a line is
            their directory.
        piece: Bytes of the input that can be read at a time.
        limit: Body size above which Fullstory answers 413; None for none.
        role: The role of the API key.
    """

    name: str
    settings: Json
    lines: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    piece: int = 1 << 18
    limit: int | None = None
    role: str = "ARCHITECT"

    @property
    def ordered(self) -> bool:
        """Whether requests come in an order of their own: one at a time."""
        return bool(self.settings.get("concurrency", 1) == 1)

    @property
    def records(self) -> int:
        """How many records it has, those in files aside."""
        return sum('"RECORD"' in line for line in self.lines)

    @property
    def digest(self) -> str:
        """Tells whether the case is still the one that was recorded."""
        files = {name: content.hex() for name, content in self.files.items()}
        parts = [self.settings, self.lines, files, self.piece, self.limit, self.role]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Dice:
    """A seeded source of choices that uses `random()` alone: the same on every Python version."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self._random() * limit)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some(self, options: Iterable[T], most: int) -> list[T]:
        """Up to so many different ones of the options, in any order."""
        left = list(options)
        count = min(self.below(most + 1), len(left))
        return [left.pop(self.below(len(left))) for _ in range(count)]


# Singer messages

_FORMATS = {"date", "date-time", "time"}


def column(kind: Any) -> Any:
    """A column's schema: a whole one, a type's or a format's name (nullable), `any`, or `name!` (no null)."""
    if not isinstance(kind, str):
        return kind
    name = kind.rstrip("!")
    if name == "any":
        return {}
    types = "string" if name in _FORMATS else name
    schema: Json = {"type": types if kind.endswith("!") else ["null", types]}
    return schema | ({"format": name} if name in _FORMATS else {})


def schema(stream: str, columns: Json, keys: Sequence[str] = ("id",), **more: Any) -> str:
    """A SCHEMA line."""
    properties = {name: column(kind) for name, kind in columns.items()}
    message = {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties, **more},
        "key_properties": list(keys),
    }
    return json.dumps(message)


def record(stream: str, columns: Json, **more: Any) -> str:
    """A RECORD line."""
    return json.dumps({"type": "RECORD", "stream": stream, "record": columns, **more})


def state(number: int = 1) -> str:
    """A STATE line."""
    return json.dumps({"type": "STATE", "value": {"bookmarks": {"all": {"at": number}}}})


def table(stream: str, columns: Json, rows: Iterable[Json], keys: Sequence[str] = ("id",)) -> list[str]:
    """A stream's SCHEMA and its RECORDs."""
    return [schema(stream, columns, keys), *(record(stream, row) for row in rows)]


def numbered(rows: Iterable[Json], first: int = 1) -> list[Json]:
    """Rows with an `id` each."""
    return [{"id": number, **row} for number, row in enumerate(rows, first)]


SLOW: Json = {"max_events": 1_000_000}
"""A setting that keeps streams from the fast path, and changes no request by itself."""


_FEW = 45


def both_paths(name: str, streams: Json, lines: list[str], **settings: Any) -> list[Case]:
    """A load on the fast path, in single requests where it is small, and the same on the slow path."""
    common = {"streams": streams} | settings
    lines = [*lines, state()]
    delivery = "single" if len(lines) < _FEW else "batch"
    return [
        Case(f"{name}, fast", {"delivery": delivery} | common, lines, piece=8192),
        Case(f"{name}, slow", {"delivery": "batch"} | SLOW | common, lines),
    ]
