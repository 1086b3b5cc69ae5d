"""Snapshots in an object store: a real S3 server on loopback, a directory, and fsspec's memory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from target_fullstory.errors import ConfigurationError, OutputError
from target_fullstory.snapshot.object_store import ObjectStore, StoreError
from target_fullstory.snapshot.remote_copy import OvertakenError, RemoteCopy
from tests.snapshot.bucket import BUCKET, URL, Bucket, bucket, refusing

pytestmark = pytest.mark.nights

NAME = "o-1-na1-12345678"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as found:
        yield found


@pytest.fixture(params=["s3", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
        return URL
    if request.param == "file":
        return f"file://{tmp_path}/shared/nightly"
    return f"memory://{tmp_path.name}/nightly"


class Machine:
    """A machine with a working copy of its own."""

    def __init__(self, directory: Path, url: str = URL) -> None:
        self.copy = RemoteCopy(url, NAME, directory)

    def fetch(self) -> dict[bytes, bytes]:
        self.copy.fetch()
        return self.rows()

    def rows(self) -> dict[bytes, bytes]:
        if not self.copy.path.exists():
            return {}
        with self._open() as store, store.begin() as transaction:
            return dict(transaction.cursor())

    def write(self, **rows: str) -> None:
        with self._open() as store, store.begin(write=True) as transaction:
            for key, value in rows.items():
                transaction.put(key.encode(), value.encode())

    def put(self) -> None:
        with self._open() as store:
            self.copy.put(lambda path: _copy(store, path))

    def _open(self) -> lmdb.Environment:
        self.copy.path.parent.mkdir(parents=True, exist_ok=True)
        return lmdb.open(str(self.copy.path), subdir=False, map_size=1 << 28)


def _copy(store: lmdb.Environment, path: Path) -> None:
    with path.open("wb") as file:
        store.copyfd(file.fileno(), compact=True)


def generation(number: int) -> str:
    return f"{NAME}-{number:010}.mdb"


def test_what_one_machine_puts_another_fetches(url: str, tmp_path: Path) -> None:
    one, other = Machine(tmp_path / "one", url), Machine(tmp_path / "other", url)
    assert one.fetch() == {}
    one.write(a="1")
    one.put()
    assert other.fetch() == {b"a": b"1"}
    other.write(b="2")
    other.put()
    assert one.fetch() == {b"a": b"1", b"b": b"2"}
    # Of a mirror, it has the uids.
    assert {stat.S_IMODE(file.stat().st_mode) for file in (one.copy._note, one.copy.path)} == {0o600}


def test_the_newest_generation_and_the_one_before_are_kept(url: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, url)
    machine.fetch()
    for number in range(1, 5):
        machine.write(a=str(number))
        machine.put()
    assert set(ObjectStore(url).sizes()) == {generation(3), generation(4)}


@pytest.mark.parametrize("both_began", ["with none", "with one"])
def test_of_two_at_once_the_second_fails_and_overwrites_nothing(
    both_began: str, url: str, tmp_path: Path
) -> None:
    one, other = Machine(tmp_path / "one", url), Machine(tmp_path / "other", url)
    if both_began == "with one":
        one.fetch()
        one.write(begin="x")
        one.put()
    one.fetch()
    other.fetch()
    one.write(a="1")
    other.write(b="2")
    one.put()
    with pytest.raises(OvertakenError, match=r"Another run.* sent again"):
        other.put()
    third = Machine(tmp_path / "third", url).fetch()
    assert b"a" in third
    assert b"b" not in third
    # Its next run begins with what is there, and can put it back.
    assert other.fetch() == third
    other.write(b="2")
    other.put()


def test_one_that_comes_several_generations_late_overwrites_nothing(url: str, tmp_path: Path) -> None:
    """The generation that it would create was there, and is removed by now."""
    late, other = Machine(tmp_path / "late", url), Machine(tmp_path / "other", url)
    other.fetch()
    other.put()
    late.fetch()
    late.write(late="1")
    for number in range(3):
        other.write(number=str(number))
        other.put()
    with pytest.raises(OvertakenError, match="of generation 4, this run began with 1"):
        late.put()
    assert late.copy._sizes().keys() == {3, 4}


@pytest.mark.parametrize("size", [1_000, 20_000_000])
def test_an_object_is_created_exclusively(size: int, url: str, tmp_path: Path) -> None:
    """Between the look at what is there and the creation, another run may have created it."""
    store, file = ObjectStore(url), tmp_path / "file"
    file.write_bytes(b"a" * size)
    store.create("object", file)
    file.write_bytes(b"b" * size)
    with pytest.raises(FileExistsError):
        store.create("object", file)
    assert store.tail("object", 3) == b"aaa"


def test_of_many_at_the_same_moment_one_succeeds(s3: Bucket, tmp_path: Path) -> None:
    machines = [Machine(tmp_path / str(number)) for number in range(4)]
    ended: list[str] = []
    together = threading.Barrier(len(machines))

    def put(number: int) -> None:
        machines[number].fetch()
        machines[number].write(by=str(number))
        together.wait()
        try:
            machines[number].put()
            ended.append(str(number))
        except OvertakenError:
            ended.append("overtaken")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = (name for name in ended if name != "overtaken")
    assert len(ended) == len(machines)
    assert Machine(tmp_path / "later").fetch() == {b"by": winner.encode()}


def test_a_current_working_copy_is_not_fetched_again(s3: Bucket, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    machine.put()
    inode = machine.copy.path.stat().st_ino
    machine.fetch()
    assert machine.copy.path.stat().st_ino == inode
    assert machine.copy.is_current()


def test_a_working_copy_is_preferred_where_a_killed_run_could_not_put_it_back(
    s3: Bucket, tmp_path: Path
) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    assert machine.fetch() == {b"a": b"1"}  # killed in its first run
    machine.put()
    machine.write(b="2")
    assert machine.fetch() == {b"a": b"1", b"b": b"2"}
    machine.put()
    assert Machine(tmp_path / "other").fetch() == {b"a": b"1", b"b": b"2"}


def test_a_working_copy_is_not_preferred_to_a_later_generation(s3: Bucket, tmp_path: Path) -> None:
    one, other = Machine(tmp_path / "one"), Machine(tmp_path / "other")
    one.fetch()
    one.write(a="1")  # killed
    other.fetch()
    other.write(b="2")
    other.put()
    assert one.fetch() == {b"b": b"2"}


def test_a_generation_of_the_same_number_by_another_run_is_fetched(s3: Bucket, tmp_path: Path) -> None:
    """Somebody emptied the bucket, and another run began anew."""
    one, other = Machine(tmp_path / "one"), Machine(tmp_path / "other")
    one.fetch()
    one.write(a="1")
    one.put()
    s3.clear()
    other.fetch()
    other.write(b="2")
    other.put()
    assert one.fetch() == {b"b": b"2"}


def test_a_working_copy_whose_generations_were_removed_is_set_aside(
    s3: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    machine.put()
    s3.clear()
    assert machine.fetch() == {}
    assert "sent again" in caplog.text
    assert "none at s3://" in caplog.text


def test_runs_that_share_a_working_copy_put_it_back_in_turns(s3: Bucket, tmp_path: Path) -> None:
    one, other = Machine(tmp_path), Machine(tmp_path)
    one.fetch()
    other.fetch()
    one.write(a="1")
    one.put()
    other.write(b="2")
    other.put()
    assert Machine(tmp_path / "third").fetch() == {b"a": b"1", b"b": b"2"}


def test_a_put_whose_answer_was_lost_counts(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    create = ObjectStore.create

    def twice(self: ObjectStore, name: str, file: Path) -> None:
        create(self, name, file)
        create(self, name, file)

    monkeypatch.setattr(ObjectStore, "create", twice)
    machine.put()
    machine.write(a="2")
    machine.put()
    assert Machine(tmp_path / "other").fetch() == {b"a": b"2"}


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other"])
def test_a_damaged_generation_is_not_used(
    damage: str, s3: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    for number in (1, 2):
        machine.write(a=str(number))
        machine.put()
    content = s3.objects[generation(2)]
    middle = len(content) // 2
    s3.write(
        generation(2),
        {
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "cut": content[:middle],
            "empty": b"",
            "other": b"no snapshot" * 1000,
        }[damage],
    )
    other = Machine(tmp_path / "other")
    assert other.fetch() == {b"a": b"1"}
    assert "damaged" in caplog.text
    other.write(b="2")
    other.put()
    assert set(s3.objects) == {generation(2), generation(3)}
    assert Machine(tmp_path / "third").fetch() == {b"a": b"1", b"b": b"2"}


def test_where_all_generations_are_damaged_a_new_one_is_begun(
    s3: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    s3.write(generation(7), b"x" * 100)
    machine = Machine(tmp_path)
    assert machine.fetch() == {}
    assert "sent again" in caplog.text
    machine.write(a="1")
    machine.put()
    assert generation(8) in s3.objects
    assert Machine(tmp_path / "other").fetch() == {b"a": b"1"}


def test_a_damaged_working_copy_is_fetched_anew(s3: Bucket, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    machine.put()
    machine.copy.path.write_bytes(b"rotten" * 2000)
    assert machine.fetch() == {b"a": b"1"}


def test_other_objects_are_left_alone(s3: Bucket, tmp_path: Path) -> None:
    others = {f"{NAME}2-0000000009.mdb": b"1", f"{NAME}-9.mdb": b"2", "readme.txt": b"3"}
    for name, content in others.items():
        s3.write(name, content)
    machine = Machine(tmp_path)
    for number in range(3):
        machine.fetch()
        machine.write(a=str(number))
        machine.put()
    assert others.items() <= s3.objects.items()
    assert set(s3.objects) - set(others) == {generation(2), generation(3)}


def test_where_nothing_may_be_deleted_old_generations_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"memory://{tmp_path.name}/undeletable"
    machine = Machine(tmp_path, url)
    machine.fetch()

    def refuse(*_: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(machine.copy._store._files, "rm_file", refuse)
    for number in range(3):
        machine.write(a=str(number))
        machine.put()
    assert set(ObjectStore(url).sizes()) == {generation(number) for number in (1, 2, 3)}
    assert "cannot be removed" in caplog.text
    assert "Access Denied" in caplog.text


def test_a_missing_bucket_is_told_at_once(s3: Bucket, tmp_path: Path) -> None:
    s3.delete()
    with pytest.raises(StoreError, match=rf"s3://{BUCKET}/fullstory/nightly cannot be read: .*snapshot_path"):
        Machine(tmp_path).fetch()


def test_a_bucket_that_is_deleted_meanwhile_is_told(s3: Bucket, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.fetch()
    machine.write(a="1")
    machine.put()
    s3.delete()
    machine.write(a="2")
    with pytest.raises(StoreError, match=f"cannot be read: there is no bucket {BUCKET}"):
        machine.put()
    assert machine.rows() == {b"a": b"2"}


def test_a_store_that_nobody_answers_at_is_told(
    s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match=r"cannot be read: Could not connect .* snapshot_path"):
        Machine(tmp_path).fetch()


def test_credentials_in_an_error_of_the_store_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore("memory://somewhere")

    def fail(*_: object, **__: object) -> None:
        raise OSError("No answer from\nhttp://user:hidden@proxy.example.com/")

    monkeypatch.setattr(store._files, "ls", fail)
    with pytest.raises(StoreError, match=r"No answer from http://proxy\.example\.com") as told:
        store.sizes()
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("put_back", [False, True])
def test_credentials_that_are_refused_are_told(
    put_back: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server checks what the account may do, once it is told to."""
    with bucket(monkeypatch) as found:
        machine = Machine(tmp_path)
        if put_back:
            machine.fetch()
            machine.write(a="1")
        with refusing(found), pytest.raises(StoreError) as told:
            machine.put() if put_back else machine.fetch()
        assert "PermissionError" in str(told.value)
        assert "credentials in the environment" in str(told.value)
        assert "testing" not in str(told.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0)
    with pytest.raises(StoreError, match="Permission denied"):
        Machine(tmp_path / "one", f"file://{shared}").fetch()


def test_a_working_copy_that_cannot_be_written_is_told(s3: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"working copy .* cannot be written: .* output_dir"):
        Machine(tmp_path / "file").fetch()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("gs://bucket/path", "pip install gcsfs"),
        ("nonsense://bucket/path", "cannot be used"),
        ("s3://", "names no bucket"),
    ],
)
def test_an_address_that_cannot_work_is_a_configuration_error(url: str, told: str, s3: Bucket) -> None:
    with pytest.raises(ConfigurationError, match=told) as error:
        ObjectStore(url)
    assert "snapshot_path" in str(error.value)


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_without_the_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pathlib import Path\n"
        "from target_fullstory.snapshot.remote_copy import RemoteCopy\n"
        f"RemoteCopy({URL!r}, 'n', Path('x'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: Setting snapshot_path" in done.stderr
    assert "pip install 'target-fullstory[cloud]'" in done.stderr
