"""The requests of many events at once, for the fast path."""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from target_fullstory.mapping.fast.columns import NotFastError, pull
from target_fullstory.mapping.fast.types import Record, Uncovered, Use
from target_fullstory.mapping.fast.values import Want
from target_fullstory.mapping.plan.property_planner import shape_at
from target_fullstory.mapping.plan.schema_shapes import Shape, is_index, shape_of
from target_fullstory.mapping.rules.destinations import DESTINATIONS, INT32_MAX, INT32_MIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_fullstory.mapping.fast.properties import FastProperties
    from target_fullstory.mapping.fast.sources import Reader
    from target_fullstory.mapping.fast.templates import TemplateProperties
    from target_fullstory.mapping.plan.field_plan import Group

_NONE = Want(types=frozenset())
_LONG = 2**31 - 1
_TEXT = Want(types=frozenset({"string"}), shortest=1, longest=_LONG)
_PIXELS = Want(types=frozenset({"integer"}), low=INT32_MIN, high=INT32_MAX)
_NUMBER = Want(types=frozenset({"number", "integer"}))


class EventRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """The request of an event, in Fullstory's names."""

    name: str
    timestamp: str | None = None
    user: Any = None
    session: Any = None
    context: Any = None
    properties: Any = None
    schema: Any = None


class _User(msgspec.Struct, omit_defaults=True, gc=False):
    uid: str | None = None
    id: str | None = None


class _Session(msgspec.Struct, omit_defaults=True, gc=False):
    id: str | None = None
    uid: str | None = None


_MOST_RECENT = msgspec.Raw(b'{"use_most_recent":true}')


def use_groups(groups: tuple[Group, ...], root: Use, shape: Shape) -> None:
    """Notes how object columns that are whole groups of fields use the SCHEMA's columns.

    Of keys that have no place in a request only null is fast. The context's object is sent as
    decoded: it takes only what needs no converting, in the order of the request.

    Raises:
        Uncovered: One of the objects may be an item of an array.
    """
    for group in groups:
        if any(map(is_index, group.column.steps[1:])):
            raise Uncovered
        use = root.at(group.column.steps, shape)
        _use_keys(group.name, use, group.known, shape_at(shape, group.column.steps))


def _use_keys(name: str, use: Use, known: dict[str, Any], shape: Shape) -> None:
    if shape.only != "object":
        use.take(_NONE)
        return
    as_decoded = name.partition(".")[0] == "context"
    if as_decoded:
        use.order = tuple(known)
    use.parts = use.parts or {}
    for column, schema in (shape.columns or {}).items():
        part = use.part(column)
        if column not in known:
            part.take(_NONE)
        elif known[column]:
            _use_keys(f"{name}.{column}", part, known[column], shape_of(schema))
        elif as_decoded:
            part.take(_as_decoded(f"{name}.{column}"))


def _as_decoded(name: str) -> Want:
    if DESTINATIONS["events"][name].text:
        return _TEXT
    return _PIXELS if name.startswith("context.device.") else _NUMBER


