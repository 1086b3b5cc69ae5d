"""The machinery of the crash test: a tap, an orchestrator that restarts the target, a sandbox with faults.

One `Trial` is one input, loaded by a target that is killed again and again. Everything that is drawn comes
from the trial's seed; only the timing of processes is not repeatable.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EXECUTABLE, KEY, SandboxApi, record, schema

_RUN_SECONDS = 120.0
_SETTLE_SECONDS = 0.6
"""Longer than the sandbox's slowest answer: a request of the killed process is over by then."""

_SCHEMAS = [
    schema("accounts", {"uid": "string", "version": "integer"}, ["uid"]),
    schema("profiles", {"uid": "string", "version": "integer"}, ["uid"]),
    *(
        schema(
            stream,
            {
                "name": "string",
                "timestamp": {"type": ["null", "string"], "format": "date-time"},
                "user": {
                    "type": "object",
                    "properties": {"uid": {"type": "string"}, "id": {"type": "string"}},
                },
                "number": "integer",
            },
        )
        for stream in ("orders", "visits")
    ),
]
for _index, _line in enumerate(_SCHEMAS[:2]):
    _message = json.loads(_line)
    _message["schema"]["properties"] |= {f"p{n}": {"type": ["null", "integer"]} for n in range(4)}
    _SCHEMAS[_index] = json.dumps(_message)

STREAMS = {
    "accounts": {"kind": "users"},
    "profiles": {"kind": "users"},
    "orders": {"kind": "events"},
    "visits": {"kind": "events"},
}


@dataclass
class Input:
    """A tap's whole input, and what Fullstory is to hold when all of it is in."""

    lines: list[str] = field(default_factory=list)
    users: dict[str, dict[str, int]] = field(default_factory=dict)
    events: Counter[int] = field(default_factory=Counter)
    rejects: set[int] = field(default_factory=set)

    @property
    def records(self) -> int:
        return sum(1 for line in self.lines if '"RECORD"' in line)


