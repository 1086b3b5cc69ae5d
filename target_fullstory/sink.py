"""singer-sdk's sink: one stream's records, on their way to the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import DEBUG
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from singer_sdk import Target
from singer_sdk.sinks import Sink

from target_fullstory.errors import ConfigurationError, did_you_mean
from target_fullstory.input.message_lines import parse
from target_fullstory.mapped_records import MappedRecords
from target_fullstory.mapping import (
    CONSTANT_UID,
    DEFAULT_STREAMS,
    LineDecoder,
    Mapper,
    Rejected,
    compile_mapper,
    constant_uid,
    spec_for,
)
from target_fullstory.run import Run
from target_fullstory.schemas.record_validation import RecordValidator
from target_fullstory.schemas.violations import violation
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.record_gate import RecordGate


class SinkTarget(Protocol):
    """What a sink needs of its target."""

    settings: Settings

    @property
    def run(self) -> Run:
        """Takes the mapped records."""


class FullstorySink(Sink):
    """Validates one stream's records by its SCHEMA, maps them, and passes their requests to the run."""

    def __init__(
        self,
        target: SinkTarget,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        super().__init__(cast("Target", target), stream_name, schema, key_properties)
        self.run = target.run
        self._keys = frozenset(self.key_properties)
        self.decoder: LineDecoder | None = None
        self._mapper = self._compile(target.settings, schema)
        self._gate = self._open_gate(target.settings, schema)
        self.run.open_stream(stream_name, self._mapper.kind if self._mapper else None)
        for notice in self._mapper.notices if self._mapper else ():
            self.logger.info(notice)

    def _compile(self, settings: Settings, schema: dict[str, Any]) -> Mapper | None:
        """The stream's mapping; None where its records are ignored."""
        spec = spec_for(self.stream_name, settings.streams)
        if spec is not None:
            if key := constant_uid(self.stream_name, spec):
                self.logger.warning("Stream %s: %s %s", self.stream_name, key, CONSTANT_UID)
            return compile_mapper(
                self.stream_name,
                spec,
                schema,
                self.key_properties,
                settings.mapping_options,
                violation=self._violation if self._validator else None,
            )
        if settings.unmapped_streams == "error":
            hint = did_you_mean(self.stream_name, [*settings.streams, *DEFAULT_STREAMS])
            raise ConfigurationError(
                f"Stream {self.stream_name!r} has no mapping{hint}{'' if hint.endswith('?') else '.'} Add it "
                "under streams, or set unmapped_streams to ignore."
            )
        return None

    def _open_gate(self, settings: Settings, schema: dict[str, Any]) -> RecordGate | None:
        """What holds back the records that were sent before; None where all are sent."""
        spec = spec_for(self.stream_name, settings.streams)
        if self._mapper is None or spec is None or self.run.snapshot is None:
            return None
        if spec.sync == "all":
            # What the snapshot knows from another mode is no longer what Fullstory has.
            self.run.snapshot.forget_users(self.stream_name)
            return None
        # Imported here: most runs have none.
        from target_fullstory.record_gate import RecordGate  # noqa: PLC0415
        from target_fullstory.snapshot.event_identities import identity_of  # noqa: PLC0415
        from target_fullstory.snapshot.mapping_scope import mapping_scope  # noqa: PLC0415

        known = self.run.snapshot.load_stream(self.stream_name, self._mapper.kind)
        options = settings.mapping_options, settings.validate_records
        known.begin(mapping_scope(spec, schema, self.key_properties, *options))
        known.begin_mirror(Path(settings.output_dir) if spec.sync == "mirror" else None)
        if self.run.mirror is not None:
            self.run.mirror.open_stream(self.stream_name, known)
        identity = identity_of(spec.identity, self.key_properties) if spec.kind == "events" else None
        return RecordGate(self._mapper, known, identity, self)

    def choose_path(self, *, direct: bool) -> None:
        """Choose between the fast path and the slow one, once per SCHEMA.

        Records come `direct` where singer-sdk changes none: no stream map, flattening or metadata.
        """
        if self._mapper is None or self._mapper.kind not in {"users", "events"}:
            return
        if direct and self._gate is not None:
            self.decoder = self._gate.decoder
        elif direct and self.run.events_left is None:
            self.decoder = self._mapper.decoder
        self.logger.info(
            "Stream %s: %s",
            self.stream_name,
            "fast path" if self.decoder else "slow path (SCHEMA or settings ask for it)",
        )
        for source in self._mapper.sources if self.logger.isEnabledFor(DEBUG) else ():
            for line in source.splitlines():
                self.logger.debug("Stream %s is mapped by %s", self.stream_name, line)

    def take(self, records: list[Any], lines: Callable[[], list[bytes]], source: str | None = None) -> None:
        """Map consecutive records and pass them on; what has no request goes to the rejects file.

        The records are as `decoder` makes them, or plain dictionaries; `lines` makes the list of their lines.
        `source` is the tap's stream, where stream maps may have given it another name.
        """
        if self._mapper is None:
            self.run.ignore(self.stream_name, len(records))
            return
        before_look = self.run.records_to_look(self.stream_name)
        if 0 < before_look < len(records):
            self.take(records[:before_look], lines, source)
            self.take(records[before_look:], lambda: lines()[before_look:], source)
            return
        if self._gate is not None:
            self._take_at_gate(self._gate, records, source)
        else:
            self._take_all(self._mapper, records, lines, source)
        if before_look:
            self.run.look_at(self.stream_name)

    def _take_at_gate(self, gate: RecordGate, records: list[Any], source: str | None) -> None:
        if dict not in set(map(type, records)):
            gate.take(records, source)
            return
        for record in records:
            if type(record) is dict:
                gate.take_decoded(record, source)
            else:
                gate.take([record], source)

    def _take_all(
        self, mapper: Mapper, records: list[Any], lines: Callable[[], list[bytes]], source: str | None
    ) -> None:
        has_quota = self.run.events_left is not None
        if has_quota and len(records) > 1:
            for record in records:
                self._take_all(mapper, [record], list, source)
            return
        mapped = MappedRecords(mapper, records)
        mapped.count_omissions(self.run, self.stream_name)
        for index, rejected in mapped.rejected:
            record = records[index]
            if type(record) is not dict:
                record = parse(lines()[index], 0)["record"]
            self.reject(record, rejected, source)
        for chunk in mapped.chunks:
            self.run.add(self.stream_name, chunk, records[0] if has_quota else None, source)

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Take one record, as singer-sdk gives it."""
        self.take([record], list)

    def reject(self, record: dict[str, Any], rejected: Rejected, source: str | None) -> None:
        """Write a record to the rejects file."""
        if self._mapper is None:
            self.run.ignore(self.stream_name, 1)
            return
        if not record.keys() >= self._keys:
            self.run.missing_keys = True
        record, rejected = self._mapper.redact(record, rejected)
        self.run.reject(self.stream_name, self._mapper.kind, rejected, record, source=source)

    def reject_unreadable(self, record: str, rejected: Rejected, source: str | None) -> None:
        """Write a record that is known as text only to the rejects file."""
        if self._mapper is None:
            self.run.ignore(self.stream_name, 1)
            return
        kind = self._mapper.kind
        # A webhook endpoint's may hold its secret, which cannot be told apart in a text.
        text = None if kind == "webhook_endpoints" else record
        self.run.reject(self.stream_name, kind, rejected, text, source=source)

    def _violation(self, record: dict[str, Any]) -> Rejected | None:
        if not record.keys() >= self._keys:
            name = next(name for name in self.key_properties if name not in record)
            return violation(name, "missing, and it is a key column")
        return cast("RecordValidator", self._validator).violation(record)

    def get_validator(self) -> RecordValidator | None:
        """Replace singer-sdk's validator; None where records are not validated."""
        return RecordValidator(self.schema) if self.validate_schema else None

    # Steps of singer-sdk that would change a record, or repeat what is done above

    def process_batch(self, context: dict[str, Any]) -> None:
        """Nothing is gathered here: the run holds the batches."""

    @property
    def is_full(self) -> bool:
        """Never: the run decides when to send."""
        return False

    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        return record

    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        """A missing key column rejects the record; it does not end the run."""

    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Columns of this name are never properties unless the mapping names them."""

    def _remove_sdc_metadata_from_schema(self) -> None:
        """See above."""
