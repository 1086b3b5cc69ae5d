"""The command `replay`: reads rejects files and sends their records again, by the mapping as it is now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from target_fullstory.accounting.held_rejects import HeldRejects, different_files
from target_fullstory.accounting.unresolved_rejects import schemas_beside, was_cut_off
from target_fullstory.batching.encoded_requests import identity
from target_fullstory.commands.shared_options import config_option, read_config
from target_fullstory.errors import DeliveryError, InputError
from target_fullstory.input.message_lines import UNREADABLE, parse, peek, require
from target_fullstory.input.progress import progress_bar
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import MadeRequest, Rejected, spec_for, stored_call
from target_fullstory.target import TargetFullstory

_MOST_FILES = 500


@click.command("replay")
@config_option
@click.option(
    "--schema",
    "schema_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Singer messages whose SCHEMAs are used, such as a tap's output. Without: the SCHEMAs that the load "
    "kept beside its rejects file, in schemas-<run id>.jsonl.",
)
@click.argument("rejects", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def replay_command(
    config_paths: tuple[str, ...], schema_files: tuple[str, ...], rejects: tuple[str, ...]
) -> None:
    """Send the records of rejects files again, in the order of the files.

    A record is mapped again, by the mapping as it is now; where only its request is in the file, that is sent
    as it is. What is refused again is in a new rejects file, and the files are renamed to ….replayed when all
    their records have come to an end. Exit codes as for a load; 1 also where it was stopped before the end.
    """
    # There is no STATE that rejects must hold back.
    config = read_config(config_paths) | {"max_rejected_percent": None, "max_changed_percent": None}
    if len(paths := different_files(rejects)) > _MOST_FILES:
        raise InputError(f"Give at most {_MOST_FILES} files at a time: they stay open. Nothing was sent.")
    files = [HeldRejects(path) for path in paths]
    # With the load's idempotency keys Fullstory would repeat the responses it gave then.
    target = TargetFullstory(config=config, key_salt=_digest_of(files))
    streams = _ReplayStreams(target)
    total = 0
    for entry, _ in _entries(files):
        streams.check(entry)
        total += 1
    if not total:
        logger.info("There is nothing to send again: the files hold no records")
        return
    size = sum(file.size for file in files)
    with target.ending_in_order(), progress_bar("Sending again", size) as advance:
        target.run.settle()
        # The SCHEMAs that the loads have kept.
        kept = [schemas_beside(file.path) for file in files]
        streams.open([*(str(path) for path in kept if path.exists()), *schema_files])
        for entry, length in _entries(files):
            _send(target, streams, entry)
            if advance:
                advance(length)
            target.run.tick()
            if target.run.interrupted:
                break
        target.run.flush()
        if target.run.ledger.totals().ended >= total:
            _set_aside(target, files)
    target.process_endofpipe()
    ended = target.run.ledger.totals().ended
    if ended < total:
        raise DeliveryError(
            f"Stopped after {ended} of {total} records. Start the same replay again, from the first."
        )


def _set_aside(target: TargetFullstory, files: list[HeldRejects]) -> None:
    """Rename the files: their records are delivered, or safe in the new rejects file."""
    target.run.rejects.sync()
    if any(job.finished is None for job in target.run.ledger.jobs(every=True)):
        logger.warning(
            "The files stay as they are, as batch jobs are in progress. When these have ended well (`jobs`), "
            "give the files up: `rejects --discard`"
        )
        return
    for file in files:
        if file.path.suffix in {".replayed", ".discarded"}:
            continue
        if new := file.set_aside("replayed"):
            logger.info("Replayed %s, which is %s now", file.path, new)
        else:
            logger.warning(
                "%s has changed during the replay and keeps its name. What its first %d bytes held came "
                "to an end: take it out, then replay the rest",
                *(file.path, file.size),
            )


class Entry(msgspec.Struct, kw_only=True):
    """A line of a rejects file; what `replay` needs of it."""

    stream: str
    source: str | None = None  # the tap's stream, where a stream map has given it another name
    kind: Kind
    code: str = "unknown"
    message: str = ""
    record: Any = msgspec.UNSET  # the record, decoded; UNSET where the line has none
    request: msgspec.Raw = msgspec.Raw()  # the request made of it, as JSON; empty where the line has none
    known_by: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")] = (
        ""  # what the snapshot knows its event by, in hexadecimal digits
    )
    where: str = ""  # its file and line, for errors

    @property
    def has_record(self) -> bool:
        """Whether the record is there to be mapped again; what JSON cannot carry is there as text only."""
        return isinstance(self.record, dict)

    @property
    def is_untransformed(self) -> bool:
        """Whether the record is the tap's, as it was before a stream map."""
        return self.code == "stream_map_error"

    def made_request(self) -> MadeRequest | Rejected:
        """The request, ready to be sent; why it cannot be where it cannot."""
        body = bytes(self.request)
        if not body:
            return Rejected(self.code, self.message)
        try:
            if self.kind == "users":
                uid, user_id = identity(body)
                if uid or user_id:
                    return MadeRequest(self.kind, self.request, uid or user_id)
            elif self.kind == "events":
                event = msgspec.json.decode(body, type=_Event)
                return MadeRequest(self.kind, self.request, timed=event.timestamp is not None)
            else:
                return stored_call(self.kind, body)
        except UNREADABLE:
            pass
        raise InputError(
            f"{self.where}: `request` is not a request of kind {self.kind}. Correct the line, or take it out."
        )


class _Event(msgspec.Struct):
    name: str
    timestamp: str | None = None


_decode_entry = msgspec.json.Decoder(Entry).decode


