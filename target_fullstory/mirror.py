"""Streams with `sync: mirror`: users whom a complete read no longer brings are marked or deleted.

That is the last thing of a run, when all else is in. What is sent is counted as a stream of its own,
`<stream>:vanished`, so that the stream's figures stay those of its records. A user who is marked or deleted
is not known any more; one where that fails stays known, and is tried again by the next run.

Runs in the reading thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from logging import INFO, WARNING
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from target_fullstory.accounting.rejects import Rejects
from target_fullstory.errors import TargetFullstoryError
from target_fullstory.input.reader import Activated, Event, Records, Schema, State, Unreadable
from target_fullstory.kinds import Kind
from target_fullstory.logs import counted, logger
from target_fullstory.mapping import Chunk, MappingOptions, MappingSpec, Rejected, compile_mapper, spec_for
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.batch_rows import NO_RECORD, NO_REQUEST, VANISHED, BatchRows
from target_fullstory.snapshot.complete_reads import NOT_MEANT, CompleteReads, version_of, version_text

if TYPE_CHECKING:
    from target_fullstory.snapshot.known_uids import Name
    from target_fullstory.snapshot.snapshot import Snapshot
    from target_fullstory.snapshot.stream_snapshot import StreamSnapshot

CheckVanished = Callable[[str, int, Iterable[bytes]], None]
"""Raises where so many users of a stream, of so many that were known, may not vanish."""

_SCHEMA = {"type": "object", "properties": {"uid": {"type": "string"}, "id": {"type": "string"}}}


class Sender(Protocol):
    """The run, as far as it takes what is sent of vanished users."""

    def open_stream(self, stream: str, kind: Kind) -> None:
        """Begin to count what is sent."""

    def send(self, stream: str, chunk: Chunk) -> None:
        """Send requests that are made of no record."""

    def reject(self, stream: str, kind: Kind, rejected: Rejected, record: Any) -> None:
        """Reject a user of whom there is no request."""


class Treatment:
    """What is sent of a mirror's vanished users: by the rules of any mapping, as if each was a record."""

    def __init__(self, stream: str, spec: MappingSpec, options: MappingOptions) -> None:
        """Take a mirror's mapping.

        Raises:
            ConfigurationError: A property under `mark` is not one that Fullstory takes.
        """
        mark = getattr(spec.vanished, "mark", None)
        made: dict[str, Any] = {"kind": "user_deletions"}
        if mark is not None:
            sources = {name: {"const": value} for name, value in mark.items()}
            made = {"kind": "users", "properties": sources}
        self.kind: Kind = made["kind"]
        whole = MappingSpec(**made, fields={"uid": "uid", "id": "id"}, timezone=spec.timezone)
        self._mapper = compile_mapper(f"{stream}.vanished", whole, _SCHEMA, [], options)

    def requests(
        self, names: list[Name], on_reject: Callable[[dict[str, Any], Rejected], None]
    ) -> list[Chunk]:
        """Their requests."""
        records: list[Any] = [name._asdict() for name in names]
        return self._mapper.map(records, lambda at, why: on_reject(records[at], why), lambda _: None)


class _Mirrored(msgspec.Struct):
    """A mirror that this run reads."""

    spec: MappingSpec
    treatment: Treatment
    known: StreamSnapshot
    sources: set[str]  # the tap's streams that bring its records


