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
from tests.conftest import EXECUTABLE, KEY, SandboxApi
from tests.reliability.crash_input import CALL, SCHEMAS, STREAMS, make_input

_RUN_SECONDS = 120.0
_SETTLE_SECONDS = 0.6
"""Longer than the sandbox's slowest answer: a request of the killed process is over by then."""


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
    deletions: int = 0
    deletions_repeated: int = 0
    events: int = 0
    events_gone: int = 0
    events_loose_twice: int = 0
    calls: int = 0
    calls_repeated: int = 0
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
        yield f"deletions in the inputs        {self.deletions}"
        yield f"  repeated, user_not_found       {self.deletions_repeated}"
        yield f"events compared                {self.events}"
        yield f"  gone with their users          {self.events_gone}"
        yield f"  of deleted users, there twice  {self.events_loose_twice}"
        yield f"calls compared                 {self.calls}"
        yield f"  carried out again              {self.calls_repeated}"
        yield f"refused records compared       {self.rejects}"
        yield f"events twice, after two equal plain 500s: {self.excused}"
        yield f"seconds                        {self.seconds:.0f}"


class Run:
    """One process of the target, fed line by line."""

    def __init__(
        self, config: Path, stderr: IO[bytes], lines: list[str], rng: random.Random, *, stay_open: bool
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
        deletions: float = 0.03,
        fail_rate: float = 0.05,
    ) -> None:
        self.rng = random.Random(seed)
        self.tally = Tally(trials=1)
        self.delivery = ("batch", "auto", "single")[seed % 3]
        self.input = make_input(self.rng, records, deletions)
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
            "hard_delete": True,
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
                run = Run(config, log, [*SCHEMAS, *rest], self.rng, stay_open=stay_open)
                self.tally.runs += 1
                if to_be_killed and self._wait_for_moment(run, api):
                    run.kill()
                    run.wait(10)
                    self.tally.kills += 1
                    history += run.states
                    if self.rng.random() < 0.25 and self._may_forget(history):
                        # The orchestrator died too, before it stored the latest.
                        history.pop()
                    self.tally.kills_with_progress += bool(run.states)
                    time.sleep(_SETTLE_SECONDS)
                    self._let_unanswered_jobs_end()
                    continue
                code = run.wait(_RUN_SECONDS)
                assert code == 0, self._log.read_text()[-3000:]
                history += run.states
                assert history, "the last run wrote no STATE"
                self._check_counts(json.loads(history[-1])["target_fullstory"], offset)
                return history[-1]

    def _may_forget(self, history: list[str]) -> bool:
        """Whether a restart from the last STATE but one is to come out the same."""
        if len(history) < 2:
            return False
        begin, end = (json.loads(one)["bookmarks"]["lines"] for one in history[-2:])
        return not self.input.deletes_between(begin, end)

    def _check_counts(self, block: dict[str, Any], offset: int) -> None:
        """Every record of the run that came to the end is accounted for."""
        counts = block["streams"]
        received = {stream: one["received"] for stream, one in counts.items() if one["received"]}
        assert received == self.input.records_from(offset)
        for stream, one in counts.items():
            ends = sum(one[end] for end in ("delivered", "rejected", "merged", "ignored"))
            assert one["received"] == ends, (stream, one)

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

        They are the one case in which an older job may overtake the next run's; see docs/reliability.md.
        """
        known = set(re.findall(r"Job (\S+) created", self._log.read_text()))
        lost = self._jobs("") - known
        self.tally.unanswered_jobs += len(lost - self._lost)
        self._lost |= lost
        deadline = time.monotonic() + 10
        while lost & self._jobs("WHERE status = 'PROCESSING'") and time.monotonic() < deadline:
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
        self._faulty_deletions = {
            request["query"].removeprefix("uid=")
            for request in log["results"]
            if request["method"] == "DELETE" and request["fault"]
        }

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
        self._compare_users(users)
        self._compare_events([event for event in events if event["name"] != CALL])
        self._compare_calls([event for event in events if event["name"] == CALL])
        self._compare_rejects()
        log = self._log.read_text()
        assert "Traceback" not in log, log

    def _compare_users(self, users: dict[str, dict[str, int]]) -> None:
        alive = users.keys() - self.input.users.keys()
        assert not alive, f"deleted, and alive: {alive}"
        lost = self.input.users.keys() - users.keys()
        assert not lost, f"updated after their deletion, and not there: {lost}"
        wrong = {uid: (users[uid], wanted) for uid, wanted in self.input.users.items()}
        wrong = {uid: (held, wanted) for uid, (held, wanted) in wrong.items() if held != wanted}
        assert not wrong, f"users not in their last version (held, wanted): {wrong}"
        self.tally.users = len(users)

    def _compare_events(self, events: list[dict[str, Any]]) -> None:
        held = Counter(int(event["properties"]["number"]) for event in events)
        wanted = Counter([*self.input.events, *self.input.loose])
        assert not wanted - held, f"events are missing: {sorted(wanted - held)}"
        assert not held.keys() & self.input.gone, "events of deleted users are there"
        surplus = held - wanted
        loose = Counter({n: count for n, count in surplus.items() if n in self.input.loose})
        surplus -= loose
        # The documented choice: after the same plain 500 twice a request gets a new key.
        assert not surplus or self._renewed, f"events twice: {sorted(surplus)}"
        self.tally.excused = surplus.total()
        self.tally.events, self.tally.events_gone = held.total(), len(self.input.gone)
        self.tally.events_loose_twice = loose.total()

    def _compare_calls(self, events: list[dict[str, Any]]) -> None:
        """What is guaranteed: each at least once, and in order: from one restart to the next none is skipped.

        Between two restarts each follows the one before it; a restart goes back, by no more than what
        came after the STATE it starts from; so none is carried out before all before it have been.
        """
        place = {number: index for index, number in enumerate(self.input.calls)}
        made = [place[int(event["properties"]["number"])] for event in events]
        steps_back = 0
        for before, after in zip([-1, *made], made, strict=False):
            assert after <= before + 1, f"calls {before + 1} to {after - 1} were skipped: {made}"
            steps_back += after <= before
        assert made[-1:] == [len(place) - 1] or not place, f"the last call is missing: {made}"
        # Where nothing is lost and no key is renewed, a run repeats none.
        assert steps_back <= self.tally.kills or self._renewed, made
        self.tally.calls, self.tally.calls_repeated = len(place), len(made) - len(place)

    def _compare_rejects(self) -> None:
        rejects = [
            json.loads(line)
            for path in (self._directory / "output").glob("rejects-*.jsonl")
            for line in path.read_text().splitlines()
            if line.endswith("}")
        ]
        deletions = [one for one in rejects if one["kind"] == "user_deletions"]
        found = {_number(one) for one in rejects if one["kind"] != "user_deletions"}
        assert found == self.input.rejects, "the rejects files are not what was to be refused"
        assert {one["code"] for one in deletions} <= {"user_not_found"}
        uids = {one["request"]["uid"] for one in deletions}
        # A 404 behind an attempt without a clear answer counts as delivered.
        missing = self.input.unknown - uids - self._faulty_deletions
        assert not missing, f"deletions of nobody are not in the rejects files: {missing}"
        # After a kill deletions come again, and the users are gone.
        assert uids <= self.input.unknown | (self.input.deleted if self.tally.kills else set())
        self.tally.rejects = len(found) + len(uids)
        self.tally.deletions = self.input.deletions
        self.tally.deletions_repeated = len(uids - self.input.unknown)


def _number(reject: dict[str, Any]) -> int:
    request = reject.get("request") or {}
    properties = request.get("body", request).get("properties", {})
    return int((reject.get("record") or properties)["number"])


def _posts(api: SandboxApi) -> list[dict[str, Any]]:
    return [request for request in api.requests() if request["method"] == "POST"]


def _echoing(line: str, stored: str) -> str:
    """A tap that starts from a stored STATE and repeats all of it, the target's block included."""
    if '"STATE"' not in line:
        return line
    message = json.loads(line)
    message["value"]["target_fullstory"] = json.loads(stored)["target_fullstory"]
    return json.dumps(message)
