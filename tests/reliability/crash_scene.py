"""What the trials of the crash tests share: a sandbox of its own, moments to kill, the look for leaks."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import EXECUTABLE
from tests.reliability.crash_checks import secrets_in
from tests.reliability.crash_run import Run
from tests.reliability.crash_tally import Tally


@contextmanager
def running_sandbox(
    database: Path, seed: int, job_seconds: float, max_body_bytes: int | None = None
) -> Iterator[str]:
    """A sandbox in a process of its own, which ends jobs in any order; its address."""
    options = {"--port": 0, "--db": database, "--seed": seed, "--job-seconds": job_seconds}
    if max_body_bytes is not None:
        options["--max-body-bytes"] = max_body_bytes
    arguments = [str(part) for option in options.items() for part in option]
    process = subprocess.Popen([*EXECUTABLE, "sandbox", *arguments, "--shuffle-jobs"], stdout=subprocess.PIPE)
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


def wait_for_moment(
    run: Run,
    rng: random.Random,
    seconds: tuple[float, float],
    jobs: Callable[[], int],
    requests: Callable[[], int],
) -> bool:
    """Wait for the moment to kill a run, drawn anew each time; False where it ended before.

    Args:
        run: The run.
        rng: Draws the moment.
        seconds: When at the earliest and the latest.
        jobs: How many jobs Fullstory has accepted so far.
        requests: How many requests have come so far.
    """
    kind = rng.choice(["time", "states", "states", "jobs", "accepted", "requests"])
    count = rng.choice([1, 1, 2, 3, 5, 8])
    least, most = seconds
    until = time.monotonic() + (most if kind == "states" else rng.uniform(least, most))
    seen = requests()
    accepted = jobs() if kind == "accepted" else 0
    while run.process.poll() is None:
        if time.monotonic() >= until:
            return True
        if kind == "states" and len(run.states) >= count:
            return True
        if kind == "jobs" and run.jobs >= count:
            return True
        if kind == "accepted" and jobs() >= accepted + count:
            return True
        if kind == "requests" and requests() >= seen + count * 10:
            return True
        time.sleep(0.002)
    return False


def leaks(log: Path, files: Iterable[Path], secrets: set[str], tally: Tally) -> list[str]:
    """Secrets in the log and in files, and what no log may hold."""
    problems = []
    for path in [log, *files]:
        if not path.is_file():
            continue
        tally.secrets_looked_for += 1
        if found := secrets_in(path.read_text(errors="replace"), secrets):
            tally.secrets += len(found)
            problems.append(f"{path} holds {sorted(found)}")
    for line in log.read_text(errors="replace").splitlines():
        if "Traceback" in line or "nexpected " in line or "please report" in line:
            tally.tracebacks += 1
            told = f"in the log: {line[:300]}"
            problems += [told] if told not in problems else []
    if tally.strangers:
        problems.append(f"{tally.strangers} redirects were followed")
    return problems
