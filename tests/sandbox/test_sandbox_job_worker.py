"""The thread that works on jobs: how many at once, and that it survives what it meets."""

from __future__ import annotations

import time

from target_fullstory.sandbox import SandboxOptions
from target_fullstory.sandbox.operations.job_worker import JobWorker
from target_fullstory.sandbox.store.database import Database
from target_fullstory.sandbox.store.job_store import JobItem, JobStore


def import_all(job, shared, items):
    return [None] * len(items)


def test_100_batches_are_worked_on_at_once_and_the_next_one_waits_for_one_of_them():
    database = Database(None)
    jobs = JobStore(database)
    worker = JobWorker(database, {"users": import_all}, SandboxOptions(job_seconds=3600))
    created = [jobs.create("users", b'{"requests": [{}]}', 1) for _ in range(102)]

    def started():
        worker._start_waiting()
        return {seq for (seq,) in database.all("SELECT seq FROM jobs WHERE due IS NOT NULL")}

    assert started() == {job.seq for job in created[:100]}
    jobs.advance(created[50], 1, [JobItem(0, b"{}")])
    assert started() == {job.seq for job in created[:101]}


def test_a_defect_fails_its_job_and_not_the_ones_after_it(caplog):
    database = Database(None)
    jobs = JobStore(database)

    def broken(job, shared, items):
        raise ZeroDivisionError

    importers = {"users": broken, "events": import_all}
    worker = JobWorker(database, importers, SandboxOptions(job_seconds=0))
    defective = jobs.create("users", b'{"requests": [{}, {}]}', 2)
    sound = jobs.create("events", b'{"requests": [{}]}', 1)
    worker.start()
    deadline = time.monotonic() + 10
    while jobs.in_progress()[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    assert jobs.get("users", defective.id).errors == 2
    assert jobs.get("events", sound.id).status == "COMPLETED"
    assert "failed to work on job" in caplog.text
