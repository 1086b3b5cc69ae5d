"""The target is killed (SIGKILL) again and again while a sandbox with faults runs on.

After each kill it is started again from the last STATE it wrote, as an orchestrator does. At the end the
sandbox must hold every user in its last version and every event exactly once, nobody who was deleted and
none of their events; calls must have been carried out at least once, and in order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, Outcome, event, state
from tests.reliability.crash import Tally, Trial
from tests.reliability.live import Live


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["batch", "auto", "single"])
def test_a_few_kills(seed: int, tmp_path: Path) -> None:
    trial = Trial(
        seed, tmp_path, kills=2, records=120, kill_seconds=(0.9, 1.8), deletions=0.06, fail_rate=0.03
    )
    trial.run()
    assert 1 <= trial.tally.kills <= 2
    assert trial.tally.deletions
    assert trial.tally.calls


def test_what_a_job_of_a_killed_run_refused_is_kept(
    config: dict[str, Any], tmp_path: Path, run_target: Callable[..., Outcome]
) -> None:
    """Its STATE is written, so no tap repeats the record: the next run takes over the job's errors."""
    with Sandbox(SandboxOptions(job_seconds=2)) as sandbox:
        settings = {"api_url": sandbox.url, "delivery": "batch"}
        with Live(config | settings, tmp_path) as live:
            nobody = event(2, user={"id": "999"})
            live.feed(EVENTS.replace('{"uid":', '{"id": {"type": "string"}, "uid":'))
            live.feed(event(1), nobody, state(at=2))
            live.close_input()
            live.wait_for(lambda: live.states)
            live.process.kill()
            refused_by = live.block["jobs"][0]["id"]
        outcome = run_target([EVENTS, event(3), state(at=3)], max_rejected_records=None, **settings)
    assert outcome.code == 0
    (reject,) = outcome.rejects
    assert (reject["stage"], reject["job_id"]) == ("job", refused_by)
    assert reject["request"]["user"] == {"id": "999"}
    counts = outcome.block["streams"]["events"]
    assert counts["received"] == counts["delivered"] == 1


@pytest.mark.soak
def test_many_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At least so many kills as the environment's KILLS says, 60 without it; prints its figures."""
    wanted = int(os.environ.get("KILLS", "60"))
    total = Tally()
    first = int(os.environ.get("SEED", "100"))
    for seed in range(first, first + wanted):
        if total.kills >= wanted:
            break
        directory = tmp_path / str(seed)
        directory.mkdir()
        trial = Trial(seed, directory, kills=8, records=1200, kill_seconds=(0.8, 5.0))
        with capsys.disabled():
            print(f"\nseed {seed} ({trial.delivery}), in {directory}", flush=True)
        trial.run()
        total.add(trial.tally)
        with capsys.disabled():
            print(json.dumps(vars(trial.tally)), flush=True)
    with capsys.disabled():
        print("\n" + "\n".join(total.lines()))
    assert total.kills >= wanted
