"""The Singer target: a reader's events go to one sink per stream, and from there to one run."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import FrameType
from typing import IO, Any, ClassVar, cast

from singer_sdk import Target
from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities, TargetCapabilities
from singer_sdk.io_base import SingerReader
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform, StreamMap
from singer_sdk.plugin_base import _ConfigInput

from target_fullstory.errors import DeliveryError, OutputError, TooManyRejectsError, did_you_mean
from target_fullstory.input.line_chunks import chunks
from target_fullstory.input.message_lines import parse
from target_fullstory.input.progress import progress_bar, size_of
from target_fullstory.input.reader import Reader, Records, Schema, State, Unreadable
from target_fullstory.load import Load
from target_fullstory.mapping import DEFAULT_STREAMS, Rejected, spec_for
from target_fullstory.run import Run
from target_fullstory.schemas.flattening import with_types
from target_fullstory.schemas.flaws import in_one_line
from target_fullstory.schemas.schema_repair import repaired
from target_fullstory.sending.in_flight import StopWaiting
from target_fullstory.settings.environment import from_environment
from target_fullstory.settings.load_settings import batch_storage, check_secrets, load_settings
from target_fullstory.settings.model import JSON_SCHEMA
from target_fullstory.sink import FullstorySink
from target_fullstory.stream_maps import StreamMaps, rejection_of


class MissingKeysError(TooManyRejectsError, MissingKeyPropertiesError):
    """Too many rejects, among them records without a key property: singer-sdk's name for that."""


class _Listener(SingerReader):
    """Reads for singer-sdk's `listen`, which logs the number of messages of each type."""

    def __init__(self, load: Callable[[IO[str] | None], Counter[str]]) -> None:
        super().__init__()
        self._load = load

    def process_lines(
        self,
        file_input: IO[str] | None,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],  # noqa: ARG002
    ) -> Counter[str]:
        return self._load(file_input)


