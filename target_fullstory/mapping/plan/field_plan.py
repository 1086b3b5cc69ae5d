"""Fullstory's own fields of a request, read from a record."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.plan.sources import MISSING, Column, Source, key_of
from target_fullstory.mapping.rules.destinations import DESTINATIONS, Destination
from target_fullstory.mapping.rules.property_names import property_name
from target_fullstory.mapping.rules.rejection import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_fullstory.kinds import Kind


class Field(msgspec.Struct, frozen=True):
    """A destination and its source."""

    destination: Destination
    source: Source


class Run(msgspec.Struct, frozen=True):
    """Successive fields with neighbouring sources, found together.

    Attributes:
        parent: The keys that lead to the fields' object in the request, none for the request.
        holder: The object that has all of the sources; None where it is the record.
        fields: The fields, after what is needed of each: its source as a key of the holder (None
            where the source has to be asked), its last key in the request, its conversion.
    """

    parent: tuple[str, ...]
    holder: Column | None
    fields: tuple[tuple[str | None, str, Callable[[Any], Any], Field], ...]

    def read(self, record: dict[str, Any], request: dict[str, Any], dropped: list[str]) -> None:
        """Adds the fields to a request.

        Raises:
            Rejection: The record cannot go with one of the values, nor without it.
        """
        holder = record
        if self.holder is not None:
            holder = self.holder.read(record)
            if not isinstance(holder, dict):
                return
        node = None
        for key, last, convert, field in self.fields:
            raw = field.source.read(record) if key is None else holder.get(key)
            if raw is None or raw is MISSING:
                continue
            if not raw and isinstance(raw, str) and not field.destination.judges_empty:
                continue
            value = convert(raw)
            if value is None:
                dropped.append(field.destination.name)
                continue
            if node is None:
                node = request
                for step in self.parent:
                    node = node.setdefault(step, {})
            node[last] = value


def runs_of(fields: tuple[Field, ...]) -> tuple[Run, ...]:
    """Brings successive fields together that have their sources and places in the same objects."""
    runs = []
    for (parent, steps), run in groupby(fields, key=_places):
        keyed = tuple(
            (key_of(field.source), field.destination.path[-1], field.destination.convert, field)
            for field in run
        )
        runs.append(Run(parent, Column(steps) if steps else None, keyed))
    return tuple(runs)


def _places(field: Field) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where a field is in the request, and the keys that lead to the object of its source."""
    source = field.source
    steps = source.steps[:-1] if isinstance(source, Column) and key_of(source) is not None else ()
    return field.destination.path[:-1], steps


class Group(msgspec.Struct, frozen=True):
    """An object column that is a whole group of fields, such as `context`.

    Its known keys are fields of their own; this finds what else the object holds, which has no
    place in a request.

    Attributes:
        name: The group, such as `context`.
        column: The column.
        known: The keys that have a place, with theirs in turn.
        withheld: Dotted names under `exclude`: not sent, and not counted as left out.
    """

    name: str
    column: Column
    known: dict[str, Any]
    withheld: frozenset[str]

    def note_unknown(self, record: dict[str, Any], dropped: list[str]) -> None:
        """Adds the dotted names of what is left out to `dropped`."""
        value = self.column.read(record)
        unknown: list[str] = []
        if value is not MISSING:
            _note_unknown(self.name, value, self.known, unknown)
        dropped += [name for name in unknown if name not in self.withheld]


def group_of(
    kind: Kind, name: str, column: Column, exclude: Sequence[str] = ()
) -> tuple[Group, dict[str, Column]]:
    """Makes an object column the whole of a group of fields.

    Args:
        kind: What the records become.
        name: The group, such as `context` or `context.browser`.
        column: The column.
        exclude: Columns that are not sent, such as `context.browser.url`.

    Returns:
        The group, and the source of each of its fields.
    """
    known: dict[str, Any] = {}
    sources: dict[str, Column] = {}
    inner = len(name.split("."))
    for destination in DESTINATIONS[kind].values():
        if not destination.name.startswith(f"{name}."):
            continue
        # An application's own session id seldom matches: it has to be asked for.
        if destination.name == "session.uid":
            continue
        steps = (*column.steps, *destination.path[inner:])
        if any(
            ".".join(steps[:end]) in exclude for end in range(len(column.steps) + 1, len(steps) + 1)
        ):
            continue
        node = known
        for key in destination.path[inner:]:
            node = node.setdefault(key, {})
        sources[destination.name] = Column(steps)
    source = ".".join(column.steps)
    withheld = frozenset(
        name + path.removeprefix(source) for path in exclude if path.startswith(f"{source}.")
    )
    return Group(name, column, known, withheld), sources


def _note_unknown(name: str, value: Any, known: dict[str, Any], dropped: list[str]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        dropped.append(name)
        return
    for key, inner in value.items():
        deeper = known.get(key)
        if deeper:
            if type(inner) is dict and inner.keys() <= deeper.keys() and not any(deeper.values()):
                continue
            _note_unknown(f"{name}.{key}", inner, deeper, dropped)
        elif deeper is None and inner is not None:
            dropped.append(f"{name}.{property_name(str(key))}")


def user_request(
    runs: tuple[Run, ...], record: dict[str, Any], dropped: list[str]
) -> dict[str, Any]:
    """The fields of a user, `uid` or `id` among them.

    Raises:
        Rejection: Neither `uid` nor `id` has a value, or a text is too long.
    """
    request: dict[str, Any] = {}
    for run in runs:
        run.read(record, request, dropped)
    if "uid" not in request and "id" not in request:
        sought = " nor ".join(
            name
            for run in runs
            for *_, field in run.fields
            if (name := field.destination.name) in ("uid", "id")
        )
        message = f"the record has no usable {sought}: it is absent, null, empty or no plain value"
        raise Rejection("missing_uid", message)
    return request


def event_request(
    runs: tuple[Run, ...],
    groups: tuple[Group, ...],
    record: dict[str, Any],
    dropped: list[str],
) -> dict[str, Any]:
    """The fields of an event, identified in one way only.

    A session id stands alone; a session `uid` likewise, where there is no id. Else the user's `uid`
    goes before the user's `id`, with `use_most_recent` only where it is true. An event with neither
    is sent as it is.

    Raises:
        Rejection: There is no name, the timestamp is none, or a text is too long.
    """
    request: dict[str, Any] = {}
    for run in runs:
        run.read(record, request, dropped)
    for group in groups:
        group.note_unknown(record, dropped)
    if "name" not in request:
        message = "the event has no usable name: it is absent, null, empty or no plain value"
        raise Rejection("missing_name", message)
    return _identified_once(request)


def _identified_once(request: dict[str, Any]) -> dict[str, Any]:
    user = request.pop("user", None)
    session = request.pop("session", {})
    context = request.pop("context", None)
    for key in ("id", "uid"):
        if key in session:
            request["session"] = {key: session[key]}
            break
    else:
        if user is not None:
            key = "uid" if "uid" in user else "id"
            request["user"] = {key: user[key]}
            if session.get("use_most_recent"):
                request["session"] = {"use_most_recent": True}
    if context is not None:
        request["context"] = context
    return request
