"""Runs whole processes and measures them: wall clock, CPU time, peak memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LONGEST_SECONDS = 900.0
_LONGEST_LINE = 2 * 1024 * 1024
# ru_maxrss is in KiB, on macOS in bytes.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_ANONYMOUS = re.compile(rb"^RssAnon:\s+(\d+) kB", re.MULTILINE)
_LOOK_SECONDS = 0.02


class BenchmarkError(Exception):
    """A process that was to be measured failed."""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Seconds of processor time, user's and system's.
        peak: Peak resident memory in bytes.
        started: When it was started, in seconds of the monotonic clock.
        last_line: The last line that it wrote to standard output.
        anonymous: The most anonymous memory in bytes, as looked at 50 times a second: without the pages of
            files, which the kernel takes back when it likes. None where the system does not tell.
    """

    wall: float
    cpu: float
    peak: int
    started: float
    last_line: bytes
    anonymous: int | None = None


@dataclass
class Seen:
    """What the sink server saw.

    Attributes:
        url: Its address.
        posts: POST requests.
        body_bytes: Bytes in their bodies.
        records: Users or events in them.
        first_request: When the first request came, in seconds of the monotonic clock.
    """

    url: str
    posts: int = 0
    body_bytes: int = 0
    records: int = 0
    first_request: float | None = None


def measure(command: list[str], lines: Path, work: Path) -> Usage:
    """Run a process to its end, a file as its standard input.

    The kernel counts into a process's peak memory what its parent had before it: so nothing in this package
    holds an input in memory.

    Args:
        command: The command.
        lines: The file.
        work: A directory for its output.

    Raises:
        BenchmarkError: It failed, or did not end.
    """
    output, errors = work / "stdout", work / "stderr"
    with lines.open("rb") as source, output.open("wb") as out, errors.open("wb") as err:
        started = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - one of our own commands
            command, stdin=source, stdout=out, stderr=err, cwd=ROOT, env=_environment()
        )
        watchdog = threading.Timer(_LONGEST_SECONDS, process.kill)
        watchdog.start()
        memory = _Memory(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        watchdog.cancel()
        memory.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = errors.read_text(errors="replace")[-2000:]
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Usage(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=usage.ru_maxrss * _MAXRSS_UNIT,
        started=started,
        last_line=_last_line(output),
        anonymous=memory.peak,
    )


class _Memory(threading.Thread):
    """Looks at a process's anonymous memory while it runs.

    Attributes:
        peak: The most bytes seen; None where the system does not tell.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak: int | None = None
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                found = _ANONYMOUS.search(self._status.read_bytes())
            except OSError:
                return
            if found:
                self.peak = max(self.peak or 0, int(found[1]) * 1024)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def draining(keep: Path | None = None, port: int = 0) -> Iterator[Seen]:
    """Run a sink server in a process of its own.

    Args:
        keep: A directory for the bodies it gets; None to throw them away.
        port: Its port; 0 for any that is free.

    Yields:
        What it saw: filled in when the server has ended.
    """
    command = [sys.executable, "-m", "benchmarks.drain", "--port", str(port)]
    if keep is not None:
        command += ["--keep", str(keep)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as server:
        if server.stdin is None or server.stdout is None:
            raise BenchmarkError("the sink server has no pipes")
        seen = Seen(server.stdout.readline().strip())
        try:
            yield seen
        finally:
            server.stdin.close()
            said = server.stdout.read()
        if not said:
            raise BenchmarkError("the sink server did not start")
        numbers = json.loads(said)
    seen.posts = numbers["posts"]
    seen.records = numbers["records"]
    seen.body_bytes = numbers["body_bytes"]
    seen.first_request = numbers["first_request"]


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_LINE))
        lines = file.read().splitlines()
    return lines[-1] if lines else b""


def _environment() -> dict[str, str]:
    """The environment without settings for the target, and without noise in its logs."""
    ours = ("TARGET_FULLSTORY_", "TARGET_PLAIN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
