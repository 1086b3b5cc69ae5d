"""Bodies of calls, made of a record's columns as they are."""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.mapping.plan.schema_shapes import MAX_DEPTH
from target_fullstory.mapping.plan.sources import MISSING, Column, ListOf, ObjectOf, Source
from target_fullstory.mapping.rules.property_values import LEFT_OUT, encodable, scalar_of


class ColumnBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body of columns: those chosen, or all that remain."""

    # The keys that lead to a value's place in the body, and where it comes from.
    chosen: tuple[tuple[tuple[str, ...], Source], ...]
    # Columns that are no members of the body; None where only the chosen ones are.
    used: frozenset[str] | None
    excluded: frozenset[tuple[str, ...]]  # the keys that lead to what is not sent of a column
    send_nulls: bool  # whether a column that is null is sent; within objects and lists nulls stay

    def read(self, record: dict[str, Any], dropped: list[str]) -> dict[str, Any]:
        """The body of a record."""
        body: dict[str, Any] = {}
        for place, source in self.chosen:
            steps = source.steps if isinstance(source, Column) else place
            self._put(body, place, steps, source.read(record), dropped)
        if self.used is not None:
            for name, value in record.items():
                if name not in self.used and not name.startswith("_sdc_"):
                    self._put(body, (name,), (name,), value, dropped)
        return body

    def _put(
        self,
        body: dict[str, Any],
        place: tuple[str, ...],
        steps: tuple[str, ...],
        value: Any,
        dropped: list[str],
    ) -> None:
        if value is MISSING or (value is None and not self.send_nulls):
            return
        kept = _kept(value, steps, self.excluded, dropped)
        if kept is LEFT_OUT:
            return
        *parents, last = place
        node = body
        for step in parents:
            node = node.setdefault(step, {})
        node[last] = kept


class TemplateBody(msgspec.Struct, frozen=True):
    """A body made by a template, without what JSON cannot hold.

    Objects and lists of the template lose the members that are absent or null; what a column holds is passed
    on as it is.
    """

    source: Source

    def read(self, record: dict[str, Any], dropped: list[str]) -> Any:
        """The body of a record, `MISSING` for none."""
        body = _value(self.source, record, "", dropped)
        kept = body if body is MISSING else _kept(body, (), frozenset(), dropped)
        return MISSING if kept is LEFT_OUT else kept


def _value(source: Source, record: dict[str, Any], name: str, dropped: list[str]) -> Any:
    """A template's value, without what could not be made, such as a timestamp that is none."""
    prefix = f"{name}." if name else ""
    if isinstance(source, ObjectOf):
        members = [(key, _value(inner, record, f"{prefix}{key}", dropped)) for key, inner in source.members]
        return {key: value for key, value in members if value is not MISSING}
    if isinstance(source, ListOf):
        items = [
            _value(inner, record, f"{prefix}{index}", dropped) for index, inner in enumerate(source.items)
        ]
        return [item for item in items if item is not MISSING]
    value = source.read(record)
    if value is LEFT_OUT:
        dropped.append(name)
        return MISSING
    return MISSING if value is None else value


def _kept(
    value: Any, steps: tuple[str, ...], excluded: frozenset[tuple[str, ...]], dropped: list[str]
) -> Any:
    """A value without what JSON cannot hold; `LEFT_OUT` where nothing of it can be sent."""
    if len(steps) > MAX_DEPTH or (steps and not encodable(steps[-1])):
        dropped.append(_name(steps))
        return LEFT_OUT
    if value is None:
        return None
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for key, inner in value.items():
            path = (*steps, str(key))
            if path in excluded:
                continue
            kept = _kept(inner, path, excluded, dropped)
            if kept is not LEFT_OUT:
                members[str(key)] = kept
        return members
    if isinstance(value, (list, tuple)):
        # An item that is left out would move those behind it: the list goes as a whole.
        unusable: list[str] = []
        items = [_kept(item, (*steps, "*"), excluded, unusable) for item in value]
        if not unusable:
            return items
    else:
        kept = scalar_of(value)
        if kept is not LEFT_OUT:
            return kept
    dropped.append(_name(steps))
    return LEFT_OUT


def _name(steps: tuple[str, ...]) -> str:
    """Where a value was, in text that UTF-8 can hold."""
    return ".".join(steps).encode("utf-8", "replace").decode()
