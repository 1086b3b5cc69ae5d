"""Which users vanished, against a model that holds everything in sets."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.errors import OutputError
from target_fullstory.snapshot import seen_users
from target_fullstory.snapshot.seen_users import SeenUsers

NONE = bytes(8)
# Few bytes, so that first bytes and whole keys meet.
fingerprints = st.integers(0, 40).map(lambda n: bytes([n % 5]) + n.to_bytes(7, "big"))
records = st.one_of(st.just(NONE), st.integers(41, 60).map(lambda n: bytes([n % 3]) + n.to_bytes(7, "big")))
looks = st.lists(st.tuples(st.booleans(), st.lists(st.one_of(fingerprints, records), max_size=8)), max_size=8)


@given(
    known=st.dictionaries(fingerprints, records, max_size=40),
    looks=looks,
    held=st.sampled_from([1, 60, 4096]),
)
def test_the_vanished_are_those_seen_in_neither_way(
    known: dict[bytes, bytes],
    looks: list[tuple[bool, list[bytes]]],
    held: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    seen_keys: set[bytes] = set()
    seen_records: set[bytes] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_users, "_HELD_BYTES", held)
        seen = SeenUsers(tmp_path_factory.getbasetemp())
        for by_key, items in looks:
            (seen.keys if by_key else seen.records)(items)
            (seen_keys if by_key else seen_records).update(items)
        vanished = seen.vanished(known.items())
        seen.close()
    # A user without a record is never seen by one, even where a fingerprint should be all zeros.
    expected = {
        key
        for key, record in known.items()
        if key not in seen_keys and (record == NONE or record not in seen_records)
    }
    assert sorted(vanished) == sorted(expected)
    assert len(vanished) == len(expected)
    assert sorted(vanished) == sorted(expected), "it can be read again"


def test_memory_does_not_grow_with_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_users, "_HELD_BYTES", 8 * 1024)

    def peak(users: int) -> int:
        def keys(seed: int) -> Iterator[list[bytes]]:
            random = Random(seed)
            for _ in range(users // 1000):
                yield [random.randbytes(8) for _ in range(1000)]

        def known() -> Iterator[tuple[bytes, bytes]]:
            """Every second one was seen by its record, every third in no way."""
            numbers = chain.from_iterable(
                zip(one, other, strict=True) for one, other in zip(keys(1), keys(2), strict=True)
            )
            for at, (key, record) in enumerate(numbers):
                yield (key, record) if at % 3 else (key[::-1], NONE)

        gc.collect()
        tracemalloc.start()
        seen = SeenUsers(tmp_path)
        for one, other in zip(keys(1), keys(2), strict=True):
            seen.keys(one[::2])
            seen.records(other[1::2])
        vanished = seen.vanished(known())
        assert users // 3 <= sum(1 for _ in vanished) == len(vanished) <= users // 3 + 1
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(2_000), peak(16_000)
    assert large < small * 1.3, (small, large)
    assert large < 1024 * 1024, (small, large)


def test_nothing_is_left_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_users, "_HELD_BYTES", 8)
    seen = SeenUsers(tmp_path / "output")
    seen.keys([b"12345678", b"22345678"])
    assert list((tmp_path / "output").iterdir()) == []
    assert list(seen.vanished([(b"12345678", NONE), (b"32345678", NONE)])) == [b"32345678"]


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_users, "_HELD_BYTES", 8)
    (tmp_path / "file").touch()
    seen = SeenUsers(tmp_path / "file" / "output")
    with pytest.raises(OutputError, match=r"Which users were read cannot be noted in .*\. Free disk space"):
        seen.keys([b"12345678"])
