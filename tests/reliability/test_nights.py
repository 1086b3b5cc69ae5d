"""Nights of `sync: changed`, generated: each sends exactly what a naive model says, whatever way it takes.

Tables change from night to night; so do batch sizes, delivery, the mapping, the SCHEMA's order of columns,
the way in which JSON is written, and whether a record takes the fast path. None but the mapping may make a
difference to what is sent.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import executable
from tests.conftest import KEY
from tests.examples import examples
from tests.reliability.aged_store import let_days_pass
from tests.reliability.night_model import STREAMS, Model, Night, Row, problems
from tests.reliability.night_server import NightServer
from tests.scripted import ScriptedServer

pytestmark = pytest.mark.nights

_SLOW: dict[str, dict[str, Any]] = {
    "fast": {},
    "stream maps": {"stream_maps": {name: {"more": "None"} for name in STREAMS}},
    "metadata": {"add_record_metadata": True},
    "not validated": {"validate_records": False},
}


class Nights:
    """Loads night after night into one server, with one snapshot."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._model = Model()
        self._count = 0
        self.fullstory = NightServer()

    def load(self, nights: Sequence[Night]) -> None:
        with ScriptedServer(self.fullstory) as server:
            for night in nights:
                self._load(server.url, night)

    def _load(self, url: str, night: Night) -> None:
        self._count += 1
        self.fullstory.refused = set(night.refused)
        config = {
            "api_key": KEY,
            "api_url": url,
            "streams": night.streams,
            "output_dir": str(self._directory / "output"),
            "job_poll_interval_seconds": 0.01,
            "max_events": night.quota,
            "resend_after_days": night.resend_after,
            "keep_events_days": night.keep,
            "hard_delete": True,
            "max_rejected_records": None,
            "max_rejected_percent": None,
            **night.settings,
        }
        let_days_pass(self._directory / "output" / "snapshot", night.days)
        path = self._directory / "config.json"
        path.write_text(json.dumps(config))
        data = "".join(f"{line}\n" for line in night.lines(self._count)).encode()
        done = executable.fork(["--config", str(path)], data, directory=self._directory)
        assert done.returncode == 0, done.stderr
        block = json.loads(done.stdout.splitlines()[-1])["target_fullstory"]
        wanted = self._model.load(night)
        found = problems(wanted, self.fullstory.night(), block["streams"])
        assert found == [], f"night {self._count}: {found}"


# Tables

_UIDS = ("u1", "u2", "u3")
_TIMES = (None, "2026-01-01T00:00:00Z", "2026-01-02T10:30:00.250Z")
_GONE = "2026-01-05T09:12:44Z"
_SCORES = (None, 1.5, 2.0)


def _rows() -> st.SearchStrategy[Row]:
    uids, styles = st.sampled_from(_UIDS), st.integers(0, 15)
    scores, times, numbers = st.sampled_from(_SCORES), st.sampled_from(_TIMES), st.integers(1, 3)
    tables = {
        "people": {
            "uid": st.sampled_from((*_UIDS, *_UIDS, None)),
            "name": st.sampled_from((None, "Ann/é", "Bob")),
            "seats": st.sampled_from((None, 1, 2)),
            "score": scores,
            "gone": st.sampled_from((None, None, None, None, _GONE)),
        },
        "profiles": {"uid": uids, "tier": st.sampled_from((None, "free", "team"))},
        "orders": {"id": numbers, "at": times, "uid": uids, "number": numbers, "total": scores},
        "visits": {
            "at": times,
            "uid": uids,
            "number": numbers,
            "info": st.sampled_from((None, {"a": "x", "b": 1.5})),
            "width": scores,
        },
        "payments": {"number": numbers, "at": times, "uid": uids, "total": scores},
        "erasures": {"uid": uids},
    }
    # Most of what comes is what makes a difference from night to night.
    shares = ("people", "people", "people", "profiles", "orders", "orders", "visits", "payments", "erasures")
    made = {
        name: st.builds(Row, st.just(name), st.fixed_dictionaries(columns), styles)
        for name, columns in tables.items()
    }
    return st.sampled_from(shares).flatmap(lambda name: made[name])