class TargetFullstory(Target):
    """Loads any tap's records into Fullstory as users and events, and accounts for every record."""

    name = "target-fullstory"
    config_jsonschema: ClassVar[dict[str, Any]] = copy.deepcopy(JSON_SCHEMA)
    default_sink_class = FullstorySink
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        PluginCapabilities.BATCH,
        TargetCapabilities.VALIDATE_RECORDS,
    ]

    # Here, not in `__init__`: singer-sdk's part of that installs the signals' handler.
    _stop_asked = False

    def __init__(self, **options: Any) -> None:
        """Read the settings; nothing is sent or created yet.

        The options are those of `singer_sdk.Target`, and `key_salt` and `approved`, see `Load`.
        """
        if options.pop("parse_env_config", False):
            given = options.get("config") or {}
            options["config"] = {**given, **self.config_from_environment()}
        self._of_load = {name: options.pop(name) for name in ("key_salt", "approved") if name in options}
        super().__init__(**options)
        self.settings = load_settings(self.config)
        names = list(self.config_jsonschema["properties"])
        for name in self.config:
            if name not in names:
                hint = did_you_mean(name, names)
                self.logger.warning("Setting %s is not known and has no effect%s", name, hint)
        self.message_reader = _Listener(self._load)
        mapped = [*self.settings.streams, *DEFAULT_STREAMS]
        self.checked_maps = StreamMaps(
            self.mapper,
            lambda name: spec_for(name, self.settings.streams) is not None,
            mapped if self.settings.unmapped_streams == "error" else None,
        )
        # The last SCHEMA message of each stream, and the warning about its repair.
        self._schemas: dict[str, tuple[dict[str, Any], str]] = {}
        # By the tap's stream and the name that a stream map gives it: the SCHEMAs of one name may differ.
        self._sinks: dict[tuple[str, str], FullstorySink] = {}
        # The sinks that take a stream's records as the tap sent them, which their decoders may decode.
        self._direct_sinks: dict[str, FullstorySink] = {}

    @cached_property
    def run(self) -> Run:
        """This process's run, started at its first use."""
        run = Load(self.settings, self.config, **self._of_load)
        if self._stop_asked:
            run.interrupt()
        return run

    # Input

    def _load(self, file_input: IO[str] | None) -> Counter[str]:
        """Read to the end of the input, or until the run is asked to stop."""
        source = chunks(file_input)
        run = self.run
        reader = Reader(source, batch_storage(self.config))
        with self.ending_in_order(), progress_bar("Reading", size_of(file_input)) as advance:
            run.settle()
            for event in run.watch(reader, self.checked_maps.names_of):
                if isinstance(event, Records):
                    self._take(event)
                elif isinstance(event, Unreadable):
                    self._reject_unreadable(event)
                elif isinstance(event, State):
                    run.state(event.value)
                elif isinstance(event, Schema):
                    self.take_schema(event.message)
                    for stream_map in self.mapper.stream_maps[event.message["stream"]]:
                        # An alias may have replaced the sink of a stream of that name.
                        sink = self._direct_sinks.get(stream_map.stream_alias)
                        reader.decode_with(stream_map.stream_alias, sink.decoder if sink else None)
                else:
                    if advance:
                        advance(event.bytes_read)
                    if run.interrupted:
                        break
                    run.tick()
            else:
                for warning in self.checked_maps.unused():
                    self.logger.warning(warning)
        return reader.counts

    def take_schema(self, message: dict[str, Any]) -> None:
        """Make the sinks of a stream, by its SCHEMA message."""
        stream = message["stream"]
        known, last_warning = self._schemas.get(stream, (None, ""))
        if message == known:
            return
        schema, flaws = repaired(message["schema"])
        if (warning := in_one_line(flaws)) and warning != last_warning:
            self.logger.warning("Stream %s: the tap's SCHEMA was repaired: %s", stream, warning)
        self._schemas[stream] = (message, warning)
        options = self.mapper.flattening_options
        if options.enabled and options.max_level > 0:
            schema = with_types(schema, options.max_level)
        keys = message.get("key_properties") or []
        keys = [keys] if isinstance(keys, str) else keys
        self.run.rejects.know_schema(message)
        for stream_map in self.checked_maps.register(stream, schema, keys):
            if isinstance(stream_map, RemoveRecordTransform):
                self.run.open_stream(stream_map.stream_alias, None)
                continue
            self.get_sink(
                stream_map.stream_alias,
                schema=_complete(stream_map.transformed_schema, schema),
                key_properties=stream_map.transformed_key_properties,
            )
            # A sink that another one replaces holds nothing to send: the run does.
            self._sinks_to_clear.clear()
            sink = cast("FullstorySink", self.get_sink(stream_map.stream_alias))
            self._sinks[stream, stream_map.stream_alias] = sink
            # singer-sdk changes nothing about the records.
            direct = (
                self.mapper.stream_maps[stream] == [stream_map]
                and isinstance(stream_map, SameRecordTransform)
                and not stream_map.flattening_enabled
                and not sink.include_sdc_metadata_properties
            )
            if direct:
                self._direct_sinks[stream] = sink
            elif self._direct_sinks.get(stream_map.stream_alias) is not sink:
                self._direct_sinks.pop(stream_map.stream_alias, None)
            sink.choose_path(direct=direct)

    def sinks_of(self, stream: str) -> dict[str, FullstorySink]:
        """The sinks of the records of one name, by the tap's stream."""
        return {source: sink for (source, alias), sink in self._sinks.items() if alias == stream}

    def begin_without_schema(self, source: str, stream: str) -> None:
        """Make the sink of a stream whose SCHEMA is not known."""
        sink = self.get_sink(stream, schema={"type": "object", "properties": {}}, key_properties=[])
        self._sinks[source, stream] = cast("FullstorySink", sink)

    def _take(self, event: Records) -> None:
        """Pass records to their stream's sink, through singer-sdk's stream maps where there are any."""
        stream_maps = self._maps_of(event.stream)
        if sink := self._direct_sinks.get(event.stream):
            sink.take(event.records, event.lines)
            return
        for record, line in zip(event.records, event.lines(), strict=True):
            for stream_map in stream_maps:
                self._transform(event.stream, stream_map, record, line)

    def _reject_unreadable(self, event: Unreadable) -> None:
        rejected = Rejected("unreadable_record", event.reason)
        for stream_map in self._maps_of(event.stream):
            if isinstance(stream_map, RemoveRecordTransform):
                self.run.ignore(stream_map.stream_alias, 1)
            else:
                sink = self._sinks[event.stream, stream_map.stream_alias]
                sink.reject_unreadable(event.record, rejected, event.stream)
                self.run.look_at(stream_map.stream_alias)

    def _maps_of(self, stream: str) -> list[StreamMap]:
        if stream not in self.mapper.stream_maps:
            raise RecordsWithoutSchemaException(
                f"A record of stream {stream!r} came before the stream's SCHEMA. Check the tap."
            )
        return self.mapper.stream_maps[stream]

    def _transform(self, source: str, stream_map: StreamMap, original: dict[str, Any], line: bytes) -> None:
        """Apply a stream map to a record and pass the result to its sink."""
        stream = stream_map.stream_alias
        try:
            record = stream_map.transform(copy.copy(original))
        except Exception as error:  # noqa: BLE001 - a user's expression may raise anything
            self._sinks[source, stream].reject(original, rejection_of(error, stream_map), source)
            self.run.look_at(stream)
            return
        if record is None:
            self.run.ignore(stream, 1)
            return
        sink = self._sinks[source, stream]
        if sink.include_sdc_metadata_properties:
            message = parse(line, 0) if line else {}
            sink._add_sdc_metadata_to_record(record, message, {})  # noqa: SLF001
        sink.take([record], list, source)

    def take_untransformed(self, source: str, stream: str, record: dict[str, Any]) -> None:
        """Take a record of the tap's stream `source` that its stream map to `stream` had rejected."""
        for stream_map in self.mapper.stream_maps[source]:
            if stream_map.stream_alias == stream:
                self._transform(source, stream_map, record, b"")

    # The end of the run

    @contextmanager
    def ending_in_order(self) -> Iterator[None]:
        """End the run in order where an error stops the input; raises that error."""
        try:
            yield
        except StopWaiting:
            self.logger.debug("Stopped while a batch waited for its turn")
        except (DeliveryError, OutputError):
            self.run.end(deliver=False)
            raise
        except Exception:
            # What came before the error is delivered and checkpointed all the same.
            self.run.end()
            raise

    def process_endofpipe(self) -> None:
        """Send what is open, wait for it, write the last STATE and the run report."""
        run = self.run
        with self.ending_in_order():
            run.check_limit()
            run.check_changes(all_read=True)
        run.end()
        if not run.interrupted:
            # What Fullstory has refused in the meantime. After a signal, records were left to the next run.
            run.check_limit()
        run.check_earlier_jobs()
        # Those that an earlier run's job has refused are among them.
        count = max(run.rejects.count, run.ledger.totals().rejected)
        limit = self.settings.max_rejected_records
        if limit is None or count <= limit:
            return
        kind = MissingKeysError if run.missing_keys else TooManyRejectsError
        where = run.rejects.path
        reason, most = run.rejects.reasons.counted()[0]
        raise kind(
            f"{count} records were rejected, more than max_rejected_records ({limit}) allows; all others "
            f"are delivered. The most frequent reason: {reason} ({most} of stream {reason.stream!r}). "
            + (f"The reasons are in {where}." if where else "No file holds them; the log has the reasons.")
        )

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._stop_asked:
            os._exit(1)
        self._stop_asked = True
        if "run" in self.__dict__:
            self.run.interrupt()

    # The command line and the configuration

    @classmethod
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        file_input: IO[str] | None = None,
        approve: str | None = None,
    ) -> None:
        """Run the command line without a subcommand; `approve` is the id of a plan beyond the limits."""
        if about:
            cls.print_about(about_format)
            return
        config = config or _ConfigInput()
        cls(config=config.config, parse_env_config=config.parse_env, approved=approve).listen(file_input)

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add singer-sdk's own settings, without the one that means nothing here."""
        super().append_builtin_config(config_jsonschema)
        config_jsonschema["properties"].pop("load_method", None)

    @classmethod
    def config_from_environment(cls) -> dict[str, Any]:
        """The settings, singer-sdk's own included, that the environment and a file `.env` give."""
        known: dict[str, Any] = {"properties": {}}
        cls.append_builtin_config(known)
        return from_environment(known)

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check secrets first: singer-sdk's error for one of the wrong type would show it."""
        check_secrets(self._config)
        return super()._validate_config(raise_errors=raise_errors)


def _complete(schema: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
    """What singer-sdk made of a SCHEMA, valid again.

    Flattening renames columns, but leaves the old names in `required`; a stream map leaves out what the
    columns refer to, or adds null to what has no type.
    """
    if schema is original:
        return schema
    made, _ = repaired({name: original[name] for name in ("$defs",) if name in original} | schema)
    if "required" in made:
        made["required"] = [name for name in made["required"] if name in made["properties"]]
    return made
