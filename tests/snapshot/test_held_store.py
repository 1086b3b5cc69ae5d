"""The store of a run: put back now and then, and shared with other runs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import OutputError
from target_fullstory.snapshot import held_store
from target_fullstory.snapshot.batch_rows import BatchRows
from target_fullstory.snapshot.held_store import HeldStore
from target_fullstory.snapshot.remote_copy import OvertakenError, RemoteCopy
from target_fullstory.snapshot.snapshot import Snapshot
from tests.snapshot.bucket import URL, Bucket, bucket

pytestmark = pytest.mark.nights

HERE = Destination("https://api.fullstory.com", "o-1-na1")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as found:
        yield found


def held(directory: Path) -> HeldStore:
    remote = RemoteCopy(URL, "name", directory)
    return HeldStore(remote.path, HERE, remote)


def run(held: HeldStore) -> Snapshot:
    snapshot = Snapshot(held.store, resend_after=None, keep_events=400)
    snapshot.held = held
    return snapshot


def confirm(snapshot: Snapshot, stream: str, number: int, *, everything: bool = True) -> None:
    snapshot.load_stream(stream, "events")
    key = number.to_bytes(8, "big")
    snapshot.confirm(BatchRows(stream, "events", key + key), lambda: None)
    snapshot.book(everything=everything)


def known(snapshot: Snapshot) -> dict[str, int]:
    return {name: facts.rows for name, facts in snapshot.store.about.streams.items()}


def test_what_is_booked_is_put_back_when_it_is_time(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(held_store.time, "monotonic", lambda: now)
    snapshot = run(held(tmp_path))
    confirm(snapshot, "orders", 1)
    assert not s3.objects
    now += 301
    confirm(snapshot, "orders", 2, everything=False)  # too few to be booked otherwise
    assert len(s3.objects) == 1
    now += 299
    confirm(snapshot, "orders", 3)
    assert len(s3.objects) == 1
    assert known(run(held(tmp_path / "other"))) == {"orders": 2}
    now += 2
    snapshot.book(everything=False)
    assert len(s3.objects) == 2
    snapshot.close()
    assert len(s3.objects) == 2  # nothing has changed since
    assert known(run(held(tmp_path / "third"))) == {"orders": 3}


def test_trouble_with_the_store_in_between_is_a_warning(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(held_store.time, "monotonic", lambda: now)
    snapshot = run(held(tmp_path))
    s3.delete()
    now += 301
    confirm(snapshot, "orders", 1)
    assert "there is no bucket" in caplog.text
    assert "tried again" in caplog.text
    s3.create()
    now += 301
    confirm(snapshot, "orders", 2)
    assert known(run(held(tmp_path / "other"))) == {"orders": 2}
    snapshot.close()


def test_another_runs_generation_in_between_ends_the_run(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(held_store.time, "monotonic", lambda: now)
    snapshot, other = run(held(tmp_path)), run(held(tmp_path / "other"))
    confirm(other, "customers", 1)
    other.close()
    now += 301
    with pytest.raises(OvertakenError):
        confirm(snapshot, "orders", 1)
    with pytest.raises(OvertakenError):
        snapshot.close()
    assert known(run(held(tmp_path / "third"))) == {"customers": 1}


def test_a_copy_that_others_use_is_not_replaced_by_a_later_generation(s3: Bucket, tmp_path: Path) -> None:
    first = run(held(tmp_path))
    other = run(held(tmp_path / "other"))
    confirm(other, "customers", 1)
    other.close()
    with pytest.raises(OutputError, match=r"Another run has written .* Nothing was sent"):
        held(tmp_path)
    confirm(first, "orders", 1)
    with pytest.raises(OvertakenError):
        first.close()
    assert known(run(held(tmp_path))) == {"customers": 1}


def _enter(environment: dict[str, str]) -> None:
    os.environ.update(environment)


class Process:
    """A run in a process of its own: LMDB opens a file once in each."""

    _snapshot: Snapshot  # there

    def __init__(self, path: Path) -> None:
        # Forked by a server that has other environment variables.
        context = multiprocessing.get_context("forkserver")
        self._pool = ProcessPoolExecutor(1, context, initializer=_enter, initargs=(dict(os.environ),))
        self._do(_begin, path)

    def confirm(self, stream: str, *numbers: int) -> None:
        self._do(_confirm, stream, numbers)

    def load(self, stream: str) -> None:
        self._do(_load, stream)

    def unknown(self, stream: str, *numbers: int) -> int:
        return self._do(_unknown, stream, numbers)

    def known(self) -> dict[str, int]:
        return self._do(_known)

    def seed(self) -> int:
        return self._do(_seed)

    def forget(self, stream: str) -> None:
        self._do(_forget, stream)

    def close(self) -> None:
        self._do(_close)
        self._pool.shutdown()

    def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._pool.submit(function, *arguments).result(60)


def _begin(path: Path) -> None:
    Process._snapshot = run(HeldStore(path, HERE))


def _confirm(stream: str, numbers: Sequence[int]) -> None:
    for number in numbers:
        confirm(Process._snapshot, stream, number, everything=False)
    Process._snapshot.book(everything=True)


def _load(stream: str) -> None:
    Process._snapshot.load_stream(stream, "events")


def _unknown(stream: str, numbers: Sequence[int]) -> int:
    store = Process._snapshot.store
    keys = [number.to_bytes(8, "big") for number in numbers]
    return store.look_up("events", store.facts(stream, "events"), keys).count(None)


def _known() -> dict[str, int]:
    return known(Process._snapshot)


def _seed() -> int:
    return Process._snapshot.store.about.seed


def _forget(stream: str) -> None:
    Process._snapshot.store.forget(stream)


def _close() -> None:
    Process._snapshot.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "name.mdb"


def test_runs_that_share_a_store_enter_streams_of_their_own(path: Path) -> None:
    first, second = Process(path), Process(path)
    assert first.seed() == second.seed()
    for number in range(1, 4):
        first.confirm("orders", number)
        second.confirm("visits", number, number + 100)
    first.close()
    second.close()
    later = Process(path)
    assert later.known() == {"orders": 3, "visits": 6}
    assert later.unknown("orders", 1, 2, 3, 101) == 1
    assert later.unknown("visits", 1, 2, 3, 101) == 0
    later.close()


def test_what_another_run_has_loaded_meanwhile_is_taken_over(path: Path) -> None:
    first, second = Process(path), Process(path)
    numbers = [number << 48 for number in range(20_000)]
    first.confirm("orders", *numbers)  # so many that there are more buckets
    first.close()
    second.load("orders")
    assert second.unknown("orders", *numbers) == 0
    second.confirm("orders", 1)
    assert second.known() == {"orders": 20_001}
    second.close()


def test_a_stream_that_another_run_has_forgotten_is_not_entered_again(path: Path) -> None:
    first, second = Process(path), Process(path)
    first.confirm("orders", 1)
    second.confirm("visits", 1)
    assert second.known() == {"orders": 1, "visits": 1}
    first.forget("orders")
    first.close()
    second.confirm("visits", 2)
    second.close()
    later = Process(path)
    assert later.known() == {"visits": 2}
    later.close()
