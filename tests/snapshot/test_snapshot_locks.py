"""Runs at the same time, and the snapshot that they share."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from target_fullstory.errors import OutputError
from target_fullstory.snapshot import snapshot_locks
from target_fullstory.snapshot.snapshot_locks import StoreLock, StreamInUseError, StreamLocks


def test_a_stream_is_loaded_by_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = StreamLocks(tmp_path, "name"), StreamLocks(tmp_path, "name")
    first.take("customers")
    first.take("customers")
    second.take("orders")
    with pytest.raises(StreamInUseError, match="Stream customers: another run"):
        second.take("customers")
    first.close()
    second.take("customers")


def test_a_stream_to_another_destination_is_another(tmp_path: Path) -> None:
    StreamLocks(tmp_path, "one").take("customers")
    StreamLocks(tmp_path, "other").take("customers")


def test_any_name_of_a_stream_will_do(tmp_path: Path) -> None:
    locks = StreamLocks(tmp_path, "name")
    for stream in ("", "../x", "A", "a", "x" * 1000, "\u00e4", "\ud800", "a\0b"):
        locks.take(stream)
    assert len(list(tmp_path.iterdir())) == 8


def test_a_killed_run_holds_no_stream(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from target_fullstory.snapshot.snapshot_locks import StreamLocks\n"
        "locks = StreamLocks(Path(sys.argv[1]), 'name'); locks.take('customers')\n"
        "print(flush=True); input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        locks = StreamLocks(tmp_path, "name")
        with pytest.raises(StreamInUseError):
            locks.take("customers")
        process.kill()
        process.wait()
        locks.take("customers")


def test_a_store_is_replaced_by_a_run_that_is_alone_with_it(tmp_path: Path) -> None:
    path = tmp_path / "name.mdb"
    first = StoreLock(path)
    assert first.alone
    first.share()
    second = StoreLock(path)
    assert not second.alone
    assert not first.try_alone()
    first.close()
    assert second.try_alone()
    second.close()


def test_of_two_that_end_the_last_one_is_alone(tmp_path: Path) -> None:
    locks = [StoreLock(tmp_path / "name.mdb")]
    locks[0].share()
    locks += [StoreLock(tmp_path / "name.mdb") for _ in range(3)]
    assert [lock.try_alone() for lock in locks] == [False, False, False, True]


def test_a_run_that_is_alone_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_locks, "_LONGEST_WAIT_SECONDS", 0.2)
    first = StoreLock(tmp_path / "name.mdb")
    with pytest.raises(OutputError, match="Another run has kept the snapshot"):
        StoreLock(tmp_path / "name.mdb")
    first.close()


def test_a_run_waits_for_one_that_is_alone_for_a_moment(tmp_path: Path) -> None:
    first = StoreLock(tmp_path / "name.mdb")
    timer = threading.Timer(0.2, first.share)
    timer.start()
    second = StoreLock(tmp_path / "name.mdb")
    timer.join()
    assert not second.alone
    assert not first.alone


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="snapshot_path"):
        StreamLocks(tmp_path / "file", "name").take("customers")
    with pytest.raises(OutputError, match="snapshot_path"):
        StoreLock(tmp_path / "file" / "name.mdb")
