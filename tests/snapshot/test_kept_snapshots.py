"""Snapshots from run to run, through the executable: kept in S3, damaged, used by several runs at once."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from target_fullstory.sandbox import Sandbox
from tests import executable
from tests.conftest import KEY, Outcome, SandboxApi, record, schema, state
from tests.reliability.live import Live
from tests.snapshot.bucket import URL, Bucket, at_each_upload, bucket, refusing

pytestmark = pytest.mark.nights

SYNC = {"customers": {"kind": "users", "sync": "changed"}, "orders": {"kind": "events", "sync": "changed"}}
CUSTOMERS = schema("customers", {"id": {"type": "string"}, "plan": {"type": "string"}}, ["id"])
ORDERS = schema(
    "orders",
    {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "timestamp": {"type": "string"},
        "user": {"type": "object"},
    },
    ["id"],
)


def customer(number: int, plan: str = "free") -> str:
    return record("customers", id=f"c{number}", plan=plan)


def order(number: int) -> str:
    at = f"2026-01-01T00:00:{number:02}Z"
    return record("orders", id=f"o{number}", name="Ordered", timestamp=at, user={"uid": "c1"})


def customers(count: int) -> list[str]:
    return [CUSTOMERS, *map(customer, range(count)), state(at=count)]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as found:
        yield found


@pytest.fixture
def config(sandbox: Sandbox, config: dict[str, Any]) -> dict[str, Any]:
    return config | {"api_url": sandbox.url, "streams": SYNC, "delivery": "batch"}


class Machines:
    """Machines with directories of their own, each of which may run the target."""

    def __init__(self, directory: Path, config: dict[str, Any]) -> None:
        self._directory = directory
        self._config = config

    def config(self, machine: str, **settings: Any) -> dict[str, Any]:
        return self._config | {"output_dir": str(self._directory / machine)} | settings

    def run(self, machine: str, lines: list[str], *, name: str = "run", **settings: Any) -> Outcome:
        full = self.config(machine, **settings)
        path = self._directory / f"{name}.json"
        path.write_text(json.dumps(full))
        if '"STATE"' not in lines[-1]:
            lines = [*lines, state(at="the end")]
        data = "".join(f"{line}\n" for line in lines).encode()
        done = executable.fork(["--config", str(path)], data, directory=self._directory)
        return Outcome(done.returncode, done.stdout, done.stderr, Path(full["output_dir"]))

    def start(self, machine: str, **settings: Any) -> Live:
        directory = self._directory / f"{machine}-started"
        directory.mkdir(exist_ok=True)
        return Live(self.config(machine, **settings), directory)

    def snapshot(self, machine: str) -> Path:
        (path,) = (self._directory / machine / "snapshot").rglob("*.mdb")
        return path


@pytest.fixture
def machines(tmp_path: Path, config: dict[str, Any]) -> Machines:
    return Machines(tmp_path, config)


def counts(outcome: Outcome, stream: str = "customers") -> tuple[int, int]:
    """How many records were delivered, and how many unchanged."""
    figures = outcome.block["streams"][stream]
    return figures["delivered"], figures["unchanged"]


def only_error(outcome: Outcome | Live, *texts: str) -> None:
    lines = outcome.error_lines if isinstance(outcome, Outcome) else outcome.errors
    assert len(lines) == 1, lines
    for text in texts:
        assert text in lines[0]


# In an object store


def test_a_machine_without_a_disk_of_its_own_knows_what_was_sent(s3: Bucket, machines: Machines) -> None:
    for night, machine in enumerate(("one", "other", "one", "third")):
        outcome = machines.run(machine, [*customers(10), customer(3, plan=str(night))], snapshot_path=URL)
        assert outcome.code == 0, outcome.stderr
        # Customer 3 comes twice each night, and its last version differs from that of the night before.
        assert counts(outcome) == ((10, 0) if night == 0 else (1, 9))
    assert len(s3.objects) == 2


def test_a_night_in_which_nothing_changed_puts_nothing_back(s3: Bucket, machines: Machines) -> None:
    for night in range(3):
        outcome = machines.run(str(night), customers(10), snapshot_path=URL)
        assert counts(outcome) == ((10, 0) if night == 0 else (0, 10))
    assert [name[-14:] for name in s3.objects] == ["0000000001.mdb"]


def test_of_two_runs_at_once_the_second_to_end_is_told(s3: Bucket, machines: Machines) -> None:
    first = machines.run("one", customers(10), snapshot_path=URL)
    assert first.code == 0
    with machines.start("other", snapshot_path=URL) as live:
        live.feed(CUSTOMERS, customer(11), state(at=1))
        live.wait_for_log("Stream customers", seconds=60)
        between = machines.run("third", [*customers(10), customer(12)], snapshot_path=URL)
        assert between.code == 0
        before = s3.objects
        live.close_input()
        assert live.end(60) == 1
        only_error(live, "Another run has written the snapshot", URL, "sent again", "run this one again")
        assert live.bookmarks[-1] == {"at": 1}
        assert live.block["streams"]["customers"]["delivered"] == 1
    assert s3.objects == before
    # What it sent is sent again, and what the other has sent is not.
    later = machines.run("other", [*customers(10), customer(11), customer(12)], snapshot_path=URL)
    assert later.code == 0
    assert counts(later) == (1, 11)


@pytest.mark.parametrize("nights_before", [0, 1])
def test_what_a_killed_run_has_booked_is_known_on_its_machine(
    nights_before: int, s3: Bucket, machines: Machines
) -> None:
    """It is killed when all is booked, and nothing of it put back."""
    for _ in range(nights_before):
        machines.run("one", [CUSTOMERS, customer(99)], snapshot_path=URL)
    before = s3.objects
    with machines.start("one", snapshot_path=URL) as live, at_each_upload(live.process.kill):
        live.feed(CUSTOMERS, *map(customer, range(10)), state(at=1))
        live.close_input()
        assert live.end(60) == -signal.SIGKILL
    s3.forget(after=before)
    assert counts(machines.run("one", customers(10), snapshot_path=URL)) == (0, 10)
    # That run has put it back, though it has changed nothing.
    assert counts(machines.run("other", customers(10), snapshot_path=URL)) == (0, 10)


def test_without_its_bucket_a_run_ends_before_it_sends(
    s3: Bucket, machines: Machines, api: SandboxApi
) -> None:
    s3.delete()
    outcome = machines.run("one", customers(10), snapshot_path=URL)
    assert outcome.code == 1
    only_error(outcome, "there is no bucket", "snapshot_path", URL)
    assert not [one for one in api.requests() if one["method"] == "POST"]


def test_a_bucket_that_is_deleted_meanwhile_fails_the_run_and_loses_nothing(
    s3: Bucket, machines: Machines
) -> None:
    with machines.start("one", snapshot_path=URL) as live:
        live.feed(CUSTOMERS, customer(1), state(at=1))
        live.wait_for_log("Stream customers", seconds=60)
        s3.delete()
        live.close_input()
        assert live.end(60) == 1
        only_error(live, "there is no bucket", "snapshot_path")
        assert live.bookmarks[-1] == {"at": 1}
    s3.create()
    assert counts(machines.run("one", [CUSTOMERS, customer(1)], snapshot_path=URL)) == (0, 1)
    assert counts(machines.run("other", [CUSTOMERS, customer(1)], snapshot_path=URL)) == (0, 1)


@pytest.mark.parametrize("wrong", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_end_the_run_before_it_sends(
    wrong: str, machines: Machines, api: SandboxApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bucket(monkeypatch, **{wrong: "not-the-right-one"}) as found, refusing(found):
        outcome = machines.run("one", customers(10), snapshot_path=URL)
    assert outcome.code == 1
    only_error(outcome, "cannot be read", "snapshot_path", "credentials")
    assert "not-the-right-one" not in outcome.stderr + outcome.stdout
    assert not [one for one in api.requests() if one["method"] == "POST"]


def test_credentials_in_the_address_are_refused_and_shown_nowhere(machines: Machines, tmp_path: Path) -> None:
    outcome = machines.run("one", customers(1), snapshot_path="s3://AKIAHIDDEN:hid/den@bucket/path")
    assert outcome.code == 1
    only_error(outcome, "snapshot_path", "credentials")
    left = [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "run.json"]
    texts = [outcome.stdout, outcome.stderr, *(file.read_text(errors="replace") for file in left)]
    assert not any("AKIAHIDDEN" in text or "hid/den" in text for text in texts)


def test_the_environments_credentials_are_shown_nowhere(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "a-secret-of-the-environment"}
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "debug")
    with bucket(monkeypatch, **secret) as found:
        outcome = machines.run("one", customers(10), snapshot_path=URL)
        assert outcome.code == 0
        assert found.objects
    left = [file for file in tmp_path.rglob("*") if file.is_file()]
    texts = [outcome.stdout, outcome.stderr, *(file.read_bytes().decode("latin-1") for file in left)]
    assert not any("a-secret-of-the-environment" in text for text in texts)


def test_a_directory_may_be_given_as_an_address(machines: Machines, tmp_path: Path) -> None:
    for machine, expected in (("one", (10, 0)), ("other", (0, 10))):
        outcome = machines.run(machine, customers(10), snapshot_path=f"file://{tmp_path}/shared")
        assert counts(outcome) == expected


# Damaged


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(50_000))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "data.mdb").write_text("x")


def other_version(path: Path) -> None:
    with lmdb.open(str(path), subdir=False) as store, store.begin(write=True) as transaction:
        about = msgspec.json.decode(transaction.get(b"about"))
        transaction.put(b"about", msgspec.json.encode({"version": about["version"] + 6, "other": []}))


def no_about(path: Path) -> None:
    with lmdb.open(str(path), subdir=False) as store, store.begin(write=True) as transaction:
        transaction.put(b"about", b"{")


FOUND_WITHOUT_A_CHECKSUM = [truncate, zero, empty, garbage, directory, other_version, no_about]


@pytest.mark.parametrize(
    ("damage", "killed"),
    [
        *((damage, False) for damage in (truncate, flip, zero, empty, garbage, directory)),
        *((damage, True) for damage in FOUND_WITHOUT_A_CHECKSUM),
    ],
)
def test_a_snapshot_that_cannot_be_used_is_set_aside_and_rebuilt(
    damage: Callable[[Path], None], killed: bool, machines: Machines
) -> None:
    """A run that was killed leaves no checksum beside it."""
    assert counts(machines.run("one", customers(500))) == (500, 0)
    path = machines.snapshot("one")
    damage(path)
    if killed:
        path.with_name(f"{path.name}.xxh3").unlink()
    outcome = machines.run("one", customers(500))
    assert outcome.code == 0, outcome.stderr
    assert counts(outcome) == (500, 0)
    (warning,) = (line for line in outcome.stderr.splitlines() if "| WARNING" in line)
    (aside,) = (each for each in path.parent.glob("*.mdb.*") if each.suffix != ".xxh3")
    assert str(path) in warning
    assert "sent again" in warning
    assert aside.name in warning
    assert (".version-7" if damage is other_version else ".damaged-20") in aside.name
    assert counts(machines.run("one", customers(500))) == (0, 500)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("forbidden", ["file", "directory"])
def test_a_snapshot_that_may_not_be_read_is_told(forbidden: str, machines: Machines) -> None:
    assert machines.run("one", customers(5)).code == 0
    path = machines.snapshot("one")
    place = path if forbidden == "file" else path.parent
    place.chmod(0)
    try:
        outcome = machines.run("one", customers(5))
    finally:
        place.chmod(0o700)
    assert outcome.code == 1
    only_error(outcome, "Permission denied", "snapshot_path")


def test_a_full_disk_ends_the_run_and_leaves_the_snapshot_whole(machines: Machines, tmp_path: Path) -> None:
    """A file may grow to 60 kB in this process; the snapshot needs more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    assert counts(machines.run("one", customers(20))) == (20, 0)
    with Live(machines.config("one", batch_size_rows=200), tmp_path, preexec_fn=limit) as live:
        live.feed(*customers(5_000))
        live.close_input()
        assert live.end(60) == 1
        only_error(live, "snapshot", "cannot be written", "snapshot_path")
        assert live.bookmarks[-1] == {"at": 5_000}
        assert not any("Traceback" in line for line in live.log)
    assert counts(machines.run("one", customers(20))) == (0, 20)


