"""Reads the tap's output in chunks of whole lines, without waiting for ever where the tap is silent."""

from __future__ import annotations

import select
import sys
from codecs import lookup
from collections.abc import Iterator
from io import BufferedReader, FileIO, TextIOWrapper
from locale import getpreferredencoding
from os import read
from typing import IO, Any

from target_fullstory.errors import InputError

_CHUNK = 256 * 1024
_IDLE_SECONDS = 0.5
_LONGEST_LINE = 64 * 1024 * 1024


def chunks(source: IO[str] | None) -> Iterator[bytes | None]:
    """One or more whole lines at a time, or None where nothing came for half a second.

    Every line has its line end, but perhaps the last. The source is standard input where None.
    """
    if source is None and sys.stdin is None:
        raise InputError(
            "Standard input is closed. Pipe a tap's output to the target, or name a file with --input."
        )
    handle = _file_number(source)
    if handle is None:
        return whole_lines(parts_of(source or sys.stdin))
    return whole_lines(_from_handle(handle))


def whole_lines(parts: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """Cut pieces of the input at line ends instead of anywhere; None is passed on."""
    rest = bytearray()
    for part in parts:
        if part is None:
            yield None
            continue
        end = part.rfind(b"\n") + 1
        if not end:
            rest += part
            if len(rest) > _LONGEST_LINE:
                raise InputError(
                    f"A line of the input is longer than {_LONGEST_LINE} bytes. Check the tap: a Singer "
                    "message is one line."
                )
            continue
        view = memoryview(part)
        whole = b"".join((rest, view[:end])) if rest or end < len(part) else part
        rest = bytearray(view[end:])
        yield whole
    if rest:
        yield bytes(rest)


def _file_number(source: IO[str] | None) -> int | None:
    """The descriptor to read from, None where the stream itself has to be read.

    Standard input, and a plain file of which nothing has been read, may be read below the stream: messages
    are UTF-8, whatever the locale says. A stream that decompresses, or was told another encoding, has a
    descriptor too, but not of what it yields.
    """
    try:
        if source is None or source is sys.stdin:
            return sys.stdin.fileno()
        plain = (
            isinstance(source, TextIOWrapper)
            and lookup(source.encoding).name in {"utf-8", lookup(getpreferredencoding(False)).name}
            and isinstance(source.buffer, BufferedReader)
            and isinstance(source.buffer.raw, FileIO)
            and source.tell() == 0
        )
        return source.fileno() if plain else None
    except (AttributeError, LookupError, OSError, ValueError):
        return None


def _from_handle(handle: int) -> Iterator[bytes | None]:
    wait = _waits(handle)
    while True:
        if wait and not select.select([handle], [], [], _IDLE_SECONDS)[0]:
            yield None
            continue
        try:
            part = read(handle, _CHUNK)
        except OSError as error:
            raise InputError(f"The input cannot be read: {error.strerror}. Check what is piped in.") from None
        if not part:
            return
        yield part


def _waits(handle: int) -> bool:
    """Whether one can wait for the handle with a time limit; on Windows that is for sockets only."""
    try:
        select.select([handle], [], [], 0)
    except (OSError, ValueError):
        return False
    return True


def parts_of(source: Any) -> Iterator[bytes]:
    """Pieces of a stream without a file descriptor of its own, binary or text."""
    while text := source.read(_CHUNK):
        yield text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
