"""A trial of the crash test for `sync: changed`: no restart is like the one before it.

Each run has sizes, delivery and limits of its own, and the tap repeats what it has sent before, in another
order. When all of it is in, nights without faults follow: in the first some records are still refused, then
they are accepted, and the last has nothing to send.
"""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import SandboxApi
from tests.reliability import hasty
from tests.reliability.changed_input import SCHEMAS, STREAMS, Emission, make_changed_input
from tests.reliability.changed_witness import Witness
from tests.reliability.crash import Plan
from tests.reliability.crash_checks import INCOMPLETE, lines_of
from tests.reliability.crash_run import Run
from tests.reliability.crash_scene import leaks, running_sandbox, wait_for_moment
from tests.reliability.crash_tally import Tally
from tests.reliability.fault_proxy import FaultProxy, Organization
from tests.reliability.refusing_jobs import Refusal

_TRIAL_SECONDS = 1200.0
_RUN_SECONDS = 240.0
_SIGNAL_SECONDS = 40.0
_SETTLE_SECONDS = 0.3
_KEY = "na1.key/of+the-organization-01928"

SIGNALS = (*[signal.SIGKILL] * 4, signal.SIGTERM, signal.SIGINT)


class ChangedTrial:
    """One input, loaded in as many runs as the kills make it."""

    delivery = "changing"

    def __init__(self, seed: int, directory: Path, plan: Plan) -> None:
        self.rng = random.Random(seed)
        self.tally = Tally(trials=1)
        self.problems: list[str] = []
        self.seed = seed
        self._plan = plan
        self._log = directory / "target.log"
        self._output = directory / "output"
        self._states = directory / "states.jsonl"
        self._database = directory / "sandbox.db"
        self._config = directory / "config.json"
        self._input = make_changed_input(self.rng, plan.records)
        self._history: list[str] = []
        self._witness = Witness()
        # The runs that a signal ended at once.
        self._cut_off: set[int] = set()
        # Jobs whose creation a run had not learned of when it ended.
        self._unread: set[str] = set()

    def run(self) -> None:
        """Load and compare; what is wrong is in `problems` then."""
        began = time.monotonic()
        self._log.touch()
        self._states.touch()
        limit = self.rng.choice([None, 20_000])
        job_seconds = self.rng.choice([0.1, 0.3])
        with running_sandbox(self._database, self.seed, job_seconds, limit) as url:
            organizations = {f"Basic {_KEY}": Organization("o-changed-na1", url)}
            with FaultProxy(self.seed, self._plan.attacks, organizations) as proxy:
                self._proxy = proxy
                proxy.onlooker = self._witness
                self._witness.lies = proxy.seen.lies
                self._load()
                self._calm_nights()
                self._look_at_requests(url)
        self._compare()
        files = [self._states, *sorted(self._output.glob("**/*"))]
        self.problems += leaks(self._log, files, {_KEY, f"{_KEY}:"}, self.tally)
        self.tally.records = len(self._input.items)
        self.tally.seconds = time.monotonic() - began

    # Runs

    @property
    def _offset(self) -> int:
        return json.loads(self._history[-1])["bookmarks"]["lines"] if self._history else 0

    def _configure(self, **settings: Any) -> bool:
        """Settings like those of no other run; whether the tap is to be silent now and then."""
        rng = self.rng
        aged = rng.random() < 0.4
        drawn = {
            "api_key": _KEY,
            "api_url": self._proxy.url,
            "streams": STREAMS,
            "delivery": rng.choice(["auto", "batch", "single"]),
            "batch_threshold": rng.choice([1, 5, 25]),
            "batch_size_rows": rng.randint(3, 70),
            "max_batch_bytes": rng.choice([16 * 1024 * 1024, 30_000]),
            "max_open_bytes": rng.choice([1024 * 1024, 64 * 1024 * 1024]),
            "batch_wait_limit_seconds": 0.2 if aged else 3600,
            "concurrency": rng.choice([1, 4, 8]),
            "wait_for_jobs": rng.random() < 0.7,
            "job_poll_interval_seconds": 0.05,
            "request_timeout_seconds": 0.6,
            "retry_max_seconds": 60,
            "max_rejected_records": None,
            "max_rejected_percent": None,
            "output_dir": str(self._output),
        }
        self._config.write_text(json.dumps(drawn | settings))
        return aged

    def _load(self) -> None:
        most, until = 3 * self._plan.kills + 40, time.monotonic() + _TRIAL_SECONDS
        done = False
        while not done or self.tally.kills < self._plan.kills:
            assert self.tally.runs < most, f"{most} runs are not enough; see {self._log}"
            assert time.monotonic() < until, f"{_TRIAL_SECONDS:g} s are not enough; see {self._log}"
            done = self._run_once()

    def _run_once(self) -> bool:
        """One run; whether it came to the end of the input."""
        rng = self.rng
        if self._offset == len(self._input.items) or rng.random() < 0.25:
            # The tap begins anew, as after a full refresh.
            self._history.clear()
        elif self._history and rng.random() < 0.25:
            # The orchestrator died too, before it stored the latest.
            self._history.pop()
        number = self.tally.runs + 1
        self._proxy.attacks.refused = {
            name for name, last in self._input.tonight.items() if number <= last or last == 8
        }
        aged = self._configure()
        to_be_killed = self.tally.kills < self._plan.kills
        full = rng.random() < self._plan.full_disks
        emission = self._input.emission(rng, self._offset)
        run = self._start(
            emission,
            stay_open=to_be_killed and not full and rng.random() < 0.5,
            silence=0.5 if aged else 0,
            file_bytes=rng.randrange(100, 60_000) if full else 0,
        )
        self.tally.runs_full += full
        jobs, requests = lambda: len(self._jobs()), lambda: self._proxy.seen.requests
        if to_be_killed and not full and wait_for_moment(run, rng, self._plan.kill_seconds, jobs, requests):
            return self._kill(run, emission)
        return self._finish(run, emission)

    def _start(self, emission: Emission, **more: Any) -> Run:
        self.tally.runs += 1
        self._witness.run = self.tally.runs
        return Run(self._config, self._log, [*SCHEMAS, *emission.lines], self.rng, **more)

    def _kill(self, run: Run, emission: Emission) -> bool:
        number = self.rng.choice(SIGNALS)
        self.tally.signals[number.name] += 1
        self.tally.kills_with_progress += bool(run.states)
        run.stop(number, twice=self.rng.random() < 0.2)
        code = run.wait(_SIGNAL_SECONDS)
        if code is None:
            self.problems.append(f"run {self.tally.runs} did not end after {number.name}")
        if code != 0:
            self._cut_off.add(self.tally.runs)
        self._after(run, emission)
        return False

    def _finish(self, run: Run, emission: Emission) -> bool:
        run.close_input()
        code = run.wait(_RUN_SECONDS)
        self._after(run, emission)
        if code is None:
            self.problems.append(f"run {self.tally.runs} did not end")
        elif code:
            self.tally.runs_given_up += 1
            if run.errors != 1:
                self.problems.append(f"run {self.tally.runs} ended with {code} and {run.errors} errors")
        elif self._offset != len(self._input.items):
            self.problems.append(f"run {self.tally.runs} ended well, and its last STATE is {self._offset}")
        else:
            self._check_counts(run, emission)
        return code == 0

    def _after(self, run: Run, emission: Emission) -> None:
        self._history += run.states
        with self._states.open("a") as states:
            states.writelines(run.states)
        time.sleep(_SETTLE_SECONDS)
        self._proxy.wait_until_idle()
        unread = self._jobs() - set(re.findall(r"Job (\S+) created", self._log.read_text())) - self._unread
        self._unread |= unread
        self.tally.unanswered_jobs += len(unread)
        number = self.tally.runs
        for user, told, _ in self._witness.sent_again(number, emission.versions):
            self.tally.confirmed_again += 1
            if told not in self._cut_off:
                self.problems.append(f"{user} was sent in run {number}, though confirmed in run {told}")

    def _check_counts(self, run: Run, emission: Emission) -> dict[str, Any]:
        """Every record of a run that came to the end is accounted for; returns its counts."""
        counts: dict[str, Any] = json.loads(run.states[-1])["target_fullstory"]["streams"]
        received = {stream: one["received"] for stream, one in counts.items() if one["received"]}
        if received != emission.records:
            self.problems.append(f"run {self.tally.runs} received {received} of {emission.records}")
        for stream, one in counts.items():
            ends = [one.get(end, 0) for end in ("delivered", "rejected", "merged", "ignored", "unchanged")]
            if one["received"] != sum(ends) or min(ends) < 0:
                self.problems.append(f"the counts of {stream} do not add up: {one}")
            self.tally.unchanged += one.get("unchanged", 0)
        return counts

    def _jobs(self) -> set[str]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return {str(row[0]) for row in database.execute("SELECT id FROM jobs")}

    # Nights without faults

    def _calm_nights(self) -> None:
        attacks = self._proxy.attacks
        attacks.rate, attacks.lies = 0.0, ()
        late = {name for name, last in self._input.tonight.items() if last == 8}
        attacks.refused = set(late)
        # The first may learn only now what became of the jobs that the last run left.
        self._calm_night(self._input.emission(self.rng, 0))
        self._calm_night(self._input.emission(self.rng, 0))
        self._wrong("refused, and not sent again the next night", late - set(self._posted()))
        attacks.refused = set()
        self._calm_night(self._input.emission(self.rng, 0))
        counts = self._calm_night(self._input.table(self.rng))
        self._wrong("all is in, and these were sent", set(self._posted()) - self._input.refused)
        others = {
            stream: one
            for stream, one in counts.items()
            if one.get("unchanged", 0) + one["rejected"] != one["received"]
        }
        self._wrong("all is in, and not all is unchanged", others)

    def _posted(self) -> Counter[str | int]:
        return self._witness.posted[self.tally.runs]

    def _calm_night(self, emission: Emission) -> dict[str, Any]:
        self._configure(wait_for_jobs=True)
        run = self._start(emission, stay_open=False)
        run.close_input()
        code = run.wait(_RUN_SECONDS)
        self._after(run, emission)
        if code != 0 or not run.states:
            self.problems.append(f"the calm run {self.tally.runs} ended with {code}")
            return {}
        return self._check_counts(run, emission)

    # The comparison

    def _look_at_requests(self, url: str) -> None:
        seen, tally = self._proxy.seen, self.tally
        tally.requests, tally.strangers = seen.requests, seen.strangers
        tally.faults.update(seen.faults)
        lies = [lie for lie in seen.lies.values() if not isinstance(lie, Refusal)]
        tally.lies.update(lie.name for lie in lies)
        tally.refusals = sum(len(lie.items) for lie in seen.lies.values() if isinstance(lie, Refusal))
        log = SandboxApi(url).get("/sandbox/requests")["results"]
        tally.replayed += sum(1 for request in log if request["replayed"])
        tally.faults["413"] += sum(1 for request in log if request["status"] == 413)

    def _compare(self) -> None:
        options = SandboxOptions(db=self._database, job_seconds=0, page_size=10_000)
        with Sandbox(options) as sandbox:
            api = SandboxApi(sandbox.url)
            users = {found["uid"]: found["properties"] for found in api.get("/v2/users")["results"]}
            events = api.get("/sandbox/events", limit=10_000)["results"]
        wanted, tally = self._input, self.tally
        tally.users += len(users)
        wrong = {
            uid: (users.get(uid), wanted.users.get(uid))
            for uid in {*users, *wanted.users}
            if users.get(uid) != wanted.users.get(uid)
        }
        tally.users_wrong += self._wrong("users not in their last version (held, wanted)", wrong)
        held = Counter((event["name"], int(event["properties"]["number"])) for event in events)
        tally.events += held.total()
        tally.events_lost += self._wrong("events are lost", wanted.events - held)
        rejected = [json.loads(line) for line in lines_of(self._output, "rejects-*.jsonl")]
        surplus, incomplete, renewed = held - wanted.events, self._incomplete(rejected), self._renewed()
        tally.incomplete_there += sum(1 for _, number in surplus if number in incomplete)
        for event in [event for event in surplus if event[1] in incomplete | renewed]:
            tally.events_excused += surplus.pop(event)
        tally.events_twice += self._wrong("events are there twice", surplus)
        found = {_number(one) for one in rejected if one["kind"] == "events"}
        tally.rejects += len(wanted.refused)
        tally.rejects_lost += self._wrong("refused, and in no rejects file", wanted.refused - found)

    def _wrong(self, what: str, which: Any) -> int:
        if which:
            self.problems.append(f"{what}: {str(which)[:2000]}")
        return len(which)

    def _renewed(self) -> set[int]:
        """Events whose request met a row of 500s, none of them kept: the new key is a documented choice."""
        seen = self._proxy.seen
        rows = {key for key, row in seen.rows_of_500.items() if row >= hasty.ROW_OF_500}
        return {number for key in rows - seen.kept for number in seen.sent[key]}

    def _incomplete(self, rejected: list[dict[str, Any]]) -> set[int]:
        """Events of jobs that hid what they had imported: nobody could know that they were in."""
        told = [one for one in rejected if one["code"] == INCOMPLETE and one["kind"] == "events"]
        self.tally.incomplete += len(told)
        return {_number(one) for one in told if one["job_id"] in self._proxy.seen.lies}


def _number(reject: dict[str, Any]) -> int:
    request = reject.get("request") or {"number": -1}  # a job may have lost it, and which it was
    subject = reject.get("record") or request.get("body", request)
    return int(subject.get("properties", subject)["number"])
