"""What is measured: the target through its executable, and those it is compared with."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.inputs import EVENT_MAPPING
from benchmarks.process import ROOT, BenchmarkError, Seen, Usage, draining, measure

_KEY = "benchmark-key"


@dataclass(frozen=True)
class Input:
    """A file of Singer messages and the number of its records."""

    path: Path
    records: int


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        usage: What the process took.
        seen: What the sink server saw.
        records: Records in its input.
    """

    usage: Usage
    seen: Seen
    records: int

    @property
    def first_request_after(self) -> float:
        """Seconds from the process's start to its first request.

        Raises:
            BenchmarkError: There was none.
        """
        if self.seen.first_request is None:
            raise BenchmarkError("no request was sent")
        return self.seen.first_request - self.usage.started

    @property
    def counts(self) -> dict[str, Any]:
        """Where the records of the input's one stream ended, as the target's last STATE says."""
        (counts,) = json.loads(self.usage.last_line)["target_fullstory"]["streams"].values()
        found: dict[str, Any] = counts
        return found


@dataclass(frozen=True)
class Work:
    """A run over many records, and one over a few right before it, which tells what starting takes."""

    many: Result
    few: Result

    @property
    def seconds(self) -> float:
        """What the records beyond the few took."""
        # A machine that slows down in between may turn the difference of tiny runs round.
        return max(self.many.usage.wall - self.few.usage.wall, 1e-3)

    @property
    def speed(self) -> float:
        """Records per second beyond the start."""
        return (self.many.records - self.few.records) / self.seconds


class Contestant:
    """Something that reads the lines; this one without sending any."""

    def __init__(self, name: str, command: list[str], port: int = 0) -> None:
        """Take its name and its command; where it sends, `{url}` in it is the server's address.

        With a port, that address is the same in every run.
        """
        self.name = name
        self._command = command
        self._port = port

    def run(self, lines: Input, work: Path, keep: Path | None = None) -> Result:
        """Run it once.

        Args:
            lines: Its input.
            work: A directory for its files.
            keep: A directory for the bodies it sends; None to throw them away.

        Raises:
            BenchmarkError: It failed, or lost a record.
        """
        with draining(keep, self._port) as seen:
            usage = measure(self.command(seen.url, work), lines.path, work)
        result = Result(usage, seen, lines.records)
        self.check(result)
        return result

    def command(self, url: str, work: Path) -> list[str]:  # noqa: ARG002 - others need it
        """The command for a run against a server."""
        return [part.replace("{url}", url) for part in self._command]

    def check(self, result: Result) -> None:
        """Make sure of what can be told from outside.

        Raises:
            BenchmarkError: It did not do its work.
        """


class Target(Contestant):
    """A Singer target with a configuration."""

    def __init__(self, name: str, module: str, config: dict[str, Any], port: int = 0) -> None:
        """Take its name, its module, its settings beside address and key, and the server's port."""
        super().__init__(name, [sys.executable, "-m", module], port)
        self._config = config

    def command(self, url: str, work: Path) -> list[str]:
        """The command, with a configuration file written for the run."""
        path = work / "config.json"
        path.write_text(json.dumps({"api_url": url, "api_key": _KEY, **self._config}))
        return [*super().command(url, work), "--config", str(path)]

    def check(self, result: Result) -> None:
        """Make sure that something was sent."""
        if result.records and not result.seen.posts:
            raise BenchmarkError(f"{self.name} sent nothing")


class Fullstory(Target):
    """target-fullstory, validation on, with the settings it has by default.

    Two are given, neither for its speed: jobs of the sink server are over at once, so it looks after
    them sooner than the default two seconds (the others do not look at all); and rejects do not fail the run,
    for there are dirty records to be measured.
    """

    def __init__(
        self, work: Path, name: str = "target-fullstory", port: int = 0, more: dict[str, Any] | None = None
    ) -> None:
        """Take a directory for its rejects and reports, and what else is to be as asked for."""
        config = {
            "streams": {"users": {"kind": "users"}, "events": EVENT_MAPPING},
            "job_poll_interval_seconds": 0.02,
            "max_rejected_records": None,
            "output_dir": str(work / "output"),
        }
        super().__init__(name, "target_fullstory", config | (more or {}), port)

    def check(self, result: Result) -> None:
        """Make sure that its last STATE accounts for every record."""
        super().check(result)
        counts = result.counts
        ended = sum(counts[end] for end in ("delivered", "rejected", "merged", "unchanged"))
        if not counts["received"] == ended == result.records:
            raise BenchmarkError(f"{self.name} does not account for its records: {counts}")


class Nightly(Fullstory):
    """target-fullstory with `sync: changed`, on what earlier runs have left in its snapshot.

    What was sent is known by the address too, so that stays the same.
    """

    def __init__(self, name: str, directory: Path, port: int, prepare: Callable[[Input], None]) -> None:
        """Prepare.

        Args:
            name: What it is called.
            directory: For its files; the snapshot is in `snapshot`.
            port: The server's.
            prepare: Puts the snapshot into the state that a run over an input is to find.
        """
        changed = {"users": {"kind": "users", "sync": "changed"}}
        more = {"streams": changed, "snapshot_path": str(directory / "snapshot")}
        super().__init__(directory, name, port, more)
        self._prepare = prepare

    def run(self, lines: Input, work: Path, keep: Path | None = None) -> Result:
        """Run it once, its snapshot prepared."""
        self._prepare(lines)
        return super().run(lines, work, keep)

    def check(self, result: Result) -> None:
        """Make sure that the server has got what was counted as delivered, and nothing more."""
        super().check(result)
        delivered = result.counts["delivered"]
        if result.seen.records != delivered:
            raise BenchmarkError(f"{self.name} sent {result.seen.records} records, not {delivered}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def bare() -> Contestant:
    """The loop that only decodes and encodes."""
    return Contestant("bare msgspec loop", [sys.executable, "-m", "benchmarks.bare"])


def mapping_share() -> Contestant:
    """The way from line to request alone, timed step by step."""
    return Contestant("steps of the mapping", [sys.executable, "-m", "benchmarks.mapping_share"])


def plain_sdk(*, validate: bool) -> Contestant:
    """The plain singer-sdk target."""
    name = "plain SDK target" if validate else "plain SDK target, validate_records: false"
    return Target(name, "benchmarks.plain_sdk", {} if validate else {"validate_records": False})


def node() -> Contestant | None:
    """The Node script; None where there is no Node."""
    executable = shutil.which("node")
    if executable is None:
        return None
    return Contestant("Node script", [executable, str(ROOT / "benchmarks" / "node.mjs"), "{url}"])
