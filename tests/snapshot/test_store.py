"""The store against dictionaries: what is entered is found, across bucket sizes, copies and new openings."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.accounting.destination import Destination
from target_fullstory.snapshot import snapshot as snapshot_module
from target_fullstory.snapshot import store as store_module
from target_fullstory.snapshot.batch_rows import NO_RECORD, NO_REQUEST, BatchRows
from target_fullstory.snapshot.packed_rows import bucket_names, find
from target_fullstory.snapshot.snapshot import Snapshot
from target_fullstory.snapshot.store import Store, add_events
from tests.examples import examples

HERE = Destination("https://api.example.com", "org")

# Few different bytes: rows hold what looks like the keys of others.
keys = st.lists(st.sampled_from([b"\0", b"\1", b"a", b"\xff"]), min_size=8, max_size=8).map(b"".join)
steps = st.tuples(st.sampled_from(["confirm", "fail", "reopen", "copy"]), keys, st.integers(0, 3))


def opened(path: Path) -> Snapshot:
    snapshot = Snapshot(Store(path, HERE), resend_after=None, keep_events=400)
    snapshot.open_stream("people", "users")
    snapshot.open_stream("orders", "events")
    return snapshot


def record(key: bytes, version: int) -> bytes:
    return blake2b(key + bytes([version]), digest_size=8).digest() if version else NO_RECORD


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory, "a.mdb")


@given(st.lists(steps, max_size=60))
@examples(150)
def test_users_are_as_their_last_outcome_says(taken: list[tuple[str, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_ROWS_A_BUCKET", 0)
        path = Path(directory, "a.mdb")
        snapshot = opened(path)
        model: dict[bytes, tuple[bytes, bytes]] = {}
        for what, key, version in taken:
            request = b"%06d" % version
            rows = BatchRows("people", "users", key + request + record(key, version))
            if what == "confirm":
                snapshot.confirm(rows, lambda: None)
                model[key] = request, record(key, version)
            elif what == "fail":
                snapshot.fail(rows)
                if key in model:
                    model[key] = NO_REQUEST, NO_RECORD
            else:
                snapshot.book(everything=True)
                if what == "copy":
                    snapshot.store.file.copy(copy := path.with_name("copy.mdb"))
                    copy.replace(path)
                snapshot.close()
                snapshot = opened(path)
        snapshot.book(everything=True)
        store, facts = snapshot.store, snapshot.store.about.streams["people"]
        assert {row[:8]: (row[8:14], row[14:22]) for row in store.rows("users", facts)} == model
        assert facts.rows == len(model)
        every = {record(key, version) for _, key, _ in taken for version in (1, 2, 3)}
        known = {record for _, record in model.values()} - {NO_RECORD}
        listed = sorted(every)
        unknown = store.unknown(facts, listed, 0)
        # Of a user that changed twice before a booking, the record may have to be learned anew.
        assert {listed[place] for place in unknown} >= every - known
        snapshot.close()


@given(st.lists(st.lists(keys, max_size=20), max_size=5))
@examples(60)
def test_events_are_entered_once(nights: list[list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_ROWS_A_BUCKET", 1)
        snapshot = opened(Path(directory, "a.mdb"))
        for night in nights:
            packed = b"".join(key + record(key, 1) for key in night)
            snapshot.confirm(BatchRows("orders", "events", packed), lambda: None)
            snapshot.book(everything=True)
        facts = snapshot.store.about.streams["orders"]
        entered = sorted({key for night in nights for key in night})
        assert sorted(row[:8] for row in snapshot.store.rows("events", facts)) == entered
        assert facts.rows == len(entered)
        assert snapshot.store.unknown(facts, [record(key, 1) for key in entered], 0) == []
        assert all(snapshot.store.look_up("events", facts, entered))
        snapshot.close()


@given(st.lists(st.binary(min_size=9, max_size=9), max_size=50), st.sampled_from([8, 10, 12, 14, 16]))
def test_buckets_are_named_by_the_first_bits(items: list[bytes], bits: int) -> None:
    for item, name in zip(items, bucket_names(items, bits), strict=True):
        wanted = int.from_bytes(item[:2], "big") >> (16 - bits) << (16 - bits)
        assert int.from_bytes(name.ljust(2, b"\0"), "big") == wanted


def test_a_row_is_not_mistaken_for_parts_of_two() -> None:
    rows = b"xAAAAAAAyy" + b"AAAAAAAzzz"
    assert find(rows, b"AAAAAAA", 10) == 10
    assert find(rows, b"xAAAAAA", 10) == 0
    assert find(rows, b"Ayyabcd", 10) == -1


@pytest.mark.parametrize("what", ["fail", "remove"])
@pytest.mark.parametrize("others", [0, 3])
def test_of_a_user_whose_request_failed_nothing_is_known(path: Path, what: str, others: int) -> None:
    snapshot = opened(path)
    last, next_one = (b"A" * 8 + b"%06d" % n + record(b"A" * 8, n) for n in (1, 2))
    more = b"".join(b"A" + b"%07d" % n + b"%06d" % n + record(b"B", n) for n in range(1, others + 1))
    snapshot.confirm(BatchRows("people", "users", last + more), lambda: None)
    snapshot.book(everything=True)
    rows = BatchRows("people", "users", next_one)
    if what == "fail":
        snapshot.fail(rows)
    else:
        gone = BatchRows("people", "users", b"A" * 8 + NO_REQUEST + NO_RECORD)
        snapshot.confirm(gone, lambda: None)
    snapshot.book(everything=True)
    store, facts = snapshot.store, snapshot.store.about.streams["people"]
    (row,) = store.look_up("users", facts, [b"A" * 8])
    assert row is None if what == "remove" else row is not None and not any(row[:14])
    assert facts.rows == others + (what == "fail")
    assert store.unknown(facts, [last[14:], next_one[14:]], 0) == [0, 1]
    snapshot.close()


def test_old_events_are_forgotten_some_buckets_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ITEMS_A_COMMIT", 16)
    snapshot = opened(path)
    store, facts = snapshot.store, snapshot.store.about.streams["orders"]
    events = [blake2b(b"%d" % number, digest_size=8).digest() for number in range(60_000)]
    days = [(5 + (number % 3 == 0)).to_bytes(2, "big") for number in range(len(events))]
    store.change("events", facts, [key + day for key, day in zip(events, days, strict=True)], add_events)
    tracemalloc.start()
    store.keep("events", facts, 6)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 150_000, "all of them are 540,000 bytes"
    assert facts.rows == 20_000
    assert [*map(bool, store.look_up("events", facts, events))] == [day == b"\0\6" for day in days]
    snapshot.close()


def test_what_is_booked_is_told_after_it_is_on_the_disk(path: Path) -> None:
    snapshot = opened(path)
    told: list[int] = []
    rows = BatchRows("people", "users", b"a" * 22)
    snapshot.confirm(rows, lambda: told.append(snapshot.store.about.streams["people"].rows))
    snapshot.book(everything=False)
    assert not told, "little of it waits"
    snapshot.book(everything=True)
    assert told == [1]
    snapshot.close()


def test_a_forgotten_stream_leaves_the_others(path: Path) -> None:
    snapshot = opened(path)
    snapshot.confirm(BatchRows("people", "users", b"a" * 22), lambda: None)
    snapshot.confirm(BatchRows("orders", "events", b"b" * 16), lambda: None)
    snapshot.book(everything=True)
    snapshot.store.forget("people")
    snapshot.close()
    store = Store(path, HERE)
    assert [*store.about.streams] == ["orders"]
    assert len([*store.rows("events", store.about.streams["orders"])]) == 1
    assert store.facts("people", "users").rows == 0
    store.close()


def test_a_stream_is_known_since_its_first_load(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("2026-01-05", "2026-01-06"):
        monkeypatch.setattr(snapshot_module, "_now", lambda day=day: day)
        snapshot = opened(path)
        snapshot.confirm(BatchRows("people", "users", b"a" * 22), lambda: None)
        snapshot.book(everything=True)
        facts = snapshot.store.about.streams["people"]
        assert (facts.since, facts.loaded) == ("2026-01-05", day)
        snapshot.close()


def test_who_has_one_snapshot_cannot_tell_users_in_another(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "1.mdb"), opened(tmp_path / "2.mdb")
    assert first.user_key("u1") != second.user_key("u1")
    first.close()
    again = opened(tmp_path / "1.mdb")
    assert again.user_key("u1") != second.user_key("u1")
    second.close()
    again.close()


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    snapshot = opened(path)
    beside = path.with_name(f"{path.name}-lock")
    assert [file.stat().st_mode & 0o777 for file in (path, beside)] == [0o600] * 2
    snapshot.store.file.copy(copy := path.with_name("copy.mdb"))
    assert copy.stat().st_mode & 0o777 == 0o600
    snapshot.close()


def test_the_file_stays_small_night_after_night(path: Path) -> None:
    """It grows with what is known, not with how often that changes."""
    users = [blake2b(b"%d" % number, digest_size=8).digest() for number in range(40_000)]
    sizes = []
    for night in range(6):
        snapshot = opened(path)
        changed = users if not night else users[night::50]
        packed = b"".join(key + b"%06d" % night + record(key, night + 1) for key in changed)
        snapshot.confirm(BatchRows("people", "users", packed), lambda: None)
        snapshot.book(everything=True)
        snapshot.close()
        sizes.append(path.stat().st_size / len(users))
    assert max(sizes) <= 64
    assert sizes[-1] <= sizes[0] * 1.3
