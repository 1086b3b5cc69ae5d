"""A target that runs while a test looks on: fed bit by bit, signalled, killed."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import termios
import threading
import time
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.conftest import EXECUTABLE


class Live:
    """One process of the target."""

    PYTHON = sys.executable

    def __init__(
        self, config: dict[str, Any], directory: Path, *, grace: float | None = None, **popen: Any
    ) -> None:
        """Start it.

        Args:
            config: The settings.
            directory: Where the configuration file goes.
            grace: Seconds that it has to end after a signal, instead of its own.
            popen: For `subprocess.Popen`.
        """
        path = directory / "config.json"
        path.write_text(json.dumps(config))
        command = [*EXECUTABLE, "--config", str(path)]
        if grace is not None:
            command[1:3] = ["-c", _WITH_GRACE.format(seconds=grace)]
        self.lines: list[str] = []
        self.log: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            **({"stdout": subprocess.PIPE} | popen),
        )
        self._threads = [
            threading.Thread(target=self._collect, args=(source, lines), daemon=True)
            for source, lines in ((self.process.stdout, self.lines), (self.process.stderr, self.log))
            if source is not None
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, source: Iterable[bytes], lines: list[str]) -> None:
        # What a killed process left half written is no line.
        lines.extend(line.decode() for line in source if line.endswith(b"\n"))

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait(10)
        for thread in self._threads:
            thread.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    # Talking to it

    def feed(self, *lines: str) -> None:
        source = self.process.stdin
        assert source is not None
        source.write("".join(f"{line}\n" for line in lines).encode())
        source.flush()

    def wait_until_read(self) -> None:
        """Until everything fed has left the pipe, and a moment more to take it in."""
        assert self.process.stdin is not None
        handle = self.process.stdin.fileno()
        waiting = array("i", [0])

        def is_empty() -> bool:
            fcntl.ioctl(handle, termios.FIONREAD, waiting)
            return waiting[0] == 0

        self.wait_for(is_empty)
        time.sleep(0.3)

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait_for(self, condition: Callable[[], Any], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.story
            time.sleep(0.01)

    def wait_for_log(self, text: str, seconds: float = 15) -> None:
        self.wait_for(lambda: any(text in line for line in list(self.log)), seconds)

    def end(self, seconds: float = 30) -> int:
        """The exit code; fails where it does not end, or where it leaves a traceback."""
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(10)
        assert "Traceback" not in self.story, self.story
        return code

    # What it left

    @property
    def story(self) -> str:
        return "".join(self.lines) + "".join(self.log)

    @property
    def states(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    @property
    def bookmarks(self) -> list[dict[str, Any]]:
        return [state["bookmarks"] for state in self.states]

    @property
    def block(self) -> dict[str, Any]:
        block: dict[str, Any] = self.states[-1]["target_fullstory"]
        return block

    @property
    def errors(self) -> list[str]:
        return [line for line in self.log if "| ERROR" in line]


_WITH_GRACE = """
import target_fullstory.run as run
assert run.GRACE_SECONDS
run.GRACE_SECONDS = {seconds}
from target_fullstory.cli import main
main()
"""
