"""The note of unfinished jobs, as a file."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.api.client import Client
from target_fullstory.api.key_account import KeyAccount
from target_fullstory.api.transport import HttpRequest, HttpResponse
from target_fullstory.sending import note_file
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.outbox import Outbox
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.batch_rows import BatchRows

URL = "https://api.example.com"
ENTRY = JobEntry(id="j", kind="users", stream="users", records=2)
BODY = [b'{"requests":[{"uid":"a"}', b',{"uid":"b"}]}']


class Me:
    """A transport that knows one answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, {}, b'{"role": "ADMIN", "orgId": "o-1"}')

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def journal(tmp_path: Path) -> Callable[[str], JobJournal]:
    settings = Settings(api_key="k3y", api_url=URL)
    account = KeyAccount(settings, Client(settings, URL, Me()))
    return lambda run_id: JobJournal(str(tmp_path), run_id, URL, account)


def test_no_other_run_sees_a_note_that_is_not_locked(
    journal: Callable[[str], JobJournal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, seen = note_file.try_lock, []

    def looked_at(file: IO[bytes]) -> bool:
        seen.append([path.name for path in tmp_path.glob("jobs-*.jsonl")])
        return lock(file)

    monkeypatch.setattr(note_file, "try_lock", looked_at)
    one, other = journal("one"), journal("other")
    one.accepted(ENTRY, BODY)
    assert seen == [[]]
    assert other.left_jobs() == []
    one.close()
    assert [job.id for job in other.left_jobs()] == ["j"]
    assert other.requests("j") == [b'{"uid":"a"}', b'{"uid":"b"}']
    other.ended("j")
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_the_note_is_on_the_disk_and_the_requests_are_written_before_the_job_counts(
    journal: Callable[[str], JobJournal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, bytes] = {}
    fsync = os.fsync

    def sync(handle: int) -> None:
        fsync(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        listing = "\n".join(sorted(one.name for one in tmp_path.iterdir())).encode()
        synced[path.name] = listing if path == tmp_path else path.read_bytes()

    monkeypatch.setattr(os, "fsync", sync)
    journal("run").accepted(ENTRY, BODY)
    assert (tmp_path / "batch-run-1.json").read_bytes() == b"".join(BODY)
    assert json.loads(synced["jobs-run.jsonl"])["id"] == "j"
    assert synced[tmp_path.name].decode().split() == ["jobs-run.jsonl"]


def test_a_batch_that_a_killed_run_did_not_come_to_note_is_deleted(
    journal: Callable[[str], JobJournal], tmp_path: Path
) -> None:
    one = journal("one")
    one.accepted(ENTRY, BODY)
    one.close()
    for name in ("batch-one-2.json", "batch-two-1.json"):
        (tmp_path / name).write_bytes(b'{"requests":')
    journal("other").left_jobs()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["batch-one-1.json", "batch-two-1.json", "jobs-one.jsonl"]


def test_what_is_written_behind_a_torn_line_is_read(
    journal: Callable[[str], JobJournal], tmp_path: Path
) -> None:
    one = journal("one")
    one.accepted(ENTRY, BODY)
    one.accepted(JobEntry(id="k", kind="users", stream="users", records=2), BODY)
    one.close()
    with (tmp_path / "jobs-one.jsonl").open("ab") as file:
        file.write(b'{"id":"l","kind":"us')
    for ended in ("j", "k"):
        other = journal("other")
        assert ended in [job.id for job in other.left_jobs()]
        other.ended(ended)
        other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_note_names_elsewhere_is_not_touched(
    journal: Callable[[str], JobJournal], tmp_path: Path
) -> None:
    mine = tmp_path / "mine.json"
    mine.write_bytes(b"".join(BODY))
    output = tmp_path / "output"
    output.mkdir()
    job = {"id": "j", "kind": "users", "stream": "users", "api_url": URL, "batch": "../mine.json"}
    (output / "jobs-one.jsonl").write_text(json.dumps(job))
    other = JobJournal(str(output), "other", URL, journal("x").account)
    assert [job.id for job in other.left_jobs()] == ["j"]
    assert other.requests("j") is None
    other.ended("j")
    assert mine.exists()


def test_without_room_for_the_requests_the_job_is_noted_all_the_same(
    journal: Callable[[str], JobJournal], tmp_path: Path
) -> None:
    """A file may grow to 5 kB in this process; the note needs less."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = journal("one")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        one.accepted(ENTRY, [b"x" * 20_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert one.requests("j") is None
    one.close()
    assert [path.name for path in tmp_path.iterdir()] == ["jobs-one.jsonl"]
    (job,) = journal("other").left_jobs()
    assert (job.id, job.records, job.batch) == ("j", 2, None)


def test_what_a_batch_is_made_of_is_on_the_disk_before_its_note_is(
    journal: Callable[[str], JobJournal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fsync, list[int]()

    def note(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    kept = journal("a").keep(BODY)
    assert {tmp_path.stat().st_ino, (tmp_path / kept).stat().st_ino} <= set(synced)


def test_which_records_failed_is_noted_before_the_snapshot_is_told(
    journal: Callable[[str], JobJournal], tmp_path: Path
) -> None:
    told = []

    class Looking:
        def user_key(self, user: str) -> bytes:
            return user.encode()

        def expect(self, rows: BatchRows) -> None:
            raise AssertionError

        def confirm(self, rows: BatchRows, on_booked: Callable[[], None]) -> None:
            told.append(("confirm", len(rows), noted_as_failed()))

        def fail(self, rows: BatchRows) -> None:
            told.append(("fail", len(rows), noted_as_failed()))

    def noted_as_failed() -> list[int]:
        (note,) = tmp_path.glob("jobs-*.jsonl")
        failed: list[int] = json.loads(note.read_text().splitlines()[-1])["failed"]
        return failed

    outbox = Outbox(journal("a"), Looking())
    noted = outbox.send(BatchRows("orders", "events", bytes(48)), BODY, 3, single=True)
    outbox.book(noted, {1: b"{}"})
    assert told == [("fail", 1, [1]), ("confirm", 2, [1])]
