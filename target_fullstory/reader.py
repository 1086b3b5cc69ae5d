"""Turns the tap's lines into messages for the target, between them the pipeline's timed work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from singer_sdk.singerlib.encoding.base import GenericSingerReader, SingerMessageType

from target_fullstory.errors import InputError
from target_fullstory.messages import member, parse, state_value
from target_fullstory.read import chunks

if TYPE_CHECKING:
    from target_fullstory.target import TargetFullstory


class LineReader(GenericSingerReader[str]):
    """Reads Singer messages in chunks of lines."""

    def __init__(self, target: TargetFullstory) -> None:
        """Read for a target."""
        super().__init__()
        self._target = target
        self._line = 0

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
            TargetFullstoryError: A line cannot be understood, or a record cannot be delivered.
        """
        counts: Counter[str] = Counter()
        for chunk in chunks(file_input):
            if chunk is not None:
                for line in chunk.split(b"\n"):
                    self._line += 1
                    if not line or line.isspace():
                        continue
                    self._process(line, callbacks, counts)
                if chunk.endswith(b"\n"):
                    self._line -= 1
            if self._target.pipeline.interrupted:
                break
            self._target.pipeline.tick()
        return counts

    def _process(
        self,
        line: bytes,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
        counts: Counter[str],
    ) -> None:
        message = parse(line, self._line)
        kind = message["type"]
        if kind == SingerMessageType.RECORD:
            member(message, "stream", str, self._line)
            member(message, "record", dict, self._line)
        elif kind == SingerMessageType.SCHEMA:
            member(message, "stream", str, self._line)
            member(message, "schema", dict, self._line)
            member({**message["schema"], "type": kind}, "properties", dict, self._line)
        elif kind == SingerMessageType.STATE:
            self._target.pipeline.state(state_value(line, message, self._line))
            counts[kind] += 1
            return
        elif kind not in callbacks:
            raise InputError(f"Line {self._line} of the input has the unknown type {kind!r}.")
        callbacks[kind](message)
        counts[kind] += 1
