"""The Singer target: settings in, one sink per stream, one run for all."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar

from singer_sdk import Target
from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import (
    CapabilitiesEnum,
    PluginCapabilities,
    TargetCapabilities,
)
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from target_fullstory.errors import DeliveryError, OutputError, TooManyRejectsError
from target_fullstory.input.reader import LineReader
from target_fullstory.mapping import Rejected
from target_fullstory.run import Run
from target_fullstory.sending.in_flight import StopWaiting
from target_fullstory.settings.model import (
    JSON_SCHEMA,
    check_secrets,
    from_environment,
    load_settings,
)
from target_fullstory.sink import FullstorySink

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.mapper import StreamMap
    from singer_sdk.plugin_base import _ConfigInput
    from singer_sdk.singerlib.encoding.base import GenericSingerReader


def _without_lost_columns(schema: dict[str, Any]) -> dict[str, Any]:
    """Flattening renames columns, but leaves the old names in `required`."""
    if "required" not in schema:
        return schema
    there = [name for name in schema["required"] if name in schema["properties"]]
    return {**schema, "required": there}


class MissingKeysError(TooManyRejectsError, MissingKeyPropertiesError):
    """Too many rejects, among them records without a key property: singer-sdk's name for that."""


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

    def __init__(self, **options: Any) -> None:
        """Read the settings; nothing is sent or created yet.

        Args:
            options: As for `singer_sdk.Target`; and `key_salt`, which sets the keys that are made of content
                apart from those of other runs.

        Raises:
            ConfigurationError: A setting is mistaken.
        """
        if options.pop("parse_env_config", False):
            known: dict[str, Any] = {"properties": {}}
            self.append_builtin_config(known)
            options["config"] = {**(options.get("config") or {}), **from_environment(known)}
        self._key_salt: str = options.pop("key_salt", "")
        super().__init__(**options)
        self.settings = load_settings(self.config)
        self._tell_unknown_settings()
        self.message_reader: GenericSingerReader[str] = LineReader(self)
        self.missing_keys: set[str] = set()
        self._stop_asked = False

    @cached_property
    def run(self) -> Run:
        """This process's run, begun with the first use."""
        run = Run(self.settings, self.config, key_salt=self._key_salt)
        if self._stop_asked:
            run.interrupt()
        return run

    def end_run(self, *, deliver: bool = True) -> None:
        """End the run in order, at the end of the input or after an error.

        Args:
            deliver: Whether there is a point in sending; False where a request or a file has failed.

        Raises:
            TargetFullstoryError: Something could not be delivered or written.
        """
        self.run.end(deliver=deliver)

    # Messages

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        stream, schema = message_dict["stream"], message_dict["schema"]
        keys = message_dict.get("key_properties")
        known = self.mapper.stream_maps.get(stream)
        if known and known[0].raw_schema == schema and known[0].raw_key_properties == keys:
            return
        self.mapper.register_raw_stream_schema(stream, schema, keys)
        for stream_map in self.mapper.stream_maps[stream]:
            if isinstance(stream_map, RemoveRecordTransform):
                self.run.open_stream(stream_map.stream_alias, None)
                continue
            self.run.know_schema(stream_map.stream_alias, message_dict)
            self.get_sink(
                stream_map.stream_alias,
                schema=_without_lost_columns(stream_map.transformed_schema),
                key_properties=stream_map.transformed_key_properties,
            )
            self.sink_of(stream_map.stream_alias).choose_path(plain=self._is_plain(stream))

    def _is_plain(self, stream: str) -> bool:
        """Whether singer-sdk changes nothing about a stream's records."""
        maps = self.mapper.stream_maps[stream]
        return (
            len(maps) == 1
            and isinstance(maps[0], SameRecordTransform)
            and not maps[0].flattening_enabled
            and not self.config.get("add_record_metadata")
        )

    def sink_of(self, stream: str) -> FullstorySink:
        """The sink of a stream, by the name that stream maps have given it."""
        sink = self.get_sink(stream)
        if not isinstance(sink, FullstorySink):
            raise TypeError("every sink of this target is a FullstorySink")
        return sink

    def plain_sink(self, stream: str) -> FullstorySink | None:
        """The sink that takes a stream's records as they come, None where there is none."""
        return self.sink_of(stream) if self.sink_exists(stream) else None

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        stream = message_dict["stream"]
        if stream not in self.mapper.stream_maps:
            raise RecordsWithoutSchemaException(
                f"A record of stream {stream!r} came before the stream's SCHEMA. Check the tap."
            )
        for stream_map in self.mapper.stream_maps[stream]:
            self._transform(stream_map, message_dict)

    def _transform(self, stream_map: StreamMap, message: dict[str, Any]) -> None:
        """Apply one stream map to a record and give the outcome to its sink."""
        try:
            record = stream_map.transform(copy.copy(message["record"]))
        except Exception as error:  # noqa: BLE001 - a user's expression may raise anything
            rejected = Rejected("stream_map_error", f"{type(error).__name__}: {error}")
            self.sink_of(stream_map.stream_alias).reject(message["record"], rejected)
            return
        if record is None:
            self.run.ignore(stream_map.stream_alias, 1)
            return
        sink = self.sink_of(stream_map.stream_alias)
        if sink.include_sdc_metadata_properties:
            sink._add_sdc_metadata_to_record(record, message, {})  # noqa: SLF001
        sink.process_record(record, {})

    def take_schema(self, message: dict[str, Any]) -> None:
        """Take a SCHEMA message that does not come from the input.

        Raises:
            TargetFullstoryError: It does not fit the mapping.
        """
        self._process_schema_message(message)

    def take_untransformed(self, stream: str, record: dict[str, Any]) -> None:
        """Take a record as it was before a stream map refused it.

        Args:
            stream: Its stream, by the name that stream maps have given it.
            record: The record.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
        """
        for raw_stream, stream_maps in self.mapper.stream_maps.items():
            for stream_map in stream_maps:
                if stream_map.stream_alias == stream:
                    message = {"type": "RECORD", "stream": raw_stream, "record": record}
                    self._transform(stream_map, message)

    @contextmanager
    def ending_in_order(self) -> Iterator[None]:
        """End the run in order where an error ends the taking of records.

        Raises:
            TargetFullstoryError: That error.
        """
        try:
            yield
        except StopWaiting:
            self.logger.debug("Stopped while a batch waited for its turn")
        except (DeliveryError, OutputError):
            self.end_run(deliver=False)
            raise
        except Exception:
            # What came before the error is delivered and checkpointed all the same.
            self.end_run()
            raise

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Fullstory keeps no table versions; the message needs nothing done."""
        self.logger.debug(
            "ACTIVATE_VERSION of stream %s: nothing to do", message_dict.get("stream")
        )

    # The end

    def process_endofpipe(self) -> None:
        """Send what is open, wait for it, write the last STATE and the run report.

        Raises:
            TargetFullstoryError: Something could not be delivered, or too many records were rejected.
        """
        self.end_run()
        self._check_rejects()

    def _check_rejects(self) -> None:
        run = self.run
        limit, count = self.settings.max_rejected_records, run.ledger.totals().rejected
        if limit is None or count <= limit:
            return
        kind = MissingKeysError if self.missing_keys else TooManyRejectsError
        raise kind(
            f"{count} records were rejected, more than max_rejected_records ({limit}) allows; all others "
            f"are delivered. The reasons are in {run.rejects.summary()['path']}."
        )

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._stop_asked:
            os._exit(1)
        self._stop_asked = True
        if "run" in self.__dict__:
            self.run.interrupt()

    @classmethod
    def invoke(  # type: ignore[override]
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        file_input: IO[str] | None = None,
    ) -> None:
        """Run the command line without a subcommand.

        Args:
            about: Print the settings instead.
            about_format: In which form.
            config: The configuration files' contents.
            file_input: The lines; standard input where None.

        Raises:
            TargetFullstoryError: The run failed.
        """
        if about:
            cls.print_about(about_format)
            return
        target = cls(
            config=config.config if config else {},
            parse_env_config=config.parse_env if config else False,
        )
        target.listen(file_input)

    # The configuration

    def _tell_unknown_settings(self) -> None:
        names = list(self.config_jsonschema["properties"])
        for name in self.config:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                self.logger.warning("Setting %s is not known and has no effect%s", name, hint)

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add singer-sdk's own settings, without the one that means nothing here."""
        super().append_builtin_config(config_jsonschema)
        config_jsonschema["properties"].pop("load_method", None)

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check secrets first: singer-sdk's error for one of the wrong type would show it.

        Raises:
            ConfigurationError: One is of the wrong type.
        """
        check_secrets(self._config)
        return super()._validate_config(raise_errors=raise_errors)
