"""The fast path: whole chunks of lines, decoded, validated and mapped by msgspec Structs.

A stream's SCHEMA becomes a Struct whose typed decoding is the validation, and its mapping becomes
Structs with Fullstory's names; values go from one to the other a column at a time. A record that
needs any care is refused, and left to `StreamMapping.map_record`: for what is accepted, both give the
same bytes.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from target_fullstory.mapping.calls.deletions import DELETED_AT
from target_fullstory.mapping.fast.columns import NotFastError
from target_fullstory.mapping.fast.events import EventRequests, use_groups
from target_fullstory.mapping.fast.fields import reader, use_field
from target_fullstory.mapping.fast.properties import (
    FastProperties,
    are_columns,
    sent_as_decoded,
    use_properties,
)
from target_fullstory.mapping.fast.sources import nothing
from target_fullstory.mapping.fast.templates import TemplateProperties, use_templates
from target_fullstory.mapping.fast.types import Record, Uncovered, Use, record_of
from target_fullstory.mapping.fast.values import Want
from target_fullstory.mapping.properties import MAX_USER_PROPERTIES
from target_fullstory.mapping.result import Rejection
from target_fullstory.mapping.schemas import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_fullstory.kinds import Kind
    from target_fullstory.mapping.fast.sources import Reader
    from target_fullstory.mapping.result import Mapped
    from target_fullstory.mapping.stream import StreamMapping


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """The requests of records that follow each other, all of one kind.

    Attributes:
        kind: What the records become.
        requests: One Struct per record, in order; `msgspec.json.encode(requests[a:b])[1:-1]` is what
            `b",".join` makes of the careful path's bodies.
        keys: For users, one `Mapped.key` per record; empty for events.
        timed: Every event carries a timestamp of its own; False for users.
    """

    kind: Kind
    requests: list[Any]
    keys: list[str]
    timed: bool


def chunk_of(kind: Kind, mapped: Mapped) -> Chunk:
    """The request of a single record as a chunk."""
    keys = [] if mapped.key is None else [mapped.key]
    return Chunk(mapped.kind or kind, [msgspec.Raw(mapped.body)], keys, mapped.timed)


_Make: TypeAlias = "Callable[[list[Any]], Chunk]"
_record = attrgetter("record")


class FastPath:
    """Maps the plain records of one stream; made by `compile_fast`."""

    def __init__(self, message: type[msgspec.Struct], make: _Make, kind: Kind) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(message)
        self._make = make
        self._kind = kind

    def decode_lines(self, lines: bytes) -> list[Any]:
        """Decodes whole lines, every one a RECORD message of the stream.

        Args:
            lines: The lines as read, each with its line break.

        Returns:
            The records, for `requests`.

        Raises:
            msgspec.DecodeError: One of the lines is something else, or not valid: `NOT_FAST` has all
                that is raised here and below.
            UnicodeDecodeError: One of the lines is not UTF-8.
            RecursionError: One of the lines is nested too deeply.
        """
        return list(map(_record, self._decoder.decode_lines(lines)))

    def decode_each(self, lines: Iterable[bytes]) -> Iterator[Any]:
        """Decodes lines one at a time; goes on behind one for which it has raised.

        Args:
            lines: Lines without their line breaks.

        Raises:
            msgspec.DecodeError: As for `decode_lines`, with the others.
        """
        return map(_record, map(self._decoder.decode, lines))

    def requests(self, records: list[Any]) -> Chunk:
        """Maps decoded records.

        Args:
            records: Records of `decode_lines` or `decode_each`, in order.

        Raises:
            NotFastError: One of them needs care: map them one by one.
        """
        try:
            return self._make(records) if records else Chunk(self._kind, [], [], timed=False)
        except (AttributeError, RecursionError, Rejection) as error:
            raise NotFastError(str(error)) from error


NOT_FAST = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast path raises for lines that are to be mapped carefully."""


def compile_fast(mapping: StreamMapping, *, validate: bool) -> FastPath | None:
    """Compiles a stream's mapping for speed.

    Args:
        mapping: The stream's mapping.
        validate: Whether records that the SCHEMA does not accept must be refused (JSON Schema Draft
            2020-12, `format` not asserted). Without it they may be refused, too.

    Returns:
        The fast path, or None where there is none: the SCHEMA tells no columns, or puts conditions
        on its records that types cannot say.
    """
    try:
        record, make = _compiled(mapping, validate=validate)
        message = msgspec.defstruct(
            "Message",
            [
                ("type", Literal["RECORD"]),
                ("stream", Literal[mapping.stream]),
                ("record", record.type),
            ],
            gc=False,
        )
        return FastPath(message, make, mapping.kind)
    except (Uncovered, TypeError, ValueError):
        # The latter two are msgspec's: a name or a limit it cannot express.
        return None


def _compiled(mapping: StreamMapping, *, validate: bool) -> tuple[Record, _Make]:
    shape = shape_of(mapping.schema)
    names = {field.destination.name for field in mapping.fields}
    identity = "name" if mapping.kind == "events" else "uid" if "uid" in names else "id"
    root = Use(parts={})
    whole = {group.name for group in mapping.groups if group.name == "context"}
    for field in mapping.fields:
        if field.destination.path[0] not in whole:
            use_field(field, root, shape, required=field.destination.name == identity)
    plan = mapping.properties
    if are_columns(plan):
        use_properties(plan, root, shape)
        root.order = sent_as_decoded(plan)
    else:
        use_templates(plan, root, shape)
    use_groups(mapping.groups, root, shape)
    if mapping.deletions is not None:
        root.part(DELETED_AT).take(Want(types=frozenset()))
    needed = {
        column
        for column, use in (root.parts or {}).items()
        if use.want is not None and use.want.types and not use.want.null
    }
    required = frozenset(mapping.key_properties) | needed
    record = record_of(mapping.schema, root, validate=validate, required=required)
    properties = (
        FastProperties(plan, record)
        if are_columns(plan)
        else TemplateProperties(plan, record, shape)
    )
    readers = {
        field.destination.name: reader(
            field, record, shape, required=field.destination.name == identity
        )
        for field in mapping.fields
        if field.destination.path[0] not in whole
    }
    if mapping.kind == "events":
        return record, _events(EventRequests(readers, mapping.groups, record, properties))
    if properties.leaves > MAX_USER_PROPERTIES:
        raise Uncovered
    return record, _users(readers, properties, identity)


class UserRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """The request of a user, in Fullstory's names."""

    id: str | None = None
    uid: str | None = None
    email: str | None = None
    display_name: str | None = None
    properties: Any = None
    schema: Any = None


def _users(
    readers: dict[str, Reader], properties: FastProperties | TemplateProperties, identity: str
) -> _Make:
    """Makes users; `identity` is the field that each of them has and that keeps their order."""
    fields = [readers.get(name, nothing) for name in ("id", "uid", "email", "display_name")]
    position = ("id", "uid").index(identity)

    def make(records: list[Any]) -> Chunk:
        columns = [read(records) for read in fields]
        requests = list(map(UserRequest, *columns, *properties.read(records)))
        return Chunk("users", requests, columns[position], timed=False)

    return make


def _events(requests: EventRequests) -> _Make:
    def make(records: list[Any]) -> Chunk:
        made, timed = requests.make(records)
        return Chunk("events", made, [], timed)

    return make
