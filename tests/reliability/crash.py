"""The machinery of the crash test: taps, an orchestrator that restarts the target, sandboxes behind faults.

One `Trial` is one input, or one for each of two organizations, loaded by a target that is killed again and
again. Everything that is drawn comes from the trial's seed; only the timing of processes is not repeatable.
"""

from __future__ import annotations

import base64
import json
import random
import re
import signal
import sqlite3
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import SandboxApi
from tests.reliability import hasty
from tests.reliability.crash_checks import Checks, Rejects, lines_of
from tests.reliability.crash_input import CALL, SCHEMAS, STREAMS, Input, make_input
from tests.reliability.crash_run import Run
from tests.reliability.crash_scene import leaks, running_sandbox, wait_for_moment
from tests.reliability.crash_tally import Tally
from tests.reliability.fault_proxy import Attacks, FaultProxy, Organization
from tests.reliability.webhook_trap import SECRETS, WebhookTrap

_TRIAL_SECONDS = 1200.0
_RUN_SECONDS = 240.0
_SERVER_LIMIT = 2048
_SIGNAL_SECONDS = 40.0
"""More than a run's grace after a signal, and the time limits that it may have to wait for."""
_SETTLE_SECONDS = 0.3
"""Longer than the sandbox takes for an answer: a request of the killed process is over by then."""

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Plan:
    """What a trial does to the target; each attack can be switched on by itself.

    Attributes:
        kills: How often it is killed at least, while there is anything left to read.
        records: How many records the first organization's input has.
        kill_seconds: When at the earliest and the latest.
        deletions: The share of deletions; none where jobs lie, which makes the truth about them unknowable.
        attacks: What the proxy does.
        signals: What the target is killed with.
        organizations: How many share `output_dir` and the address, in turn.
        revoked: The share of runs whose key is refused, from their beginning or from some moment on.
        webhook: Whether a response webhook is set, which answers badly.
        full_disks: The share of runs that find the disk full after some bytes.
    """

    kills: int
    records: int
    kill_seconds: tuple[float, float]
    deletions: float = 0.03
    attacks: Attacks = field(default_factory=Attacks)
    signals: tuple[signal.Signals, ...] = SIGNALS
    organizations: int = 1
    revoked: float = 0.0
    webhook: bool = False
    full_disks: float = 0.0


class Pipeline:
    """One organization: its input and key, the sandbox behind the proxy, what its orchestrator has stored."""

    def __init__(self, place: int, plan: Plan, rng: random.Random, directory: Path) -> None:
        records = plan.records if place == 0 else plan.records // 3
        deletions = 0.0 if plan.attacks.lies else plan.deletions
        self.input: Input = make_input(rng, records, deletions, place)
        self.key = f"na1.key/of+organization-{place}-01928"
        self.name = f"o-{place}-na1"
        self.history: list[str] = []
        self.done = False
        self.config = directory / f"config-{place}.json"
        self.database = directory / f"sandbox-{place}.db"
        # Jobs whose creation no run has learned of.
        self.lost: set[str] = set()
        self.restarts = 0

    @property
    def secrets(self) -> tuple[str, ...]:
        forms = (self.key, f"{self.key}:")
        return (self.key, *(base64.b64encode(form.encode()).decode().rstrip("=") for form in forms))

    @property
    def offset(self) -> int:
        return json.loads(self.history[-1])["bookmarks"]["lines"] if self.history else 0

    def jobs(self, where: str = "") -> set[str]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return {str(row[0]) for row in database.execute(f"SELECT id FROM jobs {where}")}

    def may_forget(self) -> bool:
        """Whether a restart from the last STATE but one is to come out the same."""
        if len(self.history) < 2:
            return False
        begin, end = (json.loads(one)["bookmarks"]["lines"] for one in self.history[-2:])
        return not self.input.deletes_between(begin, end)


