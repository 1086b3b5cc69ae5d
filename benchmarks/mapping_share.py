"""What the one generated function takes of a record's way from line to request, in one process.

It prints a line of JSON: seconds for decoding, mapping and encoding the records of standard input, and for
the bare msgspec loop over the same lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from benchmarks.inputs import EVENT_MAPPING
from target_fullstory.mapping import MappingOptions, Rejected, compile_mapper, spec_for
from target_fullstory.settings.stream_mappings import read_mappings

_CHUNK_BYTES = 256 * 1024


def main() -> None:
    """Measure the records of standard input, which begins with their SCHEMA."""
    schema = msgspec.json.decode(sys.stdin.buffer.readline())
    lines = [line for line in sys.stdin.buffer if line.startswith(b'{"type": "RECORD"')]
    spec = spec_for(schema["stream"], read_mappings({"events": EVENT_MAPPING}))
    if spec is None:
        raise ValueError("the input's stream has no mapping")
    mapper = compile_mapper(
        schema["stream"],
        spec,
        schema["schema"],
        schema["key_properties"],
        MappingOptions(),
        violation=lambda _: None,
    )
    decoder = mapper.decoder
    if decoder is None:
        raise ValueError("the input's stream has no typed decoder")
    clock = _Clock()
    encode = msgspec.json.Encoder().encode
    for chunk in _chunks(lines):
        records = clock.time("decode", partial(decoder.decode_lines, chunk))
        made = clock.time("map", partial(mapper.map, records, _refuse, _refuse_dropped))
        clock.time("encode", partial(list, map(encode, [one.requests for one in made])))
    bare = msgspec.json.Decoder().decode
    clock.time("bare", lambda: [len(encode(bare(line))) for line in lines])
    sys.stdout.write(msgspec.json.encode(clock.seconds).decode() + "\n")


class _Clock:
    """Adds up what each step takes.

    Attributes:
        seconds: By the step's name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - began
        return result


def _chunks(lines: list[bytes]) -> Iterator[bytes]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            yield b"".join(part)
            part, size = [], 0
    if part:
        yield b"".join(part)


def _refuse(index: int, rejected: Rejected) -> None:
    raise ValueError(f"record {index} of a clean input was rejected: {rejected.code}")


def _refuse_dropped(names: tuple[str, ...]) -> None:
    raise ValueError(f"values of a clean input were left out: {names}")


if __name__ == "__main__":
    main()
