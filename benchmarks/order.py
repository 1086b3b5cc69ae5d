"""What keeping order costs: throughput of user batches by how often users repeat, and of events behind them.

Runs the real executable against a sandbox of its own whose jobs take a while, as Fullstory's do. Order costs
nothing where a user appears once; it costs waiting where a user is in an unfinished job again.

    python benchmarks/order.py [--records 40000] [--batches 20] [--job-seconds 0.5]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from target_fullstory.sandbox import Sandbox, SandboxOptions


def _schema(stream: str, columns: dict[str, str]) -> str:
    properties = {name: {"type": ["null", kind]} for name, kind in columns.items()}
    message = {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}}
    return json.dumps(message | {"key_properties": []})


def _users(records: int, people: int, *, mixed: bool = True) -> Iterator[str]:
    rng = random.Random(1)  # noqa: S311 - repeatable, not secret
    yield _schema("users", {"uid": "string", "plan": "string", "seats": "integer"})
    order = [f"u{number % people}" for number in range(records)]
    if mixed:
        rng.shuffle(order)
    for number, uid in enumerate(order):
        message = {"uid": uid, "plan": "pro", "seats": number}
        yield json.dumps({"type": "RECORD", "stream": "users", "record": message})
    yield json.dumps({"type": "STATE", "value": {"done": True}})


def _users_and_events(records: int, batches: int) -> Iterator[str]:
    """Batches of new users and of events in turn, the worst case for the barrier."""
    yield _schema("users", {"uid": "string", "plan": "string"})
    yield _schema("events", {"name": "string", "timestamp": "string", "user": "object"})
    for number in range(records):
        if number * batches // records % 2:
            owner = {"uid": f"u{number}"}
            event = {"name": "Ordered", "timestamp": "2026-01-01T00:00:00Z", "user": owner}
            yield json.dumps({"type": "RECORD", "stream": "events", "record": event})
        else:
            user = {"uid": f"u{number}", "plan": "pro"}
            yield json.dumps({"type": "RECORD", "stream": "users", "record": user})
    yield json.dumps({"type": "STATE", "value": {"done": True}})


def _measure(
    lines: Iterator[str], records: int, batches: int, job_seconds: float, **settings: object
) -> float:
    with tempfile.TemporaryDirectory() as name, Sandbox(SandboxOptions(job_seconds=job_seconds)) as sandbox:
        directory = Path(name)
        config = {
            "api_key": "benchmark",
            "api_url": sandbox.url,
            "delivery": "batch",
            "batch_size_rows": records // batches,
            "job_poll_interval_seconds": 0.1,
            "output_dir": str(directory / "output"),
            "state_key": None,
        }
        (directory / "config.json").write_text(json.dumps(config | settings))
        data = "".join(f"{line}\n" for line in lines).encode()
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own executable
            [sys.executable, "-m", "target_fullstory", "--config", str(directory / "config.json")],
            input=data,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr.decode())
        return records / (time.monotonic() - began)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--job-seconds", type=float, default=0.5)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    records, batches, job_seconds = options.records, options.batches, options.job_seconds
    cases = [
        ("users, each once", _users(records, records), {}),
        ("users, each twice, half the input between", _users(records, records // 2, mixed=False), {}),
        ("users, each twice, anywhere", _users(records, records // 2), {}),
        ("users, each in nearly every batch", _users(records, records // batches), {}),
        ("users and events in turn", _users_and_events(records, batches), {}),
        (
            "the same, events_wait_for_users: false",
            _users_and_events(records, batches),
            {"events_wait_for_users": False},
        ),
    ]
    _tell(f"{records} records in {batches} batch jobs of {job_seconds:g} s each")
    for name, lines, settings in cases:
        rate = _measure(lines, records, batches, job_seconds, **settings)
        _tell(f"{name:<42} {rate:>9,.0f} records/s")


if __name__ == "__main__":
    main()