def _entries(files: list[HeldRejects]) -> Iterator[tuple[Entry, int]]:
    """The lines of rejects files, in order, each with its length in bytes."""
    for file in files:
        for number, line in enumerate(file.lines(), start=1):
            if line.strip() and not was_cut_off(line):
                yield _read(line, f"{file.path}, line {number}"), len(line)


def _digest_of(files: list[HeldRejects]) -> str:
    """What the files hold, in a few characters: the same for the same replay."""
    digest = hashlib.sha256()
    for file in files:
        for line in file.lines():
            digest.update(line)
    return digest.hexdigest()


def _read(line: bytes, where: str) -> Entry:
    try:
        entry = _decode_entry(line)
    except UNREADABLE as error:
        # Only a message about the structure: the decoder's others may quote what they met.
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not JSON"
        raise InputError(
            f"{where} is not a line of a rejects file: {reason}. Nothing was sent; correct the line, or "
            "take it out."
        ) from None
    entry.where = where
    return entry


class _ReplayStreams:
    """The streams of the entries: what they need is found in a first reading of all entries."""

    def __init__(self, target: TargetFullstory) -> None:
        self._target = target
        self._kinds: dict[str, Kind] = {}
        # By the tap's stream, where the line has it, and the stream.
        self._to_map: set[tuple[str | None, str]] = set()
        self._to_transform: set[tuple[str | None, str]] = set()
        self._sources: dict[tuple[str | None, str], str] = {}

    def check(self, entry: Entry) -> None:
        """Hold an entry against the mapping."""
        spec = spec_for(entry.stream, self._target.settings.streams)
        kind = spec.kind if spec else entry.kind
        if entry.kind != kind and (kind, entry.kind) != ("users", "user_deletions"):
            raise InputError(
                f"{entry.where}: a record of stream {entry.stream!r} was rejected as {entry.kind}, but the "
                f"stream maps to {kind} now. Nothing was sent; correct streams, or take the line out."
            )
        self._kinds[entry.stream] = kind
        if not entry.has_record:
            entry.made_request()
            return
        if spec is None:
            raise InputError(
                f"{entry.where}: stream {entry.stream!r} has no mapping. Nothing was sent; add it under "
                "streams."
            )
        (self._to_transform if entry.is_untransformed else self._to_map).add((entry.source, entry.stream))

    def open(self, schema_files: list[str]) -> None:
        """Make the sinks and begin the streams; of several SCHEMAs of a stream the later one counts."""
        target = self._target
        read = self._to_map | self._to_transform
        wanted = {source or stream for source, stream in read}
        for message in _schemas(schema_files):
            if message["stream"] in wanted or target.checked_maps.apply_to(message["stream"]):
                target.take_schema(message)
        self._sources = {(source, stream): source or self._only_source(stream) for source, stream in read}
        for source, stream in self._to_transform:
            if self._sources[source, stream] not in target.sinks_of(stream):
                raise InputError(
                    f"Records of stream {stream!r} were refused by a stream map, and the SCHEMA of the tap's "
                    "stream is not known. Nothing was sent; give it with --schema."
                )
        for source, stream in self._to_map:
            if self._sources[source, stream] not in target.sinks_of(stream):
                logger.warning(
                    "The SCHEMA of stream %s is not known: its records are mapped without types and without "
                    "key columns. Give it with --schema",
                    source or stream,
                )
                target.begin_without_schema(self._sources[source, stream], stream)
        for stream, kind in self._kinds.items():
            target.run.open_stream(stream, kind)
            spec = spec_for(stream, target.settings.streams)
            if target.run.snapshot is not None and spec is not None and spec.sync != "all":
                target.run.snapshot.load_stream(stream, spec.kind).begin_without_records()

    def _only_source(self, stream: str) -> str:
        """The tap's stream of lines that do not tell it: the stream of that name, or the one that gets it."""
        sources = self._target.sinks_of(stream)
        if stream in sources:
            return stream
        if len(sources) > 1 or self._target.checked_maps.may_join(stream):
            raise InputError(
                f"Records of stream {stream!r} may be of several streams of the tap, which stream_maps give "
                "that name, and their lines do not tell which. Nothing was sent; add the tap's stream as "
                "`source` to each such line, or take it out."
            )
        return next(iter(sources), stream)

    def take(self, entry: Entry) -> None:
        """Take an entry's record, through its own stream's map where that had refused it."""
        source = self._sources[entry.source, entry.stream]
        if entry.is_untransformed:
            self._target.take_untransformed(source, entry.stream, entry.record)
        else:
            self._target.sinks_of(entry.stream)[source].take([entry.record], list, source)


def _send(target: TargetFullstory, streams: _ReplayStreams, entry: Entry) -> None:
    """Send one entry the way that a load would."""
    if entry.has_record:
        streams.take(entry)
    elif isinstance(made := entry.made_request(), Rejected):
        # There is nothing to send; it goes on to the new rejects file, with the reason.
        text = None if entry.record is msgspec.UNSET else entry.record
        target.run.reject(entry.stream, entry.kind, made, text, bytes(entry.request) or None, entry.source)
    else:
        # What an event is known by is more than its request.
        known_by = bytes.fromhex(entry.known_by) if made.kind == "events" else None
        target.run.add(entry.stream, made.chunk, known_by=known_by)


def _schemas(paths: list[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                envelope = peek(line)
                if envelope is not None and envelope.type == "SCHEMA":
                    message = parse(line, number)
                    for name, kind in (("stream", str), ("schema", dict)):
                        require(message, name, kind, number)
                    yield message
