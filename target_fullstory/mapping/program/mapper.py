"""Maps the records of one stream, be they decoded from lines or dictionaries."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from target_fullstory.kinds import Kind
from target_fullstory.mapping.outcome import Chunk, MadeRequest, Rejected, Rejection
from target_fullstory.mapping.plan.stream_plan import StreamPlan
from target_fullstory.mapping.program.emit import emit_for_dicts, emit_for_structs, record_type_for
from target_fullstory.mapping.program.record_type import UntypedError

OnReject: TypeAlias = Callable[[int, Rejected], None]
"""Called with a record that cannot become a request, by its index."""
OnDropped: TypeAlias = Callable[[tuple[str, ...]], None]
"""Called with the names of what was left out of a record."""
OnUndeclared: TypeAlias = Callable[[list[str]], None]
"""Called with the names of properties whose values are not of their columns' types, one for each value."""
Violation: TypeAlias = Callable[[dict[str, Any]], Rejected | None]
"""How a record violates the SCHEMA; None where it does not."""

_record = attrgetter("record")


class LineDecoder:
    """Decodes the lines of one stream's records, as a rule into the Struct that its mapping takes."""

    def __init__(self, stream: str, record: type[Any]) -> None:
        fields = [("type", Literal["RECORD"]), ("stream", Literal[stream]), ("record", record)]
        message = msgspec.defstruct("Message", fields, gc=False)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(message)
        self.of_records: msgspec.json.Decoder[Any] = msgspec.json.Decoder(record)
        """Decodes lines that are a record each, without a message around it."""

    def decode_lines(self, lines: bytes) -> list[Any]:
        """Decode whole lines, every one a RECORD message of the stream.

        Raises:
            msgspec.DecodeError: One of the lines is something else, or is to be mapped as a dictionary.
            UnicodeDecodeError: One of the lines is not UTF-8.
            RecursionError: One of the lines is nested too deeply.
        """
        return list(map(_record, self._decoder.decode_lines(lines)))

    def decode_each(self, lines: Iterable[bytes]) -> Iterator[Any]:
        """Decode lines one at a time; goes on behind one for which it has raised, as above."""
        return map(_record, map(self._decoder.decode, lines))


Delete: TypeAlias = Callable[[dict[str, Any], Rejected | None, list[str]], MadeRequest | None]
"""As `PlainMapping.map`, but None for a record that is there."""


class PlainMapping(Protocol):
    """Maps records in dictionaries."""

    @property
    def kind(self) -> Kind:
        """What the records become."""

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence per column whose property has another name."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of generated functions."""

    def map(
        self, record: dict[str, Any], violation: Rejected | None, dropped: list[str]
    ) -> MadeRequest | Rejected:
        """The request of a record; the names of what is left out are added to `dropped`.

        Raises:
            Rejection: There is none, or else the record has this violation of the SCHEMA. The reason may be
                returned as well, which takes less time.
        """

    def redact(self, record: dict[str, Any], rejected: Rejected) -> tuple[dict[str, Any], Rejected]:
        """A rejected record and the reason as they may be written to a file: without secrets."""


class PlanMapping:
    """Maps users or events, in a function that is written with the first record."""

    def __init__(self, plan: StreamPlan, delete: Delete | None) -> None:
        """Map by a plan; `delete` makes deletions of records that say that their user is gone."""
        self.kind: Kind = plan.kind
        self.notices = plan.notices
        self._plan = plan
        self._delete = delete

    def map(
        self, record: dict[str, Any], violation: Rejected | None, dropped: list[str]
    ) -> MadeRequest | Rejected:
        """See `PlainMapping`."""
        deletion = self._delete(record, violation, dropped) if self._delete else None
        if deletion is not None:
            return deletion
        undeclared: list[str] = []
        request = self._map(record, violation, dropped, undeclared)
        if type(request) is Rejected:
            return request
        if self.kind == "events":
            timed = request.timestamp is not None
            return MadeRequest("events", request, timed=timed, undeclared=undeclared)
        key = request.id if request.uid is None else request.uid
        return MadeRequest("users", request, key, undeclared=undeclared)

    @cached_property
    def _map(self) -> Callable[[dict[str, Any], Rejected | None, list[str], list[str]], Any]:
        return emit_for_dicts(self._plan).compile()

    @property
    def sources(self) -> tuple[str, ...]:
        """See `PlainMapping`."""
        return (emit_for_dicts(self._plan).text,)

    def redact(self, record: dict[str, Any], rejected: Rejected) -> tuple[dict[str, Any], Rejected]:
        """See `PlainMapping`: these have no secrets."""
        return record, rejected


class TypedMapping:
    """Maps users or events that were decoded from their lines."""

    def __init__(self, stream: str, plan: StreamPlan, *, validate: bool) -> None:
        """Compile a plan; arguments and errors as of `record_type_for`."""
        types = record_type_for(plan, validate=validate)
        code = emit_for_structs(plan, types)
        self.decoder = LineDecoder(stream, types.struct)
        self.source = code.text
        self._map = code.compile()
        self._flag = None
        if plan.deleted is not None and plan.deletes_by_flag:
            flag = types.columns.get(plan.deleted.steps[0])
            self._flag = attrgetter(flag.attribute) if flag else None

    def without_deletions(self, records: list[Any]) -> list[Any]:
        """The records, as dictionaries those whose flag says that their user is gone."""
        flag = self._flag
        if flag is None:
            return records
        return [
            msgspec.to_builtins(record) if type(record) is not dict and flag(record) else record
            for record in records
        ]

    def map(self, records: list[Any], on_dropped: OnDropped, on_undeclared: OnUndeclared) -> TypedRequests:
        """The requests of records."""
        made = TypedRequests([], [], [], timed=True)
        undeclared: list[str] = []

        def report_dropped(names: list[str]) -> None:
            on_dropped(tuple(dict.fromkeys(names)))

        made.timed = self._map(records, made.requests, made.keys, made.rejected, undeclared, report_dropped)
        if undeclared:
            on_undeclared(undeclared)
        return made


