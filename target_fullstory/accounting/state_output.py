"""STATE lines on standard output, from where nobody may read them for a while, or at all."""

from __future__ import annotations

import os
import select
import sys
import time

from target_fullstory.errors import OutputError

# A pipe that can be written to takes as much without making the writer wait.
_PIECE = 4096
_LOOK_SECONDS = 0.2


class StateOutput:
    """Writes lines to stdout; a reader that has stopped to read does not keep a run from its end."""

    def __init__(self) -> None:
        """Take what stdout is now; an OutputError where it is closed."""
        if sys.stdout is None:
            raise OutputError(
                "Standard output is closed, and the STATE is written to it. Nothing was sent; start the "
                "target with an output, such as > state.json."
            )
        self._stream = sys.stdout
        self._handle = _file_number(self._stream)
        self._give_up_at: float | None = None
        self._broken = False

    def give_up_in(self, seconds: float) -> None:
        """Do not wait longer for the reader. Called by a signal's handler: takes no lock."""
        self._give_up_at = time.monotonic() + seconds

    def write(self, line: bytes) -> None:
        """Write a line; called by one thread at a time."""
        if self._broken:
            raise _gone("half a line was written")
        try:
            if self._handle is None:
                self._stream.write(line.decode() + "\n")
                self._stream.flush()
            else:
                self._write_when_ready(self._handle, line + b"\n")
        except (OSError, ValueError) as error:
            raise _gone(type(error).__name__) from None

    def _write_when_ready(self, handle: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not select.select([], [handle], [], _LOOK_SECONDS)[1]:
                if self._give_up_at is not None and time.monotonic() >= self._give_up_at:
                    # What follows would be read as a part of this line.
                    self._broken = len(rest) < len(data)
                    raise TimeoutError
            else:
                rest = rest[os.write(handle, rest[:_PIECE]) :]


def _file_number(stream: object) -> int | None:
    """The descriptor to write to where one can wait for it; on Windows that is for sockets only."""
    try:
        handle: int = stream.fileno()  # type: ignore[attr-defined]
        select.select([], [handle], [], 0)
    except (AttributeError, OSError, ValueError):
        return None
    return handle


def _gone(reason: str) -> OutputError:
    return OutputError(
        f"The STATE cannot be written to stdout ({reason}): whoever reads it is gone, or has stopped to "
        "read. Run again from the last STATE that was saved."
    )