class Mirror:
    """The mirrors of a run: what it has read of them, and what becomes of those who vanished."""

    def __init__(
        self, settings: Settings, snapshot: Snapshot, sender: Sender, rejects: Rejects, check: CheckVanished
    ) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._sender = sender
        self._rejects = rejects
        self._check = check
        self._reads = CompleteReads()
        self._streams: dict[str, _Mirrored] = {}

    def open_stream(self, stream: str, known: StreamSnapshot) -> None:
        """Begin a stream with a snapshot, which is a mirror or is none any more.

        Raises:
            ConfigurationError: A property under `mark` is not one that Fullstory takes.
        """
        spec = spec_for(stream, self._settings.streams)
        if spec is not None and spec.sync == "mirror" and stream not in self._streams:
            treatment = Treatment(stream, spec, self._settings.mapping_options)
            self._streams[stream] = _Mirrored(spec, treatment, known, set())

    # What the tap sends

    def watch(
        self, events: Iterable[Event | Activated], streams_of: Callable[[str], list[str]]
    ) -> Iterator[Event]:
        """Pass a tap's events on, and note what they say of reads.

        `streams_of` gives the names under which the records of a tap's stream arrive here.
        """
        for event in events:
            if isinstance(event, Records):
                self._note(event.stream, streams_of, event.lines)
            elif isinstance(event, Unreadable):
                self._note(event.stream, streams_of, list)
            elif isinstance(event, State):
                self._reads.state()
            elif isinstance(event, Activated):
                self._reads.activate(event.stream, version_text(event.version))
                continue
            yield event
            if isinstance(event, Schema):
                source = event.message["stream"]
                for mirrored in self._mirrors_of(source, streams_of):
                    mirrored.sources.add(source)
        self._reads.ended = True

    def _note(
        self, source: str, streams_of: Callable[[str], list[str]], lines: Callable[[], list[bytes]]
    ) -> None:
        if self._reads.has_begun(source):
            self._reads.record(source)
            return
        mirrors = self._mirrors_of(source, streams_of)
        if not mirrors:
            return
        # From here on a killed run has read a part.
        version = next(map(version_of, lines()), "")
        changed = [self._reads.begin(source, version, one.known.facts.reading) for one in mirrors]
        if any(changed):
            self._snapshot.store.save_about()

    def _mirrors_of(self, source: str, streams_of: Callable[[str], list[str]]) -> list[_Mirrored]:
        return [self._streams[stream] for stream in streams_of(source) if stream in self._streams]

    # The end of the run

    def finish(self, why_not: Callable[[], str]) -> TargetFullstoryError | None:
        """Mark or delete who vanished; returns why that is not done for a stream with too many of them.

        `why_not` waits until all else is in, and tells what stands against it for every stream, or nothing.
        """
        error: TargetFullstoryError | None = None
        reasons = {stream: self._incomplete(stream) for stream in self._streams}
        if other := why_not():
            reasons = {stream: reason or other for stream, reason in reasons.items()}
        else:
            self._finish_reads()
        for stream, reason in reasons.items():
            if reason:
                level = INFO if reason in NOT_MEANT else WARNING
                logger.log(level, "Stream %s: nobody is marked or deleted as vanished: %s", stream, reason)
                continue
            try:
                self._treat(stream, self._streams[stream])
            except TargetFullstoryError as refusal:
                # The last one tells of all streams before it.
                error = refusal
        return error

    def _finish_reads(self) -> None:
        for mirrored in self._streams.values():
            for source in mirrored.sources:
                reading, full_table = mirrored.known.facts.reading, mirrored.spec.full_table
                self._reads.finish(source, reading, full_table=full_table)
        self._snapshot.store.save_about()

    def _incomplete(self, stream: str) -> str:
        """Why it is not known who of a stream's users vanished; empty where it is."""
        mirrored = self._streams[stream]
        full_table = mirrored.spec.full_table
        # Without a source, as in a replay, nothing of the table was read.
        sources = mirrored.sources or {""}
        found = [self._reads.why_incomplete(one, full_table=full_table) for one in sources]
        if reason := next(filter(None, found), ""):
            return reason
        rejected = sum(
            count
            for reason, count in self._rejects.reasons.counted()
            if (reason.stream, reason.stage, reason.own) == (stream, "map", True)
        )
        return f"{counted(rejected, 'record')} rejected, and whose they are is not known" if rejected else ""

    def _treat(self, stream: str, mirrored: _Mirrored) -> None:
        """Mark or delete a stream's vanished users.

        Raises:
            TargetFullstoryError: They are too many.
        """
        known = mirrored.known
        users = known.mirror
        vanished = users.vanished() if users is not None else None
        if users is None or vanished is None:
            return
        self._check(stream, known.known, vanished)
        if vanished:
            done = "deleted" if mirrored.treatment.kind == "user_deletions" else "marked"
            logger.info("Stream %s: %s vanished, to be %s", stream, counted(len(vanished), "user"), done)
        forgotten = 0
        for keys, names in users.names(vanished):
            forgotten += len(keys) - len(names)
            self._send(stream, mirrored, names)
            called = {known.user_key(name.text) for name in names}
            self._forget(stream, [key for key in keys if key not in called])
        vanished.close()
        # Everybody who is known was read, or is gone by now.
        known.facts.named = True
        self._snapshot.store.save_about()
        if forgotten:
            logger.warning(
                "Stream %s: %s of those who vanished cannot be marked or deleted: their uids were not kept, "
                "for they were deleted, or gone before the stream was a mirror. They are forgotten",
                *(stream, counted(forgotten, "user")),
            )

    def _send(self, stream: str, mirrored: _Mirrored, names: list[Name]) -> None:
        label, kind = f"{stream}{VANISHED}", mirrored.treatment.kind
        if names:
            self._sender.open_stream(label, kind)

        def reject(user: dict[str, Any], why: Rejected) -> None:
            self._sender.reject(label, kind, why, user)

        for chunk in mirrored.treatment.requests(names, reject):
            if kind == "user_deletions":
                self._snapshot.blank(chunk.keys)
            keys = map(mirrored.known.user_key, chunk.keys)
            rows = b"".join(key + NO_REQUEST + NO_RECORD for key in keys)
            self._sender.send(label, msgspec.structs.replace(chunk, fingerprints=rows))

    def _forget(self, stream: str, keys: list[bytes]) -> None:
        if keys:
            packed = b"".join(key + NO_REQUEST + NO_RECORD for key in keys)
            self._snapshot.confirm(BatchRows(f"{stream}{VANISHED}", "users", packed), lambda: None)
