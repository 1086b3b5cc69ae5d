"""The real run before a fake Fullstory, cut off and started again: all kinds, many inputs.

Cut off, nothing comes through and no STATE is written any more, as where the process is killed. What was
under way may have been carried out, or not. Then a new run starts behind the last STATE.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from target_fullstory import run as run_module
from target_fullstory.batching import batcher
from target_fullstory.errors import DeliveryError
from target_fullstory.mapping import MappingOptions, MappingSpec
from target_fullstory.run import Load, Run
from target_fullstory.sending import in_flight
from target_fullstory.sending.in_flight import StopWaiting
from target_fullstory.settings.model import Settings
from tests.mapping.one_by_one import Mapped, compile_mapping
from tests.reliability.crash_input import SCHEMAS, STREAMS, Input, make_input
from tests.reliability.fake import FakeFullstory

_CALLS = {"calls": STREAMS["calls"] | {"path": "/v2/calls"}}


def _mappings() -> dict[str, Any]:
    schemas = {one["stream"]: one for one in map(json.loads, SCHEMAS)}
    options = MappingOptions(hard_delete=True)
    return {
        stream: compile_mapping(
            stream, MappingSpec(**spec), schemas[stream]["schema"], schemas[stream]["key_properties"], options
        )
        for stream, spec in (STREAMS | _CALLS).items()
    }


MAPPINGS = _mappings()


class Story:
    """One input, loaded by as many runs as it takes."""

    def __init__(self, seed: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = random.Random(seed)
        self.input: Input = make_input(rng, 120, deletions=rng.choice([0.04, 0.12, 0.3]))
        self.fullstory = FakeFullstory(random.Random(seed))
        self._rng = rng
        self._monkeypatch = monkeypatch
        self._offset = 0
        self._settings = Settings(
            api_key="k",
            api_url="http://127.0.0.1:1",
            output_dir=str(directory),
            job_poll_interval_seconds=0.001,
            batch_wait_limit_seconds=3600,
            delivery=rng.choice(["batch", "single", "auto"]),
            batch_threshold=3,
            batch_size_rows=rng.randint(2, 30),
            max_batch_bytes=rng.choice([1024, 1 << 20]),
            concurrency=rng.choice([1, 3, 6]),
        )
        # Now and then the open batches together take too much memory.
        self._most_memory = rng.choice([700, 2000, 1 << 30])

    def load(self, cuts: int) -> None:
        for number in range(cuts + 1):
            self.fullstory.down_after = self._rng.randint(1, 90) if number < cuts else None
            self._load_once()
        assert self._offset == len(self.input.lines), "the last STATE is not the input's"

    def write(self, line: str) -> None:
        """Stands in for stdout."""
        if not self.fullstory.is_down:
            offset = json.loads(line)["bookmarks"]["lines"]
            assert offset >= self._offset, "a STATE goes back"
            self._offset = offset

    def flush(self) -> None:
        """Stands in for stdout."""

    def _load_once(self) -> None:
        self._monkeypatch.setattr(run_module, "Client", self.fullstory)
        self._monkeypatch.setattr("sys.stdout", self)
        self._monkeypatch.setattr(batcher, "max_open_bytes", lambda _: self._most_memory)
        self._monkeypatch.setattr(in_flight, "MAX_IN_FLIGHT_BYTES", self._most_memory)
        run = Load(self._settings, {})
        cut = DeliveryError("cut off")
        self.fullstory.when_down = lambda: run._in_flight.fail(cut)
        if self.fullstory.is_down:
            # A job of the run before was looked at already.
            self.fullstory.when_down()
        try:
            for stream, mapping in MAPPINGS.items():
                run.open_stream(stream, mapping.kind)
            for line in self.input.lines[self._offset :]:
                self._take(run, json.loads(line))
        except (DeliveryError, StopWaiting):
            assert self.fullstory.is_down
            run.end(deliver=False)
        else:
            self._end(run)
        self._monkeypatch.undo()
        if not self.fullstory.is_down:
            counts = run.ledger.totals()
            assert counts.received == counts.ended

    def _end(self, run: Run) -> None:
        try:
            run.end()
        except DeliveryError:
            assert self.fullstory.is_down

    def _take(self, run: Run, message: dict[str, Any]) -> None:
        if message["type"] == "STATE":
            run.state(json.dumps(message["value"]).encode())
            return
        stream, record = message["stream"], message["record"]
        mapping = MAPPINGS[stream]
        outcome = mapping.map_record(record)
        if isinstance(outcome, Mapped):
            run.add(stream, outcome.chunk(mapping.kind))
        else:
            run.reject(stream, mapping.kind, outcome, record)

    def compare(self) -> None:
        fullstory, wanted = self.fullstory, self.input
        assert fullstory.broken == []
        assert fullstory.users == wanted.users
        numbers = Counter[int]()
        for event, count in fullstory.events.items():
            numbers[json.loads(event)["properties"]["number"]] += count
        for number in wanted.rejects:
            del numbers[number]
        for number in wanted.loose:
            assert numbers.pop(number, 0) >= 1, f"event {number} is missing"
        assert numbers == Counter(wanted.events.keys())
        self._compare_calls()

    def _compare_calls(self) -> None:
        """At least once and in order: a restart goes back, and nothing is ever skipped."""
        calls = sorted([*self.input.calls, *self.input.rejects])
        calls = [number for number in calls if number in set(self.fullstory.calls)]
        assert set(calls) >= set(self.input.calls)
        place = {number: index for index, number in enumerate(calls)}
        made = [place[number] for number in self.fullstory.calls]
        assert all(after <= before + 1 for before, after in zip([-1, *made], made, strict=False))
        assert made[-1:] == [len(place) - 1] or not place


@pytest.mark.parametrize("seed", range(30))
def test_all_kinds_through_three_crashes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(seed, tmp_path, monkeypatch)
    story.load(cuts=3)
    story.compare()


@pytest.mark.soak
def test_all_kinds_through_many_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many inputs as the environment's STORIES says, 500 without it."""
    first = int(os.environ.get("SEED", "1000"))
    for seed in range(first, first + int(os.environ.get("STORIES", "500"))):
        directory = tmp_path / str(seed)
        story = Story(seed, directory, monkeypatch)
        story.load(cuts=5)
        story.compare()