class EventRequests:
    """Makes the requests of events from the readers of their fields."""

    def __init__(
        self,
        readers: dict[str, Reader],
        groups: tuple[Group, ...],
        record: Record,
        properties: FastProperties | TemplateProperties,
    ) -> None:
        self._readers = readers
        self._properties = properties
        whole = [group for group in groups if group.name == "context"]
        self._contexts = _whole_contexts(whole[0], record) if whole else _made_contexts(readers)

    def make(self, records: list[Any]) -> tuple[list[EventRequest], bool]:
        """The requests, and whether all of them have a timestamp.

        Raises:
            NotFastError: One of the records needs care.
        """
        timestamps = self._column("timestamp", records)
        users, sessions = self._identities(records)
        fields = [self._readers["name"](records), timestamps or repeat(None), users, sessions]
        contexts = self._contexts(records)
        requests = list(map(EventRequest, *fields, contexts, *self._properties.read(records)))
        return requests, timestamps is not None and None not in timestamps

    def _column(self, name: str, records: list[Any]) -> list[Any] | None:
        read = self._readers.get(name)
        return None if read is None else read(records)

    def _identities(self, records: list[Any]) -> tuple[Iterable[Any], Iterable[Any]]:
        """The `user` and the `session` of each request."""
        uids, ids = self._column("user.uid", records), self._column("user.id", records)
        users = _users(uids, ids)
        sessions = self._recent(users, records)
        session_ids = self._column("session.id", records)
        session_uids = self._column("session.uid", records)
        if session_ids is None and session_uids is None:
            return users or repeat(None), sessions
        nothing = [None] * len(records)
        given = [
            None if sid is None and suid is None else _Session(sid, None if sid else suid)
            for sid, suid in zip(session_ids or nothing, session_uids or nothing, strict=True)
        ]
        if users is None:
            return repeat(None), given
        identities = [
            (user, recent) if session is None else (None, session)
            for session, user, recent in zip(given, users, sessions)  # noqa: B905 - may repeat
        ]
        return [user for user, _ in identities], [session for _, session in identities]

    def _recent(self, users: list[Any] | None, records: list[Any]) -> Iterable[Any]:
        flags = self._column("session.use_most_recent", records)
        if users is None or flags is None:
            return repeat(None)
        if all(flags) and None not in users:
            return repeat(_MOST_RECENT)
        return [
            _MOST_RECENT if flag and user is not None else None
            for flag, user in zip(flags, users, strict=True)
        ]


def _users(uids: list[Any] | None, ids: list[Any] | None) -> list[Any] | None:
    if uids is None and ids is None:
        return None
    if ids is None:
        return _made(_User, [uids or []])
    if uids is None:
        return [None if own is None else _User(None, own) for own in ids]
    return [
        None if uid is None and own is None else _User(uid, None if uid else own)
        for uid, own in zip(uids, ids, strict=True)
    ]


def _whole_contexts(group: Group, record: Record) -> Callable[[list[Any]], Iterable[Any]]:
    """Contexts that are an object column, as decoded."""
    found = record.find(group.column.steps)
    if found is None:
        return lambda _: repeat(None)
    path, part = found
    if part is None:
        return lambda _: repeat(None)
    read = pull(path)
    empty = _empty(part)
    inner = [
        (attrgetter(part.fields[column]), nothing)
        for column, child in part.parts.items()
        if (nothing := _empty(child)) is not None
    ]

    def contexts(records: list[Any]) -> Iterable[Any]:
        found = read(records)
        if empty is not None and empty in found:
            raise NotFastError
        present = found if None not in found else [one for one in found if one is not None]
        for get, nothing in inner:
            if nothing in map(get, present):
                raise NotFastError
        return found

    return contexts


def _empty(record: Record) -> msgspec.Struct | None:
    """The object with nothing in it, which the careful path would not send; None if it cannot be."""
    try:
        return record.type()
    except TypeError:
        return None


def _made_contexts(readers: dict[str, Reader]) -> Callable[[list[Any]], Iterable[Any]]:
    """Contexts that are put together from single fields."""
    grouped: dict[str, dict[str, Reader]] = {}
    for name in DESTINATIONS["events"]:
        if name.startswith("context.") and name in readers:
            _, group, field = name.split(".")
            grouped.setdefault(group, {})[field] = readers[name]
    if not grouped:
        return lambda _: repeat(None)
    makers = [_maker(fields) for fields in grouped.values()]
    whole = _context_struct(list(grouped))

    def contexts(records: list[Any]) -> Iterable[Any]:
        return _made(whole, [make(records) for make in makers])

    return contexts


def _maker(fields: dict[str, Reader]) -> Callable[[list[Any]], list[Any]]:
    struct = _context_struct(list(fields))
    readers = list(fields.values())
    return lambda records: _made(struct, [read(records) for read in readers])


def _context_struct(names: list[str]) -> type[msgspec.Struct]:
    fields = [(name, Any, None) for name in names]
    return msgspec.defstruct("Context", fields, omit_defaults=True, gc=False)


def _made(struct: type[msgspec.Struct], columns: list[list[Any]]) -> list[Any]:
    """One object per row, null where all of its values are."""
    if any(None not in column for column in columns):
        return list(map(struct, *columns))
    if len(columns) == 1:
        return [None if value is None else struct(value) for value in columns[0]]
    nothing = (None,) * len(columns)
    return [None if row == nothing else struct(*row) for row in zip(*columns, strict=True)]
