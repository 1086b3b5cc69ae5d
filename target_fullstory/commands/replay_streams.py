"""Makes the streams of rejected records ready to be mapped again: their SCHEMAs and sinks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from target_fullstory.commands.reject_entries import Entry
from target_fullstory.errors import InputError
from target_fullstory.input.messages import member, parse, peek
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.mapping import Rejected, chunk_of, spec_for
from target_fullstory.settings.model import Settings
from target_fullstory.target import TargetFullstory

_TELLS_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


class ReplayStreams:
    """What the entries to be sent again need, found in a first reading of all of them."""

    def __init__(self, settings: Settings) -> None:
        """Know no entry yet.

        Args:
            settings: The settings: which kind a stream maps to now.
        """
        self._settings = settings
        self._kinds: dict[str, Kind] = {}
        self._to_map: set[str] = set()
        self._to_transform: set[str] = set()

    def check(self, entry: Entry) -> None:
        """Hold an entry against the mapping.

        Raises:
            InputError: The mapping does not fit, or the entry's request is none.
        """
        spec = spec_for(entry.stream, self._settings.streams)
        kind = spec.kind if spec else entry.kind
        if entry.kind != kind and (kind, entry.kind) != ("users", "user_deletions"):
            raise InputError(
                f"{entry.where}: a record of stream {entry.stream!r} was rejected as {entry.kind}, but the "
                f"stream maps to {kind} now. Nothing was sent; correct streams, or take the line out."
            )
        self._kinds[entry.stream] = kind
        if not entry.has_record:
            entry.as_mapped()
            return
        if spec is None:
            raise InputError(
                f"{entry.where}: stream {entry.stream!r} has no mapping. Nothing was sent; add it under "
                "streams."
            )
        (self._to_transform if _is_raw(entry) else self._to_map).add(entry.stream)

    def open(self, target: TargetFullstory, schema_files: list[str]) -> None:
        """Make the sinks, and begin the streams.

        Args:
            target: Has the sinks and the run.
            schema_files: Files of Singer messages whose SCHEMAs are taken; a later one replaces an earlier.

        Raises:
            TargetFullstoryError: A SCHEMA does not fit the mapping, or is needed and not there.
            OSError: A file cannot be read.
        """
        needed = self._to_map | self._to_transform
        mapped = set(target.config.get("stream_maps") or {})
        for message in _schemas(schema_files):
            if message["stream"] in needed | mapped:
                target.take_schema(message)
        for stream in sorted(self._to_transform):
            if not target.sink_exists(stream):
                raise InputError(
                    f"Records of stream {stream!r} were refused by a stream map, and their SCHEMA is not "
                    "known. Nothing was sent; give it with --schema."
                )
        for stream in sorted(self._to_map):
            if not target.sink_exists(stream):
                logger.warning(
                    "The SCHEMA of stream %s is not known: its records are mapped without types and without "
                    "key columns. Give it with --schema",
                    stream,
                )
                target.get_sink(stream, schema=_TELLS_NOTHING, key_properties=[])
        for stream, kind in self._kinds.items():
            target.run.open_stream(stream, kind)


def send(target: TargetFullstory, entry: Entry) -> None:
    """Send one entry the way that a load would.

    Args:
        target: Has the sinks and the run.
        entry: The entry.

    Raises:
        TargetFullstoryError: An earlier request failed for good.
    """
    if entry.has_record:
        if _is_raw(entry):
            target.take_untransformed(entry.stream, entry.record)
        else:
            target.sink_of(entry.stream).process_record(entry.record, {})
        return
    mapped = entry.as_mapped()
    if isinstance(mapped, Rejected):
        # There is nothing to send; it goes on to the new rejects file, with the reason.
        text = None if entry.record is msgspec.UNSET else entry.record
        target.run.reject(entry.stream, entry.kind, mapped, text, bytes(entry.request) or None)
        return
    target.run.add(entry.stream, chunk_of(entry.kind, mapped))


def _is_raw(entry: Entry) -> bool:
    """Whether the record is the tap's, as it was before a stream map."""
    return entry.code == "stream_map_error"


def _schemas(paths: list[str]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                kin = peek(line)
                if kin is not None and kin.type == "SCHEMA":
                    message = parse(line, number)
                    for name, kind in (("stream", str), ("schema", dict)):
                        member(message, name, kind, number)
                    yield message
