"""The real run before a fake Fullstory: order, windows, checkpoints and replays, many inputs.

Every STATE that is written is a place to restart from: the records before it are in, and a run that begins
there forms the same batches of events again, to the byte.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from target_fullstory import load as load_module
from target_fullstory.kinds import Kind
from target_fullstory.load import Load
from target_fullstory.mapping import Chunk
from target_fullstory.settings.model import Settings
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


def kind_of(stream: str) -> Kind:
    return "users" if stream.startswith("users") else "events"


def chunk_of(stream: str, uid: str, number: int) -> Chunk:
    if stream.startswith("users"):
        request = {"uid": uid, "properties": {"version": number, f"p{number % 3}": number}}
        return Chunk("users", [request], [uid], timed=False)
    request = {"name": stream, "timestamp": "2026-01-01T00:00:00Z", "properties": {"n": number}}
    return Chunk("events", [request], [], timed=True)


def unsafe_before(given: list[Message], place: int, fullstory: FakeFullstory) -> list[Message]:
    """Records before a STATE that are not accepted, nor absorbed by a later update that is."""
    events, users = fullstory.accepted
    return [
        (kind, value)
        for kind, value in given[: given.index(("state", place))]
        if (kind.startswith("events") and value[1] not in events)
        or (kind.startswith("users") and users.get(value[0], -1) < value[1])
    ]


class Harness:
    """Makes runs over messages from some place on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._monkeypatch = monkeypatch
        self._directory = directory

    def run(self, given: list[Message], fullstory: FakeFullstory, **settings: Any) -> list[int]:
        """The numbers of the STATEs written, each checked at its moment."""
        written: list[int] = []
        unsafe: list[Message] = []

        class Output:
            def write(self, line: str) -> None:
                written.append(json.loads(line)["n"])
                unsafe.extend(unsafe_before(given, written[-1], fullstory))

            def flush(self) -> None:
                pass

        self._monkeypatch.setattr(load_module, "Client", fullstory)
        self._monkeypatch.setattr("sys.stdout", Output())
        full = Settings(
            api_key="k",
            api_url="http://127.0.0.1:1",
            output_dir=str(self._directory),
            job_poll_interval_seconds=0.001,
            batch_wait_limit_seconds=3600,
            **settings,
        )
        run = Load(full, {})
        try:
            for stream in _STREAMS:
                run.open_stream(stream, kind_of(stream))
            for stream, value in given:
                if stream == "state":
                    run.state(json.dumps({"n": value}).encode())
                else:
                    run.add(stream, chunk_of(stream, *value))
        finally:
            run.end()
        counts = run.ledger.totals()
        assert counts.received == counts.ended
        assert not unsafe, "a STATE covers records that are not safe"
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


@pytest.mark.parametrize("seed", range(25))
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
        # Now and then the open batches together take too much memory.
        "max_open_bytes": 4 * rng.choice([700, 2000, 1 << 30]),
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
        assert not again.broken
        behind = {entry for entry in sent if max(event_numbers(entry[1])) > place}
        assert {entry for entry in behind if min(event_numbers(entry[1])) < place} == set()
        assert set(again.bodies) == behind
