"""`sync: changed` under kills, where no restart is like the one before it.

Each restart has another `batch_size_rows`, delivery, `batch_threshold` and so on, batches are flushed by age,
and the tap repeats records, in another order, from the last STATE or from the very beginning. At the end
every event must be there exactly once and every user in its last version, and nothing may be left to send.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.changed_trial import ChangedTrial
from tests.reliability.crash import Plan
from tests.reliability.crash_soak import soak, trial_of_changed
from tests.reliability.fault_proxy import Attacks
from tests.reliability.lying_jobs import LIES

pytestmark = pytest.mark.nights


def test_a_few_kills(tmp_path: Path) -> None:
    attacks = Attacks(rate=0.05, lies=LIES, lying=0.4)
    trial = ChangedTrial(2, tmp_path, Plan(2, 80, (0.4, 1.2), attacks=attacks))
    trial.run()
    tally = trial.tally
    assert trial.problems == []
    assert tally.kills >= 2
    assert tally.faults
    assert tally.lies
    assert tally.refusals
    assert tally.unchanged


@pytest.mark.soak
def test_many_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At least so many kills as the environment's KILLS says; prints its figures."""
    with capsys.disabled():
        table, problems = soak(tmp_path, trial_of_changed)
        print(f"\n{table}")
    assert problems == []