def make_input(rng: random.Random, records: int) -> Input:
    """Users that repeat in changing versions in two streams, timed events in two, STATEs between them."""
    made = Input()
    people = [f"u{number}" for number in range(max(records // 12, 5))]
    until_state = 0
    for number in range(records):
        uid = rng.choice(people)
        if rng.random() < 0.5:
            values = {"version": number, f"p{rng.randrange(4)}": number}
            # Few in the second stream: every change of streams ends a batch, as the users are the same.
            stream = rng.choices(["accounts", "profiles"], [20, 1])[0]
            made.lines.append(record(stream, uid=uid, **values))
            made.users.setdefault(uid, {}).update(values)
        else:
            # Several events share a time; the number alone tells them apart.
            time_ = f"2026-01-01T00:{number // 60 % 60:02}:{number // 10 % 6}0Z"
            stream = rng.choice(["orders", "visits"])
            name, owner = stream, {"uid": uid}
            refused_by = rng.choices([None, "us", "Fullstory"], [50, 1, 1])[0]
            if refused_by is None:
                made.events[number] += 1
            else:
                made.rejects.add(number)
                name, owner = ("", owner) if refused_by == "us" else (name, {"id": "999999"})
            made.lines.append(record(stream, name=name, timestamp=time_, user=owner, number=number))
        until_state -= 1
        if until_state <= 0:
            value = {"bookmarks": {"lines": len(made.lines) + 1}}
            made.lines.append(json.dumps({"type": "STATE", "value": value}))
            until_state = rng.randint(3, 60)
    made.lines.append(
        json.dumps({"type": "STATE", "value": {"bookmarks": {"lines": len(made.lines) + 1}}})
    )
    return made


@dataclass
class Tally:
    """What happened in a trial, or in several."""

    trials: int = 0
    kills: int = 0
    kills_with_progress: int = 0
    runs: int = 0
    unanswered_jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    replayed: int = 0
    users: int = 0
    events: int = 0
    rejects: int = 0
    records: int = 0
    excused: int = 0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def lines(self) -> Iterator[str]:
        yield f"trials (an input each)         {self.trials}"
        yield f"kills survived                 {self.kills}"
        yield f"  of these after a STATE         {self.kills_with_progress}"
        yield f"runs of the target             {self.runs}"
        yield f"  jobs accepted, answer not read {self.unanswered_jobs}"
        yield f"API requests                   {self.requests}"
        yield f"answers recognised by key      {self.replayed}"
        yield f"faults injected                {sum(self.faults.values())}"
        for name, count in sorted(self.faults.items()):
            yield f"  {name:<28} {count}"
        yield f"records in the inputs          {self.records}"
        yield f"users compared                 {self.users}"
        yield f"events compared                {self.events}"
        yield f"refused records compared       {self.rejects}"
        yield f"events twice, after two equal plain 500s: {self.excused}"
        yield f"seconds                        {self.seconds:.0f}"


class Run:
    """One process of the target, fed line by line."""

    def __init__(
        self,
        config: Path,
        stderr: IO[bytes],
        lines: list[str],
        rng: random.Random,
        *,
        stay_open: bool,
    ) -> None:
        self.states: list[str] = []
        self.jobs = 0
        self.process = subprocess.Popen(
            [*EXECUTABLE, "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._log = stderr
        self._stay_open = stay_open
        self._pause = rng.choice([0.002, 0.005, 0.01])
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
        with suppress(OSError):
            for start in range(0, len(lines), 10):
                piece = lines[start : start + 10]
                source.write("".join(f"{line}\n" for line in piece).encode())
                source.flush()
                time.sleep(self._pause)
            if not self._stay_open:
                source.close()

    def _read_states(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.states.append(line.decode())

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._log.write(line)
            self._log.flush()
            self.jobs += b" created: " in line

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            for thread in self._threads:
                thread.join(10)


class Trial:
    """One input, loaded in as many runs as the kills make it."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        *,
        kills: int,
        records: int,
        kill_seconds: tuple[float, float],
        fail_rate: float = 0.05,
    ) -> None:
        self.rng = random.Random(seed)
        self.tally = Tally(trials=1)
        self.delivery = ("batch", "auto", "single")[seed % 3]
        self.input = make_input(self.rng, records)
        self._seed = seed
        self._kills = kills
        self._fail_rate = fail_rate
        self._lost: set[str] = set()
        self._kill_seconds = kill_seconds
        self._directory = directory
        self._log = directory / "target.log"
        self._database = directory / "sandbox.db"

    # The run

    def run(self) -> None:
        began = time.monotonic()
        with self._sandbox() as url:
            config = self._config(url)
            stored = self._load(config, SandboxApi(url))
            assert stored, "the last run wrote no STATE"
            value = json.loads(stored)["bookmarks"]["lines"]
            assert value == len(self.input.lines), "the last STATE is not the input's"
            self._look_at_requests(SandboxApi(url))
        self._compare()
        self.tally.records = self.input.records
        self.tally.seconds = time.monotonic() - began

    def _config(self, url: str) -> Path:
        config = {
            "api_key": KEY,
            "api_url": url,
            "streams": STREAMS,
            "delivery": self.delivery,
            "batch_threshold": self.rng.choice([5, 25]),
            "batch_size_rows": self.rng.randint(10, 60),
            "max_batch_bytes": self.rng.choice([4096, 16 * 1024 * 1024]),
            "batch_wait_limit_seconds": 3600,
            "job_poll_interval_seconds": 0.05,
            "retry_max_seconds": 60,
            "concurrency": self.rng.choice([1, 4, 8]),
            "max_rejected_records": None,
            "output_dir": str(self._directory / "output"),
        }
        path = self._directory / "config.json"
        path.write_text(json.dumps(config))
        return path

    def _load(self, config: Path, api: SandboxApi) -> str:
        """Runs the target until it ends by itself; returns the last STATE."""
        # What an orchestrator has stored: every STATE line in turn.
        history: list[str] = []
        with self._log.open("wb") as log:
            while True:
                offset = json.loads(history[-1])["bookmarks"]["lines"] if history else 0
                rest = self.input.lines[offset:]
                if self._seed % 2 and history:
                    rest = [_echoing(line, history[-1]) for line in rest]
                # Half of the runs that are to be killed find the end of the input, and may be too quick.
                to_be_killed = self.tally.kills < self._kills
                stay_open = to_be_killed and (not self.tally.kills or self.rng.random() < 0.5)
                run = Run(config, log, [*_SCHEMAS, *rest], self.rng, stay_open=stay_open)
                self.tally.runs += 1
                if to_be_killed and self._wait_for_moment(run, api):
                    run.kill()
                    run.wait(10)
                    self.tally.kills += 1
                    history += run.states
                    if self.rng.random() < 0.25 and len(history) > 1:
                        # The orchestrator died too, before it stored the latest.
                        history.pop()
                    self.tally.kills_with_progress += bool(run.states)
                    time.sleep(_SETTLE_SECONDS)
                    self._let_unanswered_jobs_end()
                    continue
                code = run.wait(_RUN_SECONDS)
                assert code == 0, self._log.read_text()[-3000:]
                history += run.states
                return history[-1] if history else ""

    def _wait_for_moment(self, run: Run, api: SandboxApi) -> bool:
        """Waits for the moment to kill, drawn anew each time; False where the run ended before."""
        kind = self.rng.choice(["time", "states", "states", "jobs", "accepted", "requests"])
        count = self.rng.randint(1, 10)
        until = time.monotonic() + self.rng.uniform(*self._kill_seconds)
        seen = len(_posts(api)) if kind == "requests" else 0
        accepted = self._job_count() if kind == "accepted" else 0
        while run.process.poll() is None:
            if time.monotonic() >= until:
                return True
            if kind == "states" and len(run.states) >= count:
                return True
            if kind == "jobs" and run.jobs >= count:
                return True
            if kind == "accepted" and self._job_count() >= accepted + count:
                return True
            if kind == "requests" and len(_posts(api)) >= seen + count * 10:
                return True
            time.sleep(0.01 if kind == "requests" else 0.001)
        return False

    def _let_unanswered_jobs_end(self) -> None:
        """Waits for jobs whose creation was not answered before the kill: only Fullstory knows of them.

        They are the one case in which an older job may overtake the next run; see docs/reliability.md.
        """
        known = set(re.findall(r"Job (\S+) created", self._log.read_text()))
        lost = self._jobs("") - known
        self.tally.unanswered_jobs += len(lost - self._lost)
        self._lost |= lost
        deadline = time.monotonic() + 10
        unfinished = "WHERE kind = 'users' AND status = 'PROCESSING'"
        while lost & self._jobs(unfinished) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _jobs(self, where: str) -> set[str]:
        return {str(row[0]) for row in self._ask(f"SELECT id FROM jobs {where}")}

    def _job_count(self) -> int:
        return int(self._ask("SELECT COUNT(*) FROM jobs")[0][0])

    def _ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    # The sandbox

    @contextmanager
    def _sandbox(self) -> Iterator[str]:
        options = {
            "--port": 0,
            "--db": self._database,
            "--fail-rate": self._fail_rate,
            "--seed": self._seed,
            "--job-seconds": self.rng.choice([0.1, 0.3]),
        }
        arguments = [str(part) for option in options.items() for part in option]
        process = subprocess.Popen(
            [*EXECUTABLE, "sandbox", *arguments, "--shuffle-jobs"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().split()[-1]
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
                process.stdout.close()

    def _look_at_requests(self, api: SandboxApi) -> None:
        log = api.get("/sandbox/requests")
        self.tally.requests = log["total"]
        self.tally.replayed = sum(1 for request in log["results"] if request["replayed"])
        self.tally.faults.update(api.get("/sandbox/stats")["faults"])
        plain = Counter(
            request["idempotency_key"]
            for request in log["results"]
            if request["fault"] == "error_500" and request["idempotency_key"]
        )
        self._renewed = any(count > 1 for count in plain.values())

    # The comparison

    def _compare(self) -> None:
        """What the sandbox holds, asked without faults, against the input."""
        options = SandboxOptions(db=self._database, job_seconds=0, page_size=10_000)
        with Sandbox(options) as sandbox:
            api = SandboxApi(sandbox.url)
            deadline = time.monotonic() + 10
            while api.get("/sandbox/stats")["jobs_in_progress"] and time.monotonic() < deadline:
                time.sleep(0.05)
            users = {found["uid"]: found["properties"] for found in api.get("/v2/users")["results"]}
            events = api.get("/sandbox/events", limit=10_000)["results"]
        wrong = {
            uid: (users.get(uid), wanted)
            for uid, wanted in self.input.users.items()
            if users.get(uid) != wanted
        }
        assert not wrong, f"users not in their last version (held, wanted): {wrong}"
        assert users.keys() == self.input.users.keys()
        held = Counter(int(event["properties"]["number"]) for event in events)
        assert not self.input.events - held, "events are missing"
        surplus = held - self.input.events
        # The documented choice: after the same plain 500 twice a request gets a new key.
        assert not surplus or self._renewed, f"events twice: {sorted(surplus)}"
        self.tally.excused = surplus.total()
        self.tally.users, self.tally.events = len(users), held.total()
        rejects = [
            json.loads(line)
            for path in (self._directory / "output").glob("rejects-*.jsonl")
            for line in path.read_text().splitlines()
            if line.endswith("}")
        ]
        found = {
            int((reject.get("record") or reject["request"]["properties"])["number"])
            for reject in rejects
        }
        assert found == self.input.rejects, "the rejects files are not what was to be refused"
        self.tally.rejects = len(found)
        log = self._log.read_text()
        assert "Traceback" not in log, log


def _posts(api: SandboxApi) -> list[dict[str, Any]]:
    return [request for request in api.requests() if request["method"] == "POST"]


def _echoing(line: str, stored: str) -> str:
    """A tap that starts from a stored STATE and repeats all of it, the target's block included."""
    if '"STATE"' not in line:
        return line
    message = json.loads(line)
    message["value"]["target_fullstory"] = json.loads(stored)["target_fullstory"]
    return json.dumps(message)