def test_a_place_that_cannot_be_made_is_told(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = machines.run("one", customers(5), snapshot_path=str(tmp_path / "file" / "snapshots"))
    assert outcome.code == 1
    only_error(outcome, "snapshot_path", "directory")


# Several runs at once


def test_a_stream_that_another_run_loads_ends_the_second_before_it_sends_any_of_it(
    machines: Machines, api: SandboxApi
) -> None:
    with machines.start("one") as live:
        live.feed(CUSTOMERS, customer(1), state(at=1))
        live.wait_for_log("Stream customers", seconds=60)
        outcome = machines.run("one", [ORDERS, order(1), state(at=1), CUSTOMERS, customer(2), state(at=2)])
        assert outcome.code == 1
        only_error(outcome, "Stream customers", "another run")
        # What came before is delivered and checkpointed.
        assert outcome.states[-1]["bookmarks"] == {"at": 1}
        assert counts(outcome, "orders") == (1, 0)
        live.close_input()
        assert live.end(60) == 0
    assert not api.get("/v2/users", uid="c2")["results"]
    outcome = machines.run("one", [CUSTOMERS, customer(1), customer(2)])
    assert counts(outcome) == (1, 1)


def test_a_killed_run_holds_nothing(machines: Machines) -> None:
    with machines.start("one") as live:
        live.feed(CUSTOMERS, customer(1), state(at=1))
        live.wait_for_log("Stream customers", seconds=60)
        live.process.kill()
    assert machines.run("one", customers(5)).code == 0
    assert counts(machines.run("one", customers(5))) == (0, 5)


def test_runs_of_different_streams_share_the_snapshot(machines: Machines) -> None:
    """Both are new to it, and both are written while the other run has it open."""
    with machines.start("one") as first, machines.start("one") as second:
        first.feed(CUSTOMERS, *map(customer, range(20)), state(at=1))
        second.feed(ORDERS, *map(order, range(10)), state(at=1))
        for live, stream in ((first, "customers"), (second, "orders")):
            live.wait_for_log(f"Stream {stream}", seconds=60)
        first.close_input()
        assert first.end() == 0
        second.feed(*map(order, range(10, 30)))
        second.close_input()
        assert second.end() == 0
    again = machines.run("one", [*customers(20), ORDERS, *map(order, range(30))])
    assert counts(again) == (0, 20)
    assert counts(again, "orders") == (0, 30)


def test_the_snapshot_is_not_replaced_under_a_run_that_has_it_open(machines: Machines) -> None:
    machines.run("one", customers(2_000))
    path = machines.snapshot("one")
    with machines.start("one") as live:
        live.feed(ORDERS, order(1), state(at=1))
        live.wait_for_log("Stream orders", seconds=60)
        inode = path.stat().st_ino
        assert counts(machines.run("one", [CUSTOMERS, customer(1, "other")])) == (1, 0)
        assert path.stat().st_ino == inode
        assert not path.with_name(f"{path.name}.xxh3").exists()
        live.close_input()
        assert live.end(60) == 0
    assert path.with_name(f"{path.name}.xxh3").exists()
    again = machines.run("one", [CUSTOMERS, customer(1, "other"), ORDERS, order(1)])
    assert counts(again) == (0, 1)
    assert counts(again, "orders") == (0, 1)


def test_runs_to_other_destinations_do_not_meet(machines: Machines) -> None:
    with machines.start("one") as live:
        live.feed(CUSTOMERS, customer(1), state(at=1))
        live.wait_for_log("Stream customers", seconds=60)
        with Sandbox() as other:
            outcome = machines.run("one", [CUSTOMERS, customer(1)], api_url=other.url)
        assert outcome.code == 0
        assert counts(outcome) == (1, 0)
        assert KEY not in outcome.stderr


def test_runs_that_begin_the_snapshot_at_the_same_moment_begin_one(machines: Machines) -> None:
    streams = {f"orders{number}": {"kind": "events", "sync": "changed"} for number in range(4)}

    def lines(stream: str) -> list[str]:
        return [line.replace('"orders"', f'"{stream}"') for line in (ORDERS, *map(order, range(10)))]

    def load(stream: str) -> Outcome:
        return machines.run("one", lines(stream), name=stream, streams=streams)

    with ThreadPoolExecutor(4) as threads:
        first = dict(zip(streams, threads.map(load, streams), strict=True))
    for stream, outcome in first.items():
        assert outcome.code == 0, outcome.stderr
        assert counts(outcome, stream) == (10, 0)
    for stream in streams:
        assert counts(load(stream), stream) == (0, 10)