class Trial:
    """One input, loaded in as many runs as the kills make it."""

    def __init__(self, seed: int, directory: Path, plan: Plan) -> None:
        self.rng = random.Random(seed)
        self.tally = Tally(trials=1)
        self.problems: list[str] = []
        self.delivery = ("batch", "auto", "single")[seed % 3]
        self.seed = seed
        self._plan = plan
        self._directory = directory
        self._log = directory / "target.log"
        self._output = directory / "output"
        self._states = directory / "states.jsonl"
        self._pipelines = [Pipeline(place, plan, self.rng, directory) for place in range(plan.organizations)]

    # The run

    def run(self) -> None:
        """Load and compare; what is wrong is in `problems` then."""
        began = time.monotonic()
        self._log.touch()
        self._states.touch()
        with ExitStack() as stack:
            small = self.rng.random() < 0.5
            # Where it is twice what the server takes, each run comes to that by itself, after a 413.
            max_bytes = _SERVER_LIMIT * self.rng.choice([1, 1, 2]) if small else 16 * 1024 * 1024
            limit = _SERVER_LIMIT if small else None
            organizations = {}
            for pipeline in self._pipelines:
                job_seconds = self.rng.choice([0.1, 0.3])
                url = stack.enter_context(running_sandbox(pipeline.database, self.seed, job_seconds, limit))
                organizations[f"Basic {pipeline.key}"] = Organization(pipeline.name, url)
            self._proxy = stack.enter_context(FaultProxy(self.seed, self._plan.attacks, organizations))
            self._organizations = list(organizations.values())
            hook = stack.enter_context(WebhookTrap(self.seed)) if self._plan.webhook else None
            self._configure(max_bytes, hook)
            self._load()
            self._look_at_requests()
            self.tally.webhook_requests = hook.received if hook else 0
        for pipeline in self._pipelines:
            self._compare(pipeline)
        self._look_for_leaks()
        self.tally.seconds = time.monotonic() - began

    def _configure(self, max_bytes: int, hook: WebhookTrap | None) -> None:
        common = {
            "api_url": self._proxy.url,
            "streams": STREAMS,
            "delivery": self.delivery,
            "batch_threshold": self.rng.choice([5, 25]),
            "batch_size_rows": self.rng.randint(10, 60),
            "max_batch_bytes": max_bytes,
            "batch_wait_limit_seconds": 3600,
            "job_poll_interval_seconds": 0.05,
            "request_timeout_seconds": 0.6,
            "retry_max_seconds": 60,
            "concurrency": self.rng.choice([1, 4, 8]),
            "max_rejected_records": None,
            "max_rejected_percent": None,
            "hard_delete": True,
            "output_dir": str(self._output),
        }
        if hook is not None:
            common["response_webhook"] = hook.settings
        for pipeline in self._pipelines:
            pipeline.config.write_text(json.dumps(common | {"api_key": pipeline.key}))

    def _load(self) -> None:
        """Runs the target until each input is in; the organizations take turns."""
        turn, most = 0, 3 * self._plan.kills + 40
        until = time.monotonic() + _TRIAL_SECONDS
        while unfinished := [one for one in self._pipelines if not one.done]:
            assert self.tally.runs < most, f"{most} runs are not enough; see {self._log}"
            assert time.monotonic() < until, f"{_TRIAL_SECONDS:g} s are not enough; see {self._log}"
            self._run_once(unfinished[turn % len(unfinished)])
            turn += 1
            time.sleep(_SETTLE_SECONDS)
            self._proxy.wait_until_idle()
            for pipeline in self._pipelines:
                self._let_unanswered_jobs_end(pipeline)

    def _run_once(self, pipeline: Pipeline) -> None:
        offset, place = pipeline.offset, self._pipelines.index(pipeline)
        rest = pipeline.input.lines[offset:]
        if self.seed % 2 and pipeline.history:
            rest = [_echoing(line, pipeline.history[-1]) for line in rest]
        # Half of the runs that are to be killed find the end of the input, and may be too quick.
        to_be_killed = self.tally.kills < self._plan.kills
        stay_open = to_be_killed and (not self.tally.kills or self.rng.random() < 0.5)
        organization = self._organizations[place]
        revoked = pipeline.history and self.rng.random() < self._plan.revoked
        refused_with = self.rng.choice([401, 403]) if revoked else None
        if revoked and self.rng.random() < 0.6:
            organization.refused_with = refused_with
        full = bool(pipeline.history) and self.rng.random() < self._plan.full_disks
        file_bytes = self.rng.randrange(100, 4000) if full else 0
        run = Run(
            pipeline.config,
            self._log,
            [*SCHEMAS, *rest],
            self.rng,
            stay_open=stay_open,
            file_bytes=file_bytes,
        )
        self.tally.runs += 1
        self.tally.runs_full += full
        self.tally.runs_of_second += place > 0
        self.tally.runs_revoked += bool(revoked)
        # On a full disk it ends by itself, or finds that it needs none.
        killed = (to_be_killed or revoked) and not full and self._wait_for_moment(run, pipeline)
        code: int | None
        if killed and revoked and organization.refused_with is None:
            # From this moment on. A run that was to be killed ends by itself, or with a signal.
            organization.refused_with, killed = refused_with, False
        if killed:
            number = self.rng.choice(self._plan.signals)
            self.tally.signals[number.name] += 1
            self.tally.kills_with_progress += bool(run.states)
            run.stop(number, twice=self.rng.random() < 0.2)
            code = run.wait(_SIGNAL_SECONDS)
            if code is None:
                self.problems.append(f"run {self.tally.runs} did not end after {number.name}")
        else:
            run.close_input()
            code = run.wait(_RUN_SECONDS)
            if code is None:
                self.problems.append(f"run {self.tally.runs} did not end")
        organization.refused_with = None
        self._after(pipeline, run, code, offset, killed=killed)

    def _after(self, pipeline: Pipeline, run: Run, code: int | None, offset: int, *, killed: bool) -> None:
        pipeline.history += run.states
        with self._states.open("a") as states:
            states.writelines(run.states)
        if code == 0 and not killed:
            value = pipeline.offset
            if value != len(pipeline.input.lines):
                self.problems.append(f"run {self.tally.runs} ended well, and its last STATE is {value}")
                pipeline.restarts += 1
                return
            pipeline.done = True
            if run.states:
                self._check_counts(json.loads(run.states[-1])["target_fullstory"], pipeline, offset)
            return
        pipeline.restarts += 1
        if not killed:
            self.tally.runs_given_up += 1
            if run.errors != 1:
                self.problems.append(f"run {self.tally.runs} ended with {code} and {run.errors} errors")
        if self.rng.random() < 0.25 and pipeline.may_forget():
            # The orchestrator died too, before it stored the latest.
            pipeline.history.pop()

    def _check_counts(self, block: dict[str, Any], pipeline: Pipeline, offset: int) -> None:
        """Every record of the run that came to the end is accounted for."""
        counts = block["streams"]
        received = {stream: one["received"] for stream, one in counts.items() if one["received"]}
        if received != pipeline.input.records_from(offset):
            self.problems.append(f"received {received} of {pipeline.input.records_from(offset)}")
        for stream, one in counts.items():
            ends = [one.get(end, 0) for end in ("delivered", "rejected", "merged", "ignored", "unchanged")]
            if one["received"] != sum(ends) or min(ends) < 0:
                self.problems.append(f"the counts of {stream} do not add up: {one}")
        self.tally.unfinished_told += len(block.get("unfinished_jobs", ()))

    def _wait_for_moment(self, run: Run, pipeline: Pipeline) -> bool:
        """Waits for the moment to kill; False where the run ended before."""
        jobs, requests = lambda: len(pipeline.jobs()), lambda: self._proxy.seen.requests
        return wait_for_moment(run, self.rng, self._plan.kill_seconds, jobs, requests)

    def _let_unanswered_jobs_end(self, pipeline: Pipeline) -> None:
        """Waits for jobs whose creation was not answered before the kill: only Fullstory knows of them.

        They are the one case in which an older job may overtake the next run's; see docs/reliability.md.
        """
        known = set(re.findall(r"Job (\S+) created", self._log.read_text()))
        lost = pipeline.jobs() - known
        self.tally.unanswered_jobs += len(lost - pipeline.lost)
        pipeline.lost |= lost
        deadline = time.monotonic() + 10
        while lost & pipeline.jobs("WHERE status = 'PROCESSING'") and time.monotonic() < deadline:
            time.sleep(0.02)

    # The sandbox

    def _look_at_requests(self) -> None:
        seen, tally = self._proxy.seen, self.tally
        tally.requests, tally.strangers = seen.requests, seen.strangers
        tally.faults.update(seen.faults)
        tally.lies.update(lie.name for lie in seen.lies.values())
        for organization in self._organizations:
            log = SandboxApi(organization.url).get("/sandbox/requests")["results"]
            tally.replayed += sum(1 for request in log if request["replayed"])
            tally.faults["413"] += sum(1 for request in log if request["status"] == 413)
        tally.faults += {}  # without the kinds that did not come

    # The comparison

    def _compare(self, pipeline: Pipeline) -> None:
        """What the sandbox holds, asked without faults, against the input."""
        options = SandboxOptions(db=pipeline.database, job_seconds=0, page_size=10_000)
        with Sandbox(options) as sandbox:
            api = SandboxApi(sandbox.url)
            deadline = time.monotonic() + 10
            while api.get("/sandbox/stats")["jobs_in_progress"] and time.monotonic() < deadline:
                time.sleep(0.05)
            users = {found["uid"]: found["properties"] for found in api.get("/v2/users")["results"]}
            events = api.get("/sandbox/events", limit=10_000)["results"]
        seen, lies = self._proxy.seen, bool(self._plan.attacks.lies)
        rejects = Rejects.read(lines_of(self._output, "rejects-*.jsonl"), pipeline.input)
        checks = Checks(pipeline.input, rejects, self.tally, lies=lies)
        checks.users(users)
        excused = self._renewed() | self._cut_elsewhere()
        checks.events([event for event in events if event["name"] != CALL], excused)
        may_repeat = pipeline.restarts + len(self._renewed() & set(pipeline.input.calls))
        checks.calls([event for event in events if event["name"] == CALL], may_repeat)
        checks.rejects(faulty_deletions=seen.faulty_deletions, restarts=pipeline.restarts)
        self.problems += [f"{pipeline.name}: {problem}" for problem in checks.problems]
        self.tally.records += pipeline.input.records

    def _renewed(self) -> set[int]:
        """Events whose request met a row of 500s, none of them kept: the new key is a documented choice."""
        seen = self._proxy.seen
        return {
            number
            for key, row in seen.rows_of_500.items()
            if row >= hasty.ROW_OF_500 and key not in seen.kept
            for number in seen.sent[key]
        }

    def _cut_elsewhere(self) -> set[int]:
        """Events that were sent in different batches, where a 413 came between: documented, too."""
        if not self.tally.faults["413"]:
            return set()
        batches = defaultdict[int, set[frozenset[int]]](set)
        for numbers in self._proxy.seen.sent.values():
            for number in numbers:
                batches[number].add(frozenset(numbers))
        return {number for number, found in batches.items() if len(found) > 1}

    def _look_for_leaks(self) -> None:
        secrets = {secret for pipeline in self._pipelines for secret in pipeline.secrets}
        secrets |= set(SECRETS) if self._plan.webhook else set()
        files = [self._states, *sorted(self._output.glob("**/*"))]
        self.problems += leaks(self._log, files, secrets, self.tally)


def _echoing(line: str, stored: str) -> str:
    """A tap that starts from a stored STATE and repeats all of it, the target's block included."""
    if '"STATE"' not in line:
        return line
    message = json.loads(line)
    message["value"]["target_fullstory"] = json.loads(stored)["target_fullstory"]
    return json.dumps(message)
