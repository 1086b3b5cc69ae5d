"""The memory of the process itself: hundreds of streams take turns, and the server takes its time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXECUTABLE, schema, state
from tests.scripted import Reply, Request, ScriptedServer

STREAMS = 400
MAX_OPEN = 4 << 20
TEXTS = {f"text{number}": "x" * 8000 for number in range(5)}
"""Large records: as much input as matters in few requests."""
COLUMNS: dict[str, Any] = dict.fromkeys(("uid", "name", *TEXTS), "string")


def accepts(request: Request, number: int) -> Reply:
    return Reply(200, {"id": str(number)}, delay=0.002)


def lines(records: int) -> Iterator[str]:
    for stream in range(STREAMS):
        yield schema(f"s{stream}", COLUMNS)
    for number in range(records):
        record = {"uid": f"u{number}", "name": "n"} | TEXTS
        yield json.dumps({"type": "RECORD", "stream": f"s{number % STREAMS}", "record": record})
        if number % 50 == 49:
            yield state(n=number)


def peak_of(records: int, config: dict[str, Any], directory: Path) -> tuple[int, int]:
    """The most bytes of memory that a load of so many records took, and the bytes of its input."""
    source = directory / f"{records}.jsonl"
    source.write_text("".join(f"{line}\n" for line in lines(records)))
    path = directory / "config.json"
    path.write_text(json.dumps(config))
    with source.open("rb") as read:
        process = subprocess.Popen(
            [*EXECUTABLE, "--config", str(path)],
            stdin=read,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0
        while process.poll() is None:
            # What the kernel tells of an ended child begins with its parent's memory.
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1]) * 1024 if found else 0)
            time.sleep(0.02)
    assert process.returncode == 0
    return peak, source.stat().st_size


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["users", pytest.param("events", marks=pytest.mark.soak)])
def test_it_does_not_grow_with_the_input(kind: str, config: dict[str, Any], tmp_path: Path) -> None:
    settings = {"streams": {"s*": {"kind": kind}}, "delivery": "single", "max_open_bytes": MAX_OPEN}
    with ScriptedServer(accepts) as server:
        few, least = peak_of(STREAMS, config | settings | {"api_url": server.url}, tmp_path)
        many, size = peak_of(2 * STREAMS, config | settings | {"api_url": server.url}, tmp_path)
    assert size - least > 3 * MAX_OPEN
    assert many - few < 2 * MAX_OPEN
