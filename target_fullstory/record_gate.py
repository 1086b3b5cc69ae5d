"""The gate in front of a stream's mapping: what the snapshot knows passes unmapped, and is not sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from target_fullstory.input.message_lines import UNREADABLE, UnreadableError, decode_record, of_objects
from target_fullstory.input.unreadable_records import unreadable_object
from target_fullstory.mapped_records import MappedRecords
from target_fullstory.mapping import LineDecoder, Mapper, Rejected
from target_fullstory.run import Run
from target_fullstory.snapshot.event_identities import Identity
from target_fullstory.snapshot.stream_snapshot import Selection, StreamSnapshot


class GatedSink(Protocol):
    """What the gate needs of a stream's sink."""

    stream_name: str

    @property
    def run(self) -> Run:
        """Takes what is to be sent."""

    def reject(self, record: dict[str, Any], rejected: Rejected, source: str | None) -> None:
        """Reject a record."""

    def reject_unreadable(self, record: str, rejected: Rejected, source: str | None) -> None:
        """Reject a record that is known as text only."""


class RecordGate:
    """Takes the records of one stream with `sync: changed` or `mirror`."""

    def __init__(
        self, mapper: Mapper, known: StreamSnapshot, identity: Identity | None, sink: GatedSink
    ) -> None:
        """Take what maps them, what is known of them, and what tells their events apart."""
        self._stream = sink.stream_name
        self._mapper = mapper
        self._run = sink.run
        self._known = known
        self._identity = identity
        self._sink = sink
        self.decoder = LineDecoder(self._stream, msgspec.Raw)

    def take(self, raw: list[msgspec.Raw], source: str | None) -> None:
        """Take consecutive records as they came."""
        known = self._known
        fingerprints, places = known.unknown(raw)
        if places and not self._take_unknown(raw, fingerprints, places, source):
            # One of them needs care: whatever it is, it is found alone in the end.
            middle = len(raw) // 2
            self.take(raw[:middle], source)
            self.take(raw[middle:], source)
            return
        if count := len(raw) - len(places):
            known.count_known(count)
            self._run.count_unchanged(self._stream, count)

    def take_decoded(self, record: dict[str, Any], source: str | None) -> None:
        """Take a record whose bytes are not at hand."""
        mapped = MappedRecords(self._mapper, [record])
        identities = [self._identity(record)] if self._identity else None
        selections = [self._known.select(chunk, None, identities) for chunk in mapped.chunks]
        self._send(mapped, selections, [record], source)

    def _take_unknown(
        self, raw: list[msgspec.Raw], fingerprints: list[bytes], places: list[int], source: str | None
    ) -> bool:
        """Map the records at some places, and send what has changed.

        Returns False, and does nothing, where several records cannot be taken at once.
        """
        unknown = raw if len(places) == len(raw) else [raw[place] for place in places]
        records, alone = self._decode(unknown), len(raw) == 1
        if not alone and (records is None or (self._run.events_left is not None and len(unknown) > 1)):
            return False
        if records is None:
            try:
                records = [decode_record(bytes(raw[0]), of_objects, f"A record of stream {self._stream!r}")]
            except UnreadableError as error:
                text = unreadable_object(bytes(raw[0])) or ""
                self._sink.reject_unreadable(text, Rejected("unreadable_record", str(error)), source)
                return True
        mapped = MappedRecords(self._mapper, records)
        if len(mapped.chunks) > 1 and not alone:
            return False
        rejected = {index for index, _ in mapped.rejected}
        kept = [place for index, place in enumerate(places) if index not in rejected]
        came = [fingerprints[place] for place in kept]
        identities = None
        if self._identity:
            identities = [self._identity(_object(raw[place])) for place in kept]
        selections = [self._known.select(chunk, came, identities) for chunk in mapped.chunks]
        if not alone and any(_contradict(one, kept, fingerprints) for one in selections):
            return False
        self._send(mapped, selections, unknown, source)
        return True

    def _send(
        self,
        mapped: MappedRecords,
        selections: Sequence[Selection],
        records: Sequence[Any],
        source: str | None,
    ) -> None:
        mapped.count_omissions(self._run, self._stream)
        for index, why in mapped.rejected:
            self._sink.reject(_object(records[index]), why, source)
        record = _object(records[0]) if self._run.events_left is not None else None
        for chunk, selection in zip(mapped.chunks, selections, strict=True):
            self._run.add(self._stream, chunk, record, source, selection)

    def _decode(self, raw: Sequence[msgspec.Raw]) -> list[Any] | None:
        """Decode records; None where one of them cannot be decoded."""
        typed = self._mapper.decoder
        try:
            try:
                return list(map((typed.of_records if typed else of_objects).decode, raw))
            except UNREADABLE:
                return [self._decode_one(record) for record in raw]
        except UNREADABLE:
            return None

    def _decode_one(self, record: msgspec.Raw) -> Any:
        if typed := self._mapper.decoder:
            try:
                return typed.of_records.decode(record)
            except UNREADABLE:
                pass
        return of_objects.decode(record)


def _contradict(selection: Selection, places: list[int], fingerprints: list[bytes]) -> bool:
    """Whether a record counts no more, for what is to be sent of its user, that comes again after it."""
    for record, index in selection.outdated.items():
        if record in fingerprints and record in fingerprints[places[index] + 1 :]:
            return True
    return False


def _object(record: Any) -> dict[str, Any]:
    if type(record) is dict:
        return record
    try:
        return dict(of_objects.decode(record))
    except UNREADABLE:
        # It has a NaN, half a surrogate pair, or a number beyond JSON's usual range.
        return dict(decode_record(bytes(record), of_objects, "A record"))
