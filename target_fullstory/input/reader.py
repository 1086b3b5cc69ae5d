"""Turns the tap's lines into messages for the target, between them the run's timed work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from singer_sdk.singerlib.encoding.base import GenericSingerReader, SingerMessageType

from target_fullstory.errors import InputError
from target_fullstory.input.batch_files import record_lines
from target_fullstory.input.chunks import chunks
from target_fullstory.input.messages import member, parse, peek, state_value
from target_fullstory.input.progress import progress
from target_fullstory.mapping import NOT_FAST
from target_fullstory.sending.in_flight import StopWaiting

if TYPE_CHECKING:
    from target_fullstory.run import Run
    from target_fullstory.sink import FullstorySink
    from target_fullstory.target import TargetFullstory


class LineReader(GenericSingerReader[str]):
    """Reads Singer messages in chunks of lines."""

    def __init__(self, target: TargetFullstory) -> None:
        """Read for a target."""
        super().__init__()
        self._target = target
        self._line = 0
        self._sink: FullstorySink | None = None
        self._counts: Counter[str] = Counter()
        self._callbacks: dict[str, Callable[[dict[str, Any]], None]] = {}

    default_input = None  # type: ignore[assignment]  # standard input, looked up when it is read

    def deserialize_json(self, line: str) -> dict[str, Any]:
        """One line as a message.

        Raises:
            InputError: It is none.
        """
        return parse(line.encode(), self._line)

    def process_lines(
        self,
        file_input: IO[str] | None,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
    ) -> Counter[str]:
        """Read all messages, or as many as come before the run is asked to stop.

        Args:
            file_input: The lines; standard input where None.
            callbacks: What to do with a message, by its type.

        Returns:
            The number of messages by type.

        Raises:
            TargetFullstoryError: A line cannot be understood, or a record cannot be delivered; the run has
                been ended in order.
        """
        self._callbacks = callbacks
        with self._target.ending_in_order():
            self._read(file_input, self._target.run)
        return self._counts

    def _read(self, file_input: IO[str] | None, run: Run) -> None:
        with progress(file_input) as advance:
            for chunk in chunks(file_input):
                if chunk is not None:
                    if not self._take_whole(chunk):
                        self._take_by_line(chunk)
                    advance(len(chunk))
                if run.interrupted:
                    return
                run.tick()

    def _take_whole(self, chunk: bytes) -> bool:
        """Decode a chunk at once, where it holds nothing but records of the current stream."""
        sink = self._sink
        if sink is None or sink.fast is None:
            return False
        try:
            records = sink.fast.decode_lines(chunk)
        except NOT_FAST:
            return False
        # Several times as fast as `count`.
        self._line += len(chunk) - len(chunk.replace(b"\n", b""))
        self._counts[SingerMessageType.RECORD] += len(records)
        sink.process_chunk(records, chunk)
        return True

    def _take_by_line(self, chunk: bytes) -> None:
        """Go line by line; records of one stream that follow each other go on together."""
        # Several times as fast as `split`.
        lines = BytesIO(chunk).readlines()
        at = 0
        while at < len(lines):
            if self._sink is not None:
                at += self._take_records(self._sink, lines, at)
                if at == len(lines):
                    break
            line = lines[at]
            if not line.isspace():
                if self._sink is not None:
                    self._sink.end_stretch()
                if self._turn_to(line):
                    continue
                self._line += 1
                self._take_carefully(line)
            else:
                self._line += 1
            at += 1
        if self._sink is not None:
            self._sink.end_stretch()

    def _take_records(self, sink: FullstorySink, lines: list[bytes], at: int) -> int:
        taken = sink.take_lines(lines, at, self._line + 1)
        self._line += taken
        self._counts[SingerMessageType.RECORD] += taken
        return taken

    def _turn_to(self, line: bytes) -> bool:
        """Make the stream of this line the current one; returns whether that changes anything."""
        kin = peek(line)
        if kin is None or kin.type != SingerMessageType.RECORD or kin.stream is None:
            return False
        sink = self._target.plain_sink(kin.stream)
        if sink is None or sink is self._sink or sink.fast is None:
            return False
        self._sink = sink
        return True

    def _take_carefully(self, line: bytes) -> None:
        message = parse(line, self._line)
        kind = message["type"]
        if kind == SingerMessageType.STATE:
            self._target.run.state(state_value(line, message, self._line))
            self._counts[kind] += 1
            return
        if kind == SingerMessageType.BATCH:
            self._take_files(message)
            self._counts[kind] += 1
            return
        if kind == SingerMessageType.RECORD:
            member(message, "stream", str, self._line)
            member(message, "record", dict, self._line)
        elif kind == SingerMessageType.SCHEMA:
            member(message, "stream", str, self._line)
            member(message, "schema", dict, self._line)
            member({**message["schema"], "type": kind}, "properties", dict, self._line)
            keys = message.get("key_properties") or []
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise InputError(
                    f"Line {self._line} of the input is a SCHEMA message whose `key_properties` is not an "
                    "array of column names. Check the tap."
                )
            # Its stream's sink may be replaced.
            self._sink = None
        elif kind not in self._callbacks:
            raise InputError(f"Line {self._line} of the input has the unknown type {kind!r:.40}.")
        self._callbacks[kind](message)
        self._counts[kind] += 1

    def _take_files(self, message: dict[str, Any]) -> None:
        for name, kind in (("stream", str), ("encoding", dict), ("manifest", list)):
            member(message, name, kind, self._line)
        line, run = self._line, self._target.run
        for chunk in record_lines(message, self._target.config):
            if not self._take_whole(chunk):
                self._take_by_line(chunk)
            # An error names the line of the BATCH message.
            self._line = line
            if run.interrupted:
                raise StopWaiting
            run.tick()
