"""One stream's sink: validates and maps its records and hands them to the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from singer_sdk import Target
from singer_sdk.exceptions import InvalidJSONSchema
from singer_sdk.sinks import Sink

from target_fullstory.errors import ConfigurationError, InputError
from target_fullstory.input.messages import parse
from target_fullstory.input.stretch import Stretch, in_order
from target_fullstory.mapping import (
    NOT_FAST,
    CallMapping,
    Chunk,
    FastPath,
    Mapped,
    Rejected,
    StreamMapping,
    compile_fast,
    compile_mapping,
    spec_for,
)
from target_fullstory.outlet import Outlet
from target_fullstory.settings.model import Settings
from target_fullstory.validation import RecordValidator


class SinkTarget(Protocol):
    """What a sink needs of its target."""

    settings: Settings
    missing_keys: set[str]

    @property
    def pipeline(self) -> Outlet:
        """Takes the records."""


class FullstorySink(Sink):
    """The way of one stream's records from the tap's SCHEMA to the pipeline."""

    def __init__(
        self,
        target: SinkTarget,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Compile the stream's mapping.

        Args:
            target: The target.
            stream_name: The stream.
            schema: Its SCHEMA.
            key_properties: Its key columns.

        Raises:
            ConfigurationError: The stream has no mapping, or one that does not fit the SCHEMA.
            InputError: The SCHEMA is no JSON Schema.
        """
        try:
            super().__init__(cast("Target", target), stream_name, schema, key_properties)
        except InvalidJSONSchema as error:
            raise InputError(
                f"The SCHEMA of stream {stream_name!r} is no valid JSON Schema: {error}. Check the tap."
            ) from None
        settings = target.settings
        self._pipeline = target.pipeline
        self._missing_keys = target.missing_keys
        self._keys = frozenset(self.key_properties)
        spec = spec_for(stream_name, settings.streams)
        if spec is None and settings.unmapped_streams == "error":
            known = ", ".join(sorted(settings.streams)) or "none"
            raise ConfigurationError(
                f"Stream {stream_name!r} has no mapping (configured: {known}). Add it under streams, or "
                "set unmapped_streams to ignore."
            )
        self._mapping: StreamMapping | CallMapping | None = None
        if spec is not None:
            self._mapping = compile_mapping(
                stream_name, spec, schema, self.key_properties, settings.mapping_options
            )
        self._pipeline.open_stream(stream_name, spec.kind if spec else None)
        for notice in self._mapping.notices if self._mapping else ():
            self.logger.info(notice)
        self.fast: FastPath | None = None

    def choose_path(self, *, plain: bool) -> None:
        """Choose between the fast path and the careful one, once per SCHEMA.

        Args:
            plain: Whether records come as the tap sent them: no stream map, flattening or metadata.
        """
        if not isinstance(self._mapping, StreamMapping):
            return
        if plain and self._pipeline.takes_chunks:
            self.fast = compile_fast(self._mapping, validate=self.validate_schema)
        self.logger.info(
            "Stream %s: %s",
            self.stream_name,
            "fast path" if self.fast else "careful path (SCHEMA or settings ask for it)",
        )

    @property
    def decoder(self) -> FastPath | None:
        """Decodes the stream's RECORD lines; None where records are to be plain dictionaries."""
        return self.fast

    def take(self, records: list[Any], lines: Callable[[], list[bytes]]) -> None:
        """Map records that follow each other and pass them on.

        Args:
            records: As `decoder` has decoded them, or plain dictionaries.
            lines: Makes the list of their lines.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if self.fast is None or self._mapping is None:
            for record in records:
                self.process_record(record, {})
            return
        if dict not in set(map(type, records)):
            try:
                requests = self.fast.requests(records)
            except NOT_FAST:
                self._pass_on(Stretch(records, lines()))
            else:
                self._pipeline.add_chunk(self.stream_name, self._mapping.kind, requests)
            return
        stretch = Stretch()
        for record, line in zip(records, lines(), strict=True):
            if isinstance(record, dict):
                stretch.careful.append((len(stretch.records), record))
            else:
                stretch.records.append(record)
                stretch.lines.append(line)
        self._pass_on(stretch)

    def _pass_on(self, stretch: Stretch) -> None:
        """Map a stretch; where some of its records need care, halve it until they are alone."""
        if self.fast is None or self._mapping is None:
            raise ValueError("this stream has no fast path")
        try:
            chunk = self.fast.requests(stretch.records)
        except NOT_FAST:
            if len(stretch.records) > 1:
                for half in stretch.halves():
                    self._pass_on(half)
                return
            stretch = stretch.carefully(parse(stretch.lines[0], 0)["record"])
            chunk = Chunk([], [], timed=False)
        # One behind the other: code that has just run is the fastest.
        careful = [
            (at, mapped)
            for at, record in stretch.careful
            if (mapped := self._map(record)) is not None
        ]
        for part in in_order(chunk, careful):
            if isinstance(part, Chunk):
                self._pipeline.add_chunk(self.stream_name, self._mapping.kind, part)
            else:
                self._pipeline.add(self.stream_name, part.kind or self._mapping.kind, part, None)

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Map one record and pass it on; what cannot be mapped goes to the rejects file.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        if self._mapping is None:
            self._pipeline.ignore(self.stream_name, 1)
            return
        mapped = self._map(record)
        if mapped is not None:
            kind = mapped.kind or self._mapping.kind
            self._pipeline.add(self.stream_name, kind, mapped, record)

    def reject(self, record: dict[str, Any], rejected: Rejected) -> None:
        """Write a record to the rejects file that did not get as far as the mapping.

        Raises:
            OutputError: The file cannot be written.
        """
        if self._mapping is None:
            self._pipeline.ignore(self.stream_name, 1)
        else:
            record, rejected = self._mapping.concealed(record, rejected)
            self._pipeline.reject(self.stream_name, self._mapping.kind, rejected, record)

    def _map(self, record: dict[str, Any]) -> Mapped | None:
        """Map a record with care; None where it went to the rejects file."""
        if self._mapping is None:
            raise ValueError("this stream has no mapping")
        missing = not record.keys() >= self._keys
        violation = self._missing_key(record) if missing else self._violation(record)
        result: Mapped | Rejected
        if violation is None:
            result = self._mapping.map_record(record)
        else:
            # The mapping's own codes say more than a violation of the SCHEMA does.
            result = self._mapping.refusal(record) or violation
        if missing:
            self._missing_keys.add(self.stream_name)
        if isinstance(result, Rejected):
            record, result = self._mapping.concealed(record, result)
            self._pipeline.reject(self.stream_name, self._mapping.kind, result, record)
            return None
        if result.dropped:
            self._pipeline.tell_dropped(self.stream_name, result.dropped)
        return result

    def _missing_key(self, record: dict[str, Any]) -> Rejected | None:
        if self._validator is None:
            return None
        name = next(name for name in self.key_properties if name not in record)
        return Rejected("schema_violation", f"the key property {name!r} is missing")

    def _violation(self, record: dict[str, Any]) -> Rejected | None:
        if not isinstance(self._validator, RecordValidator):
            return None
        violation = self._validator.violation(record)
        return None if violation is None else Rejected("schema_violation", violation)

    def get_validator(self) -> RecordValidator | None:
        """singer-sdk's place for another validator; None where records are not validated."""
        return RecordValidator(self.schema) if self.validate_schema else None

    # singer-sdk's own steps that would change a record, or do again what is done above

    def process_batch(self, context: dict[str, Any]) -> None:
        """Nothing is gathered here: the pipeline holds the batches."""

    @property
    def is_full(self) -> bool:
        """Never: the pipeline decides when to send."""
        return False

    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        return record

    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        """A missing key column is an end of the record, not of the run."""

    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Columns of this name are never properties unless the mapping names them."""

    def _remove_sdc_metadata_from_schema(self) -> None:
        """See above."""