def _settings() -> st.SearchStrategy[dict[str, Any]]:
    sizes = st.fixed_dictionaries(
        {
            "delivery": st.sampled_from(("batch", "auto", "single")),
            "batch_threshold": st.integers(1, 5),
            "batch_size_rows": st.integers(1, 8),
            "concurrency": st.sampled_from((1, 4)),
            "max_open_bytes": st.sampled_from((1 << 20, 64 << 20)),
        }
    )
    return st.builds(lambda one, path: one | _SLOW[path], sizes, st.sampled_from(tuple(_SLOW)))


def _nights() -> st.SearchStrategy[Night]:
    plain = st.builds(
        Night,
        rows=st.lists(_rows(), max_size=14).map(tuple),
        settings=_settings(),
        people=st.sampled_from((0, 0, 0, 1, 2)),
        orders=st.sampled_from((0, 0, 0, 1)),
        turned=st.booleans(),
        extracted=st.booleans(),
        states=st.sampled_from((1, 3, 100)),
        days=st.sampled_from((1, 1, 2, 3)),
        resend_after=st.sampled_from((None, None, 1, 2, 4)),
        keep=st.sampled_from((400, 400, 1, 2, 4)),
    )
    refused = st.frozensets(st.sampled_from((*_UIDS, 1, 2, 3)), max_size=2)
    quotas = st.integers(0, 4)
    return st.one_of(
        plain,
        st.builds(lambda night, names: replace(night, refused=names), plain, refused),
        st.builds(lambda night, quota: replace(night, quota=quota), plain, quotas),
    )


@examples(45)
@given(nights=st.lists(_nights(), min_size=2, max_size=3))
def test_a_night_sends_what_is_new(nights: list[Night]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Nights(Path(directory)).load(nights)


def _large_night(rng: random.Random, rows: int) -> Night:
    """One with many records, of which a part repeats each night."""
    uids = [f"u{number}" for number in range(rows // 8)]

    def one() -> Row:
        stream = rng.choices(STREAMS, (8, 3, 4, 3, 3, 0.3))[0]
        uid, at, number = rng.choice(uids), rng.choice(_TIMES), rng.randrange(1, rows // 4)
        record: dict[str, Any] = {
            "people": {
                "uid": uid,
                "name": rng.choice(("Ann/é", "Bob")),
                "seats": rng.choice((None, 1, 2)),
                "score": rng.choice(_SCORES),
                "gone": _GONE if rng.random() < 0.03 else None,
            },
            "profiles": {"uid": uid, "tier": rng.choice(("free", "team"))},
            "orders": {"id": number, "at": at, "uid": uid, "number": number % 3, "total": None},
            "visits": {"at": at, "uid": uid, "number": number, "info": {"b": "x", "a": 2.0}, "width": 2.0},
            "payments": {"number": number, "at": at, "uid": uid, "total": rng.choice(_SCORES)},
            "erasures": {"uid": uid},
        }[stream]
        return Row(stream, record, rng.randrange(16))

    return Night(
        rows=tuple(one() for _ in range(rows)),
        settings={
            "delivery": rng.choice(("batch", "auto")),
            "batch_size_rows": rng.choice((7, 40, 1000)),
            "concurrency": rng.choice((1, 4)),
            **_SLOW[rng.choice(tuple(_SLOW))],
        },
        people=rng.choice((0, 0, 1)),
        turned=rng.random() < 0.5,
        extracted=rng.random() < 0.5,
        states=rng.choice((13, 10_000)),
        days=rng.choice((1, 2)),
        resend_after=rng.choice((None, None, 2)),
        keep=rng.choice((400, 1)),
        refused=frozenset(rng.sample(uids, 3)) | {5, 6},
    )


def _large_nights(seed: int, directory: Path, *, nights: int, rows: int) -> None:
    rng = random.Random(seed)
    Nights(directory).load([_large_night(rng, rows) for _ in range(nights)])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_large_nights(seed: int, tmp_path: Path) -> None:
    _large_nights(seed, tmp_path, nights=3, rows=400)


@pytest.mark.soak
def test_many_large_nights(tmp_path: Path) -> None:
    """As many inputs as the environment's STORIES says, 100 without it."""
    first = int(os.environ.get("SEED", "1000"))
    for seed in range(first, first + int(os.environ.get("STORIES", "100"))):
        directory = tmp_path / str(seed)
        directory.mkdir()
        _large_nights(seed, directory, nights=5, rows=800)
