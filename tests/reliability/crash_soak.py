"""Many kills at many faults, with all attacks: `python -m tests.reliability.crash_soak` prints the table.

With the argument `changed`, the trials are those of `sync: changed`. The tables of docs/reliability.md are
what it printed. The environment's KILLS, RATE and SEED choose how many kills, which share of requests meets a
fault, and which inputs.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from tests.reliability.changed_trial import ChangedTrial
from tests.reliability.crash import Plan, Trial
from tests.reliability.crash_tally import Tally
from tests.reliability.fault_proxy import Attacks
from tests.reliability.lying_jobs import LIES

_AT_A_TIME = 4
_KILLS_OF_A_TRIAL = 10
_RECORDS = (900, 400, 250)
"""The more of them go one by one, the longer a run takes at many faults; see `Trial.delivery`."""


class AnyTrial(Protocol):
    """One input, loaded and compared."""

    tally: Tally
    problems: list[str]
    delivery: str

    def run(self) -> None:
        """Load and compare."""


def trial_of_all(seed: int, directory: Path, rate: float) -> AnyTrial:
    """A trial of `sync: all`."""
    return Trial(seed, directory, plan_of(seed, rate))


def trial_of_changed(seed: int, directory: Path, rate: float) -> AnyTrial:
    """A trial of `sync: changed`, at between half of the faults and all."""
    lies, full = seed % 3 == 0, seed % 4 == 0
    attacks = Attacks(rate=rate * (1 - seed % 4 / 6), lies=LIES if lies else (), echo=seed % 2 == 0)
    full_disks = 0.2 if full else 0.0
    plan = Plan(_KILLS_OF_A_TRIAL, 400, (0.8, 6.0), attacks=attacks, full_disks=full_disks)
    return ChangedTrial(seed, directory, plan)


def plan_of(seed: int, rate: float) -> Plan:
    """The attacks of a trial: the seed decides which come together."""
    # Neither divides the other: each delivery meets each combination.
    lies, second, revoked, webhook, full = (seed // 3 % count == 0 for count in (3, 2, 4, 5, 7))
    return Plan(
        kills=_KILLS_OF_A_TRIAL,
        records=_RECORDS[seed % 3],
        kill_seconds=(1.0, 10.0),
        attacks=Attacks(rate=rate, lies=LIES if lies else (), echo=seed % 2 == 0),
        organizations=2 if second else 1,
        revoked=0.2 if revoked else 0.0,
        webhook=webhook,
        full_disks=0.2 if full else 0.0,
    )


def soak(directory: Path, make: Callable[[int, Path, float], AnyTrial]) -> tuple[str, list[str]]:
    """Run trials until there are kills enough; returns the table of what happened, and what was wrong."""
    kills, rate = int(os.environ.get("KILLS", "200")), float(os.environ.get("RATE", "0.3"))
    first = int(os.environ.get("SEED", "100"))
    head = f"`KILLS={kills} RATE={rate:g} SEED={first}`"
    total, problems = Tally(), list[str]()
    lock = threading.Lock()
    # Each has a kill at the least.
    seeds = iter(range(first, first + kills))

    def run_trials() -> None:
        while True:
            with lock:
                seed = next(seeds, None) if total.kills < kills else None
            if seed is None:
                return
            (directory / str(seed)).mkdir()
            trial = make(seed, directory / str(seed), rate)
            _run(trial)
            with lock:
                total.add(trial.tally)
                found = [f"seed {seed} ({trial.delivery}): {problem}" for problem in trial.problems]
                problems.extend(found)
                told = [f"seed {seed}: {trial.tally.kills} kills, {trial.tally.seconds:.0f} s", *found]
                print("\n".join(told), file=sys.stderr, flush=True)

    # Together: most of the time a trial waits.
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        for done in [threads.submit(run_trials) for _ in range(_AT_A_TIME)]:
            done.result()
    return "\n".join(total.table(head)), problems


def _run(trial: AnyTrial) -> None:
    try:
        trial.run()
    except AssertionError as error:
        trial.problems.append(str(error))


def main() -> None:
    """Print the table; everything else goes to stderr. Where something was wrong, the files stay."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    make = trial_of_changed if sys.argv[1:] == ["changed"] else trial_of_all
    table, problems = soak(directory, make)
    print(table)
    if problems:
        sys.exit(f"{len(problems)} problems; their files are in {directory}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
