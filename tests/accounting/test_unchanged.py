"""Records that Fullstory has as they are: counted wherever records are counted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.accounting.test_metrics_and_progress import metrics, of
from tests.conftest import USERS, Outcome, record, state, user
from tests.ecosystem.project import ROOT

Run = Callable[..., Outcome]
STREAMS = {"users": {"kind": "users", "sync": "changed"}}
FIRST = [USERS, *(user(n, seats=1) for n in range(40)), state(a=1)]


@pytest.fixture
def second(run_target: Run, sandbox: Sandbox) -> Callable[..., Outcome]:
    """A second load to where the forty users are already; its lines and settings are given."""
    settings: dict[str, Any] = {"api_url": sandbox.url, "streams": STREAMS}
    done = run_target(FIRST, **settings)
    assert done.code == 0, done.stderr

    def load(lines: list[str], **more: Any) -> Outcome:
        return run_target(lines, **settings, **more)

    return load


def test_state_log_metrics_and_report(second: Run) -> None:
    lines = [USERS, *(user(n, seats=1 + (n > 36)) for n in range(40)), state(a=2)]
    done = second([*lines[:-1], record("users", uid=None), lines[-1]], max_rejected_records=-1)
    assert done.code == 0, done.stderr
    counts = {"received": 41, "delivered": 3, "rejected": 1, "merged": 0, "ignored": 0, "unchanged": 37}
    assert counts.items() <= done.block["streams"]["users"].items()
    told = "41 records received, 3 delivered, 1 rejected, 0 merged, 0 ignored, 37 unchanged; 0 batch jobs"
    assert told in done.stderr
    assert "neither delivered nor rejected" not in done.stderr
    found = metrics(done.stderr)
    assert of(found, "record_count", stream="users") == [41]
    assert of(found, "unchanged_record_count", stream="users", type="counter") == [37]


def test_there_is_no_metric_where_all_is_sent(run_target: Run, sandbox: Sandbox) -> None:
    done = run_target(FIRST, api_url=sandbox.url)
    assert "unchanged_record_count" not in done.stderr


def test_a_line_of_progress(run_target: Run) -> None:
    """While a job is awaited, and in the METRIC lines once."""
    with Sandbox(SandboxOptions(job_seconds=2)) as slow:
        settings: dict[str, Any] = {"api_url": slow.url, "streams": STREAMS, "delivery": "batch"}
        run_target([USERS, *(user(n) for n in range(30))], **settings)
        done = run_target([USERS, *map(user, range(40))], **settings, progress_interval_seconds=0.3)
    told = re.findall(r"So far: (.*)", done.stderr)
    last = "40 records read, 10 delivered, 0 rejected, 30 unchanged, 0 in progress"
    assert told[-1] == f"{last}; 1 unfinished jobs with 10 records"
    assert of(metrics(done.stderr), "unchanged_record_count", stream="users") == [30]


def test_the_summary(second: Run, tmp_path: Path) -> None:
    done = second(FIRST)
    assert done.code == 0, done.stderr
    command = [sys.executable, str(ROOT / "scripts/summary.py"), str(done.output_dir)]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
    rows = [line.split() for line in printed.stdout.splitlines()]
    assert ["users", "users", "40", "0", "0", "0", "0", "40"] in rows


@pytest.mark.parametrize(("bad", "code"), [(30, 0), (50, 1)])
def test_they_count_for_the_share_of_rejects(second: Run, bad: int, code: int) -> None:
    """Of 70 records 30 are less than half, though Fullstory is sent none of the others."""
    rejected = [record("users", uid=None)] * bad
    done = second([*FIRST[:-1], *rejected, state(a=2)], max_rejected_records=-1)
    assert done.code == code, done.stderr
    assert ("max_rejected_percent" in done.stderr) is bool(code)
    assert bool(done.states) is not bool(code)
