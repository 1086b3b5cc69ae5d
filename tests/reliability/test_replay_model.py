"""The real pipeline before a fake Fullstory: order, windows, checkpoints and replays, many inputs.

Every STATE that is written is a place to restart from: the records before it are in, and a run that begins
there forms the same batches of events again, to the byte.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.delivery import pipeline as pipeline_module
from target_fullstory.delivery.pipeline import Pipeline
from target_fullstory.mapping import Mapped
from target_fullstory.settings import Settings
from tests.reliability.fake import FakeFullstory

Message = tuple[str, Any]

_STREAMS = ("users-a", "users-b", "events-a", "events-b")


def messages(rng: random.Random, count: int) -> list[Message]:
    """Records of four streams and STATEs; the last message is a STATE."""
    weights = [rng.choice([0, 1, 4]) for _ in _STREAMS]
    if not any(weights):
        weights = [1, 1, 1, 1]
    made: list[Message] = []
    for number in range(count):
        if rng.random() < 0.15:
            made.append(("state", number))
            continue
        stream = rng.choices(_STREAMS, weights)[0]
        made.append((stream, (f"u{rng.randrange(8)}", number)))
    return [*made, ("state", count)]


def mapped(stream: str, uid: str, number: int) -> Mapped:
    if stream.startswith("users"):
        request = {"uid": uid, "properties": {"version": number, f"p{number % 3}": number}}
        return Mapped(body=json.dumps(request).encode(), key=f"uid:{uid}")
    request = {"name": stream, "timestamp": "2026-01-01T00:00:00Z", "properties": {"n": number}}
    return Mapped(body=json.dumps(request).encode(), timed=True)


class Harness:
    """Runs the pipeline over messages from some place on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._monkeypatch = monkeypatch
        self._directory = directory
        self.snapshots: list[tuple[int, dict[str, Any], set[int]]] = []

    def run(self, given: list[Message], fullstory: FakeFullstory, **settings: Any) -> list[int]:
        """The numbers of the STATEs written."""
        self._monkeypatch.setattr(pipeline_module, "Client", fullstory)
        written: list[int] = []

        class Output:
            def write(self, line: str) -> None:
                written.append(json.loads(line)["n"])

            def flush(self) -> None:
                pass

        self._monkeypatch.setattr("sys.stdout", Output())
        full = Settings(
            api_key="k",
            output_dir=str(self._directory),
            job_poll_interval_seconds=0.001,
            batch_wait_limit_seconds=3600,
            **settings,
        )
        pipeline = Pipeline(full, "http://127.0.0.1:1", "run")
        try:
            for stream in _STREAMS:
                pipeline.open_stream(stream, "users" if stream.startswith("users") else "events")
            for kind, value in given:
                if kind == "state":
                    pipeline.state(json.dumps({"n": value}).encode())
                else:
                    uid, number = value
                    request = mapped(kind, uid, number)
                    pipeline.add(kind, "users" if kind[0] == "u" else "events", request, {})
            pipeline.flush()
        finally:
            pipeline.close()
            pipeline.write_last_state(complete=True)
        counts = pipeline.ledger.totals()
        assert counts.received == counts.ended
        return written


def wanted_users(given: list[Message]) -> dict[str, dict[str, int]]:
    users: dict[str, dict[str, int]] = {}
    for kind, value in given:
        if kind.startswith("users"):
            uid, number = value
            users.setdefault(uid, {}).update({"version": number, f"p{number % 3}": number})
    return users


def event_numbers(body: bytes) -> list[int]:
    data = json.loads(body)
    return [request["properties"]["n"] for request in data.get("requests", [data])]


@pytest.mark.parametrize("seed", range(40))
def test_order_windows_checkpoints_and_replays(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    given = messages(rng, 120)
    settings = {
        "delivery": rng.choice(["batch", "single", "auto"]),
        "batch_threshold": 3,
        "batch_size_rows": rng.randint(1, 12),
        "max_batch_bytes": rng.choice([1024, 1 << 20]),
        "concurrency": rng.choice([1, 3, 6]),
        "max_jobs_in_progress": rng.choice([1, 2, 90]),
        "max_operations_in_progress": rng.choice([5, 450_000]),
    }
    harness = Harness(monkeypatch, tmp_path)
    first = FakeFullstory(random.Random(seed))
    written = harness.run(given, first, **settings)

    assert not first.broken
    assert first.users == wanted_users(given)
    assert set(first.events.values()) <= {1}
    assert sorted(n for _, body, _ in first.bodies for n in event_numbers(body)) == sorted(
        value[1] for kind, value in given if kind.startswith("events")
    )
    assert first.most_jobs <= settings["max_jobs_in_progress"]
    if settings["max_operations_in_progress"] == 5:
        assert first.most_operations <= max(5, settings["batch_size_rows"])

    # STATEs go forward, and the last one is the tap's last.
    assert written == sorted(written)
    assert written[-1] == len(given) - 1

    # A restart from any STATE forms the same requests with the same keys.
    sent = {(path, body, key) for path, body, key in first.bodies}
    for place in rng.sample(sorted(set(written)), min(3, len(set(written)))):
        index = given.index(("state", place))
        again = FakeFullstory(random.Random(seed + 1))
        harness.run(given[index + 1 :], again, **settings)
        behind = {entry for entry in sent if max(event_numbers(entry[1])) > place}
        assert {entry for entry in behind if min(event_numbers(entry[1])) < place} == set()
        assert set(again.bodies) == behind


def test_a_state_waits_for_the_slowest_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that finish out of order: at each STATE, all records before it are in."""
    for seed in range(15):
        rng = random.Random(seed)
        given = messages(rng, 80)
        fullstory = FakeFullstory(random.Random(seed))
        accepted: list[tuple[int, set[int]]] = []
        original = fullstory._accept

        def accept(
            kind: str, requests: list[dict[str, Any]], *, batch: bool, take: Any = original
        ) -> Any:
            answer = take(kind, requests, batch=batch)
            safe.update(
                (request["uid"], request["properties"]["version"])
                if kind == "users"
                else request["properties"]["n"]
                for request in requests
            )
            return answer

        safe: set[Any] = set()
        fullstory._accept = accept  # type: ignore[method-assign]

        class Watcher(Harness):
            pass

        harness = Watcher(monkeypatch, tmp_path)
        checked = 0

        def check(value: bytes, at: list[Message] = given) -> None:
            nonlocal checked
            place = json.loads(value)["n"]
            for kind, message in at[: at.index(("state", place))]:
                if kind == "state":
                    continue
                uid, number = message
                if kind.startswith("events"):
                    assert number in safe
                else:
                    # Itself, or a later update that absorbed it.
                    assert any(
                        isinstance(entry, tuple) and entry[0] == uid and entry[1] >= number
                        for entry in safe
                    )
            checked += 1

        from target_fullstory.delivery.checkpoint import CheckpointWriter

        write = CheckpointWriter._write

        def checking(self: Any, value: bytes, *, final: bool, write: Any = write) -> None:
            check(value)
            write(self, value, final=final)

        monkeypatch.setattr(CheckpointWriter, "_write", checking)
        harness.run(given, fullstory, delivery="auto", batch_threshold=2, batch_size_rows=5)
        monkeypatch.setattr(CheckpointWriter, "_write", write)
        assert checked
        assert not accepted
