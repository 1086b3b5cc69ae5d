"""What is open or in flight is bounded in bytes, for any number of streams and however slow the server."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from target_fullstory import load as load_module
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.responses import Response
from target_fullstory.batching import memory_limits
from target_fullstory.batching.batch import Batch, BatchBody
from target_fullstory.batching.batcher import Batcher
from target_fullstory.kinds import Kind
from target_fullstory.load import Load
from target_fullstory.mapping import Chunk
from target_fullstory.settings.model import Settings

MOST = 200_000


class Taken:
    """A dispatcher that takes every batch at once."""

    max_bytes = 16 << 20
    repeats_deletions = False

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def submit(self, batch: Batch) -> None:
        self.batches.append(batch)


def numbers(batch: Batch) -> list[int]:
    return [json.loads(request)["n"] for request in batch.requests()]


def chunk(kind: Kind, number: int) -> Chunk:
    keys = [f"user-{number}"] if kind == "users" else []
    return Chunk(kind, [{"n": number, "text": "x" * (50 + number % 100)}], keys, timed=True)


class Input:
    """Records of 400 streams in turn, with STATEs among them."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.kind: Kind = kind
        settings = Settings(api_key="k", output_dir=str(directory), max_open_bytes=MOST * 8 // 3)
        self.taken = Taken()
        self.accounting = Accounting(settings, "run", write_state=lambda _: None)
        self.batcher = Batcher(settings, self.taken, self.accounting)
        self.states: list[int] = []

    def read(self, begin: int, end: int) -> None:
        for number in range(begin, end):
            stream = f"stream-{number * 7919 % 400}"
            self.accounting.ledger.open_stream(stream, self.kind)
            self.batcher.add(stream, chunk(self.kind, number))
            held = self.batcher._memory[self.kind == "events"]
            assert held <= MOST
            if number % 16 == 0:  # Adding them up takes as long as all else.
                assert sum(one.memory for one in self.batcher._open.values()) == held
            if number % 1700 == 1699:
                self.accounting.checkpoints.receive(b"{}")
                self.batcher.mark_state()
                self.states.append(number + 1)


@pytest.mark.parametrize("kind", ["users", "events"])
def test_many_streams_together_stay_within_the_limit(kind: Kind, tmp_path: Path) -> None:
    source = Input(kind, tmp_path)
    source.read(0, 12_000)
    source.batcher.flush_all(leave_rest=False)
    assert source.batcher._memory == Counter({True: 0, False: 0})
    sent = [number for batch in source.taken.batches for number in numbers(batch)]
    assert sorted(sent) == list(range(12_000))
    if kind == "users":
        # The largest goes: the others keep growing.
        assert max(batch.rows for batch in source.taken.batches) > 5


def test_batches_of_events_end_where_a_repetition_of_the_input_ends_them(tmp_path: Path) -> None:
    """Cut at a STATE where one lies inside; and from such a place on they form again as they were."""
    first = Input("events", tmp_path)
    first.read(0, 12_000)
    formed = [(batch.stream, numbers(batch)) for batch in first.taken.batches]
    assert len(formed) > 1000
    for place in first.states[:-1]:
        across = [found for _, found in formed if found[0] < place <= found[-1]]
        if across:
            continue  # No STATE inside a batch is written.
        again = Input("events", tmp_path)
        again.read(place, 12_000)
        behind = [batch for batch in formed if batch[1][0] >= place]
        assert [(b.stream, numbers(b)) for b in again.taken.batches] == behind
        break
    else:
        pytest.fail("no STATE to restart from")


def test_how_the_lines_were_read_does_not_move_the_end_of_a_batch_of_events(tmp_path: Path) -> None:
    """Without a STATE among them: the largest batch is sent, with the record that exceeds the limit."""
    formed = []
    for records_a_chunk in (1, 7, 100):
        source = Input("events", tmp_path)
        for begin in range(0, 9000, 100):
            # Records of one stream that follow each other, in the pieces that the pipe gave.
            stream = f"stream-{begin // 100 % 7}"
            source.accounting.ledger.open_stream(stream, "events")
            for at in range(begin, begin + 100, records_a_chunk):
                numbers_read = range(at, min(at + records_a_chunk, begin + 100))
                requests = [one for number in numbers_read for one in chunk("events", number).requests]
                source.batcher.add(stream, Chunk("events", requests, [], timed=True))
        formed.append([(batch.stream, numbers(batch)) for batch in source.taken.batches])
    assert len(formed[0]) > 3
    assert formed[0] == formed[1] == formed[2]


def test_the_shares_are_the_whole() -> None:
    for settings in (Settings(), Settings(max_open_bytes=1 << 20)):
        shares = 2 * memory_limits.open_bytes(settings) + memory_limits.in_flight_bytes(settings)
        assert shares == settings.max_open_bytes
    # By default `max_batch_bytes` is what it says.
    assert memory_limits.batch_bytes(Settings()) == Settings().max_batch_bytes


class SlowServer:
    """Takes its time to answer; remembers the most bytes that it had to answer at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0
        self.most_bytes = 0
        self.most_requests = 0
        self._requests = 0

    def __call__(self, settings: Any, url: str) -> SlowServer:
        return self

    def close(self) -> None:
        """Nothing is open."""

    def call(self, method: str, path: str, body: bytes | BatchBody, **_: Any) -> Response:
        with self._lock:
            self._bytes += len(body)
            self._requests += 1
            self.most_bytes = max(self.most_bytes, self._bytes)
            self.most_requests = max(self.most_requests, self._requests)
        time.sleep(0.01)
        with self._lock:
            self._bytes -= len(body)
            self._requests -= 1
        return Response(200, {"id": "1", "job": {"id": str(time.monotonic_ns())}})


@pytest.mark.parametrize("delivery_mode", ["batch", "single"])
def test_what_a_slow_server_has_to_answer_is_bounded(
    delivery_mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SlowServer()
    monkeypatch.setattr(load_module, "Client", server)
    settings = Settings(
        api_key="k",
        output_dir=str(tmp_path),
        delivery=delivery_mode,
        batch_size_rows=20,
        max_open_bytes=4 * 5000,
        concurrency=8,
        wait_for_jobs=False,
    )
    run = Load(settings, {})
    run.open_stream("events", "events")
    for number in range(1, 601):
        run.add("events", chunk("events", number))
    run.end()
    assert run.ledger.totals().delivered == 600
    assert server.most_bytes <= 5000
    assert server.most_requests > 1


def test_a_record_larger_than_the_limit_goes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SlowServer()
    monkeypatch.setattr(load_module, "Client", server)
    settings = Settings(
        api_key="k", output_dir=str(tmp_path), delivery="batch", max_open_bytes=4 * 40, wait_for_jobs=False
    )
    run = Load(settings, {})
    run.open_stream("events", "events")
    for number in range(60):
        run.add("events", chunk("events", number))
    run.end()
    assert run.ledger.totals().delivered == 60
    assert server.most_requests == 1
