"""What many streams, jobs or names make of the STATE's size does not multiply with the number of STATEs."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from target_fullstory.accounting.checkpoints import Allowance
from tests.conftest import EXECUTABLE, schema, state

STREAMS = 600


def test_the_output_is_bounded_by_time_not_by_the_number_of_states(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """Streams without a mapping: nothing holds a STATE back."""
    lines = [schema(f"stream-{n}", {"id": "integer"}) for n in range(STREAMS)]
    lines += [state(n=n) for n in range(10_000)]
    data = "".join(f"{line}\n" for line in lines).encode()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | {"unmapped_streams": "ignore"}))
    began = time.monotonic()
    done = subprocess.run(
        [*EXECUTABLE, "--config", str(path)], input=data, capture_output=True, timeout=120, check=True
    )
    taken = time.monotonic() - began
    written = done.stdout.splitlines()
    longest = max(map(len, written))
    assert longest * 10_000 > 100 * len(data), "each of them in full would be far more"
    # The last one is written whatever it takes.
    assert len(done.stdout) <= Allowance.BYTES_AT_ONCE + taken * Allowance.BYTES_A_SECOND + 2 * longest
    last = json.loads(written[-1])
    assert last["bookmarks"] == {"n": 9_999}
    assert len(last["target_fullstory"]["streams"]) == STREAMS
