"""The target is killed (SIGKILL and other signals) again and again, behind a proxy with faults.

After each kill it is started again from the last STATE it wrote, as an orchestrator does. At the end the
sandbox must hold every user in its last version and every event exactly once, nobody who was deleted and
none of their events; calls must have been carried out at least once, and in order; what was refused must be
in a rejects file, and no secret in any file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, Outcome, event, state
from tests.reliability.crash import Plan, Trial
from tests.reliability.crash_soak import soak, trial_of_all
from tests.reliability.fault_proxy import Attacks
from tests.reliability.live import Live
from tests.reliability.lying_jobs import LIES


@pytest.mark.parametrize(
    ("seed", "attacks", "more"),
    [
        # The longest: the others have its faults too, and `make soak` has this one as well.
        pytest.param(0, {"echo": True}, {}, marks=pytest.mark.soak),
        (1, {}, {"organizations": 2, "webhook": True}),
        (2, {"echo": True}, {"revoked": 0.5}),
        (3, {"lies": LIES, "lying": 0.5}, {}),
    ],
    ids=["batch-echo", "auto-two-organizations-webhook", "single-revoked-key", "batch-lying-jobs"],
)
def test_a_few_kills(seed: int, attacks: dict[str, Any], more: dict[str, Any], tmp_path: Path) -> None:
    plan = Plan(1, 120, (0.9, 1.8), deletions=0.06, attacks=Attacks(rate=0.05, **attacks), **more)
    trial = Trial(seed, tmp_path, plan)
    trial.run()
    tally = trial.tally
    assert trial.problems == []
    assert tally.kills >= 1
    assert tally.faults
    assert tally.calls
    assert tally.lies if plan.attacks.lies else tally.deletions
    assert tally.webhook_requests or not plan.webhook


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
    """At least so many kills as the environment's KILLS says; prints its figures."""
    with capsys.disabled():
        table, problems = soak(tmp_path, trial_of_all)
        print(f"\n{table}")
    assert problems == []
