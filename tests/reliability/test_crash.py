"""The target is killed (SIGKILL) again and again while a sandbox with faults runs on.

After each kill it is started again from the last STATE it wrote, as an orchestrator does. At the end the
sandbox must hold every user in its last version and every event exactly once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.reliability.crash import Tally, Trial


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["batch", "auto", "single"])
def test_a_few_kills(seed: int, tmp_path: Path) -> None:
    trial = Trial(seed, tmp_path, kills=2, records=150, kill_seconds=(0.9, 1.8), fail_rate=0.03)
    trial.run()
    assert trial.tally.kills == 2


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
