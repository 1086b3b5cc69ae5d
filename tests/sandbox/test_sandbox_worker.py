"""The thread that works on jobs survives what it meets."""

from __future__ import annotations

import time

from target_fullstory.sandbox.database import Database
from target_fullstory.sandbox.jobs import JobItem, JobStore
from target_fullstory.sandbox.worker import Worker


def test_a_defect_fails_its_job_and_not_the_ones_after_it(caplog):
    database = Database(None)
    jobs = JobStore(database)

    def broken(job, shared, first, requests):
        raise ZeroDivisionError

    def working(job, shared, first, requests):
        return [JobItem(position, raw) for position, raw in enumerate(requests, first)]

    importers = {"users": broken, "events": working}
    worker = Worker(database, jobs, importers, job_seconds=0, shuffle_seed=None)
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