class TypedRequests(msgspec.Struct):
    """What was made of typed records; `rejected` has the others by their place among these."""

    requests: list[Any]
    keys: list[str]
    rejected: list[tuple[int, Rejected]]
    timed: bool


class Mapper:
    """Maps the records of one stream; made by `compile_mapper`.

    Attributes:
        kind: What they become.
        notices: One sentence per column whose property has another name, to be logged once.
        redact: Takes the secrets out of a rejected record and of the reason.
    """

    def __init__(
        self,
        mapping: PlainMapping,
        violation: Violation | None,
        compile_typed: Callable[[], TypedMapping] | None = None,
    ) -> None:
        """Map with what was compiled; `violation` is asked of each record in a dictionary."""
        self.kind: Kind = mapping.kind
        self.notices = mapping.notices
        self.redact = mapping.redact
        self._mapping = mapping
        self._violation = violation
        self._compile_typed = compile_typed

    @cached_property
    def _typed(self) -> TypedMapping | None:
        try:
            return self._compile_typed() if self._compile_typed else None
        except (UntypedError, TypeError, ValueError):
            # The latter two are msgspec's: a name or a limit it cannot express.
            return None

    @property
    def decoder(self) -> LineDecoder | None:
        """Decodes the lines of records that need no dictionary; None where all do."""
        return self._typed.decoder if self._typed else None

    @property
    def sources(self) -> list[str]:
        """The sources of the generated functions."""
        return [*([self._typed.source] if self._typed else []), *self._mapping.sources]

    def map(
        self,
        records: list[Any],
        on_reject: OnReject,
        on_dropped: OnDropped,
        on_undeclared: OnUndeclared = lambda _: None,
    ) -> list[Chunk]:
        """Map records that follow each other; the requests are in their order.

        The decoder's records are used up. Plain ones may hold Decimal, date, time and datetime as well.
        """
        if self._typed is not None:
            records = self._typed.without_deletions(records)
        plain = [at for at, record in enumerate(records) if type(record) is dict]
        made = TypedRequests([], [], [], timed=self.kind == "events")
        if len(plain) < len(records) and self._typed is not None:
            # All of the decoder's at once: what is checked of a whole column, is checked once.
            typed = [record for record in records if type(record) is not dict] if plain else records
            made = self._typed.map(typed, on_dropped, on_undeclared)
        if plain:
            outcomes = [self._map_plain(records[at], on_dropped, on_undeclared) for at in plain]
            return self._in_order(records, plain, outcomes, made, on_reject)
        for at, why in made.rejected:
            on_reject(at, why)
        return [Chunk(self.kind, made.requests, made.keys, made.timed)] if made.requests else []

    def _in_order(
        self,
        records: list[Any],
        plain: list[int],
        outcomes: list[MadeRequest | Rejected],
        made: TypedRequests,
        on_reject: OnReject,
    ) -> list[Chunk]:
        """Put what became of the plain records between the requests of the decoder's."""
        rejected, lost = made.rejected, [place for place, _ in made.rejected]
        if lost:
            places = [at for at, record in enumerate(records) if type(record) is not dict]
            rejected = [(places[place], why) for place, why in rejected]
        chunks: list[Chunk] = []
        requests, keys, timed, begin = [], [], made.timed, 0
        for number, (at, one) in enumerate(zip(plain, outcomes, strict=True)):
            end = at - number - bisect_left(lost, at - number)
            requests += made.requests[begin:end]
            keys += made.keys[begin:end]
            begin = end
            if isinstance(one, Rejected):
                rejected.append((at, one))
                continue
            if one.kind == self.kind:
                requests.append(one.request)
                timed = timed and one.timed
                if one.key is not None:
                    keys.append(one.key)
                continue
            # A deletion among users: a chunk of its own, which others may join.
            if requests:
                chunks.append(Chunk(self.kind, requests, keys, timed))
                requests, keys = [], []
            if not chunks or chunks[-1].kind != one.kind:
                chunks.append(Chunk(one.kind, [], [], one.timed))
            chunks[-1].requests.append(one.request)
            chunks[-1].keys.append(one.key or "")
        requests += made.requests[begin:]
        keys += made.keys[begin:]
        if requests:
            chunks.append(Chunk(self.kind, requests, keys, timed))
        for at, why in sorted(rejected, key=itemgetter(0)):
            on_reject(at, why)
        return chunks

    def _map_plain(
        self, record: dict[str, Any], on_dropped: OnDropped, on_undeclared: OnUndeclared
    ) -> MadeRequest | Rejected:
        dropped: list[str] = []
        try:
            violation = self._violation(record) if self._violation else None
            request = self._mapping.map(record, violation, dropped)
        except Rejection as rejection:
            return rejection.outcome
        if dropped and type(request) is not Rejected:
            on_dropped(tuple(dict.fromkeys(dropped)))
        if isinstance(request, MadeRequest) and request.undeclared:
            on_undeclared(request.undeclared)
        return request
