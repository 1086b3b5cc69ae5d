"""One process of the target in the crash test, fed line by line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.reliability import hasty


class Run:
    """A process that reads lines until there are none, or until it is told to stop."""

    def __init__(
        self,
        config: Path,
        log: Path,
        lines: list[str],
        rng: random.Random,
        *,
        stay_open: bool,
        file_bytes: int = 0,
        silence: float = 0.0,
    ) -> None:
        """Start it.

        Args:
            config: Its configuration.
            log: What it logs is added to this file.
            lines: Its input.
            rng: Draws how fast the input comes.
            stay_open: Whether the input stays open until `close_input`.
            file_bytes: The disk is full where a file has so many.
            silence: The input stops now and then, for so many seconds.
        """
        self.states: list[str] = []
        self.jobs = 0
        self.process = subprocess.Popen(
            [sys.executable, str(Path(hasty.__file__)), "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "FILE_BYTES": str(file_bytes)},
        )
        self.errors = 0
        self._log = log
        self._may_close = threading.Event()
        if not stay_open:
            self._may_close.set()
        self._pause = rng.choice([0.002, 0.005, 0.01])
        self._silence, self._silences = silence, random.Random(rng.random())
        self._threads = [
            threading.Thread(target=self._feed, args=(lines,), daemon=True),
            threading.Thread(target=self._read_states, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _feed(self, lines: list[str]) -> None:
        source = self.process.stdin
        assert source is not None
        with suppress(OSError, ValueError):
            for start in range(0, len(lines), 10):
                piece = lines[start : start + 10]
                source.write("".join(f"{line}\n" for line in piece).encode())
                source.flush()
                silent = self._silence and self._silences.random() < 0.1
                time.sleep(self._silence if silent else self._pause)
            self._may_close.wait()
            source.close()

    def close_input(self) -> None:
        """Let the input end once all of it is written."""
        self._may_close.set()

    def _read_states(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # What a killed process left half written is no line.
            if line.endswith(b"\n"):
                self.states.append(line.decode())

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self._log.open("ab") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                self.jobs += b" created: " in line
                self.errors += b"| ERROR" in line

    def stop(self, number: signal.Signals, *, twice: bool) -> None:
        self.process.send_signal(number)
        if twice and number in {signal.SIGTERM, signal.SIGINT}:
            time.sleep(0.1)
            self.process.send_signal(number)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None where it did not end in time, and was killed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.process.kill()
            self.process.wait()
            self._may_close.set()
            for thread in self._threads:
                thread.join(10)
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                assert stream is not None
                with suppress(OSError):
                    stream.close()
