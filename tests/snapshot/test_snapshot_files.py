"""Snapshots that are not whole: found before LMDB maps them, and set aside."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import OutputError
from target_fullstory.snapshot.snapshot_files import (
    StoreUnusableError,
    check_snapshot,
    forget_checksum,
    note_checksum,
    set_aside,
    snapshot_name,
)

pytestmark = pytest.mark.nights

ADDRESS = "https://api.fullstory.com"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A snapshot of 400 pages or so."""
    path = tmp_path / "name.mdb"
    values = random.Random(1)
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 28) as store,
        store.begin(write=True) as transaction,
    ):
        for number in range(500):
            transaction.put(number.to_bytes(2, "big"), values.randbytes(3_000))
    return path


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_one_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def replace_by_garbage(path: Path) -> None:
    path.write_bytes(random.Random(2).randbytes(100_000))


def replace_by_text(path: Path) -> None:
    path.write_text("not a snapshot")


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def scatter(path: Path) -> None:
    """Make nonsense of all pages behind LMDB's first two."""
    content = path.read_bytes()
    path.write_bytes(content[:8192] + random.Random(3).randbytes(len(content) - 8192))


WITH_LMDB_ALONE = [
    cut,
    cut_to_nothing,
    zero,
    replace_by_garbage,
    replace_by_text,
    replace_by_directory,
    scatter,
]
WITH_A_CHECKSUM = [*WITH_LMDB_ALONE, cut_one_byte, flip]


def test_a_whole_file_is_used(path: Path) -> None:
    check_snapshot(path)
    note_checksum(path)
    check_snapshot(path)


def test_no_file_is_no_damage(tmp_path: Path) -> None:
    check_snapshot(tmp_path / "name.mdb")


@pytest.mark.parametrize("damage", WITH_A_CHECKSUM)
def test_what_rotted_between_runs_is_found(damage: Callable[[Path], None], path: Path) -> None:
    note_checksum(path)
    damage(path)
    with pytest.raises(StoreUnusableError):
        check_snapshot(path)


@pytest.mark.parametrize("damage", WITH_LMDB_ALONE)
def test_after_a_killed_run_what_lmdb_cannot_read_is_found(
    damage: Callable[[Path], None], path: Path
) -> None:
    damage(path)
    with pytest.raises(StoreUnusableError):
        check_snapshot(path)


def test_lmdb_itself_would_end_the_process(path: Path) -> None:
    """Why a file is looked at first."""
    cut(path)
    code = "import lmdb, sys; list(lmdb.open(sys.argv[1], subdir=False).begin().cursor())"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode < 0


def test_a_file_that_is_shorter_than_its_last_page_may_be_whole(tmp_path: Path) -> None:
    """LMDB does not write pages at the end that the transaction itself has given up."""
    path = tmp_path / "name.mdb"
    chance = random.Random(4)
    short = 0
    for _ in range(40):
        with lmdb.open(str(path), subdir=False, map_size=1 << 28) as store:
            with store.begin(write=True) as transaction:
                keys = [chance.randbytes(4) for _ in range(chance.randrange(1, 1_000))]
                for key in keys:
                    transaction.put(key, bytes(chance.choice((50, 6_000))))
                for key in keys:
                    transaction.delete(key)
            pages = store.info()["last_pgno"] + 1
            short += path.stat().st_size < pages * store.stat()["psize"]
        check_snapshot(path)
    assert short


def test_a_checksum_that_is_out_of_date_is_taken_away_before_a_change(path: Path) -> None:
    note_checksum(path)
    forget_checksum(path)
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 28) as store,
        store.begin(write=True) as transaction,
    ):
        transaction.put(b"more", b"1")
    check_snapshot(path)


def test_what_cannot_be_used_is_renamed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note_checksum(path)
    content = path.read_bytes()
    new = set_aside(path, StoreUnusableError("it is damaged"))
    assert new.name.startswith("name.mdb.damaged-20")
    assert new.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [new.name]
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    for part in (str(path), "it is damaged", new.name, "sent again"):
        assert part in line.getMessage()


def test_another_versions_file_keeps_its_version_in_its_name(path: Path) -> None:
    problem = StoreUnusableError("it is of version 7", version=7)
    assert set_aside(path, problem).name == "name.mdb.version-7"
    path.write_text("x")
    assert set_aside(path, problem).name == "name.mdb.version-7-2"


def test_two_of_the_same_second_are_both_kept(path: Path) -> None:
    first = set_aside(path, StoreUnusableError("it is damaged"))
    path.write_text("x")
    second = set_aside(path, StoreUnusableError("it is damaged"))
    assert first != second
    assert second.read_text() == "x"
    assert first.stat().st_size > 1


def test_a_directory_is_renamed_too(tmp_path: Path) -> None:
    path = tmp_path / "name.mdb"
    path.mkdir()
    (path / "data.mdb").write_text("x")
    new = set_aside(path, StoreUnusableError("it is no file"))
    assert (new / "data.mdb").read_text() == "x"
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_not_set_aside(path: Path) -> None:
    note_checksum(path)
    path.chmod(0)
    with pytest.raises(OutputError, match=r"Permission denied.*snapshot_path"):
        check_snapshot(path)


def test_a_checksum_is_readable_by_its_owner_alone(path: Path) -> None:
    note_checksum(path)
    (beside,) = path.parent.glob("*.xxh3")
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600


def test_a_checksum_that_cannot_be_written_does_no_harm(path: Path) -> None:
    path.with_name("name.mdb.xxh3.tmp").mkdir()
    note_checksum(path)
    check_snapshot(path)


def test_a_name_tells_destinations_apart() -> None:
    destinations = [
        Destination(ADDRESS, "o-1ABC-na1"),
        Destination(ADDRESS, "o-1abc-na1"),
        Destination(ADDRESS, "o/1ABC-na1"),
        Destination("https://api.eu1.fullstory.com", "o-1ABC-na1"),
        Destination(ADDRESS, "key:0123456789ab"),
        Destination(ADDRESS),
    ]
    names = [snapshot_name(one) for one in destinations]
    assert len({name.lower() for name in names}) == len(names)
    assert names[0].startswith("o-1ABC-na1-")
    assert names[2].startswith("o-1ABC-na1-")
    assert snapshot_name(Destination(ADDRESS, "x" * 1000)).startswith("x" * 80 + "-")
    assert all(name.replace("-", "").isalnum() for name in names), json.dumps(names)
