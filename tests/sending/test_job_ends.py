"""The end of a batch job: believed where its figures add up, else looked up; noted until it is learned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from target_fullstory.accounting.ledger import JobEntry, UnfinishedJob
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.job_polling import PolledJob
from target_fullstory.sending.job_ends import JobEnds
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.settings.model import Settings
from tests.conftest import EVENTS, USERS, Outcome, event, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]


@dataclass
class Jobs:
    """A server whose jobs end as a test says; each figure and list may be a lie.

    Attributes:
        status: What a look at a job is answered with, from the number of its records.
        refused: Positions of the items that are listed as refused.
        imported: Positions of the items that are listed as imported; None: all others.
        page: Items on a page.
        endless: Whether the last page's token leads to that page again.
        waiting: How often a list is answered with 202 before it is there.
        organization: What `GET /me` tells; None: it is refused.
        alter: What Fullstory makes of an item that it lists as imported.
        nameless: Positions of the items that are listed as refused without saying which they are.
        code: The code that an item is refused with, from its position.
        ending: Jobs are in progress until it is set.
    """

    status: Callable[[int], Reply]
    refused: set[int] = field(default_factory=set)
    imported: set[int] | None = None
    page: int = 1000
    endless: bool = False
    waiting: int = 0
    organization: str | None = "o-1"
    alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda item: item
    nameless: set[int] = field(default_factory=set)
    code: Callable[[int], str] = lambda position: "no"
    ending: threading.Event | None = None

    def __post_init__(self) -> None:
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.looks: list[str] = []
        self.lists: list[str] = []

    def __call__(self, request: Request, number: int) -> Reply:
        if request.path == "/me":
            account = {"orgId": self.organization, "role": "ADMIN"}
            return Reply(200, account) if self.organization else Reply(403, {})
        if not request.path.partition("?")[0].count("/batch"):
            return Reply(200, {"id": "1"})
        if request.method == "POST":
            self.jobs[f"job-{number}"] = request.json["requests"]
            return Reply(200, {"job": {"id": f"job-{number}", "status": "PROCESSING"}})
        url = urlsplit(request.path)
        _, _, kind, _, job, *listing = url.path.split("/")
        if not listing:
            self.looks.append(job)
            if self.ending is not None and not self.ending.is_set():
                return told("PROCESSING")(0)
            return self.status(len(self.jobs.get(job, [])))
        self.lists.append(request.path)
        if self.waiting:
            self.waiting -= 1
            return Reply(202, {})
        items = list(enumerate(self.jobs[job]))
        if listing == ["errors"]:
            failed = [
                {"code": self.code(n), "message": "No"} | ({} if n in self.nameless else {kind[:-1]: item})
                for n, item in items
                if n in self.refused
            ]
            return self._page(failed, url.query)
        imported = set(range(len(items))) - self.refused if self.imported is None else self.imported
        return self._page([self.alter(item) for n, item in items if n in imported], url.query)

    def _page(self, items: list[Any], query: str) -> Reply:
        start = int(parse_qs(query).get("page_token", ["0"])[0])
        end = start + self.page
        more = {"next_page_token": str(end)} if end < len(items) else {}
        if self.endless and not more:
            more = {"next_page_token": str(start)}
        return Reply(200, {"results": items[start:end], "total_records": str(len(items)), **more})


def told(status: str, imports: int | None = None, errors: int = 0) -> Callable[[int], Reply]:
    """A job's status with these figures, all of them imports without."""

    def answer(records: int) -> Reply:
        figures = {"imports": records - errors if imports is None else imports, "errors": errors}
        return Reply(200, {"job": {"status": status}, **figures})

    return answer


def gone(records: int) -> Reply:
    return Reply(404, {"code": "resource_not_found"})


def refused_with(status: int) -> Callable[[int], Reply]:
    return lambda records: Reply(status, {"code": "no"})


@contextmanager
def serving(jobs: Jobs) -> Iterator[str]:
    with ScriptedServer(jobs, me=True) as server:
        yield server.url


FORTY = [USERS, *(user(n, seats=n) for n in range(40)), state(a=1)]
FORTY_EVENTS = [EVENTS, *(event(n, amount=n) for n in range(40)), state(a=1)]


def load(run_target: Run, jobs: Jobs, lines: list[str] = FORTY, **settings: Any) -> Outcome:
    with serving(jobs) as url:
        return run_target(lines, **{"api_url": url, "delivery": "batch"} | settings)


def counts(done: Outcome, stream: str = "users") -> tuple[int, int]:
    found = done.block["streams"][stream]
    ends = ("delivered", "rejected", "merged", "ignored", "unchanged")
    assert found["received"] == sum(found[end] for end in ends)
    assert done.block["rejects"]["count"] == len(done.rejects)
    return found["delivered"], found["rejected"]


def left_files(directory: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in directory.glob("[jb]*-*"))


# Figures that do not add up


@pytest.mark.parametrize(
    "status",
    [told("FAILED", 0), told("FAILED"), told("COMPLETED", 10), told("COMPLETED", 0, 12)],
    ids=[
        *("failed without errors", "failed, and says it imported all"),
        *("10 of 40 imports", "errors that are not listed"),
    ],
)
@pytest.mark.parametrize("kind", ["users", "events"])
def test_records_in_no_list_are_rejected_with_their_requests(
    status: Callable[[int], Reply], kind: str, run_target: Run
) -> None:
    jobs = Jobs(status, imported=set(range(10)), page=3)
    done = load(run_target, jobs, FORTY if kind == "users" else FORTY_EVENTS)
    assert done.code == 1
    assert counts(done, kind) == (10, 30)
    (requests,) = jobs.jobs.values()
    assert {reject["code"] for reject in done.rejects} == {"job_incomplete"}
    assert [reject["request"] for reject in done.rejects] == requests[10:]
    (job,) = done.block["jobs"]
    assert (job["status"], job["imports"], job["errors"], job["records"]) == ("FAILED", 10, 30, 40)
    assert left_files(done.output_dir) == []


def test_a_job_that_failed_without_errors_and_imported_all_is_delivered(run_target: Run) -> None:
    done = load(run_target, Jobs(told("FAILED", 0)))
    assert done.code == 0, done.stderr
    assert counts(done) == (40, 0)


def test_figures_that_add_up_are_believed(run_target: Run) -> None:
    jobs = Jobs(told("FAILED", errors=3), refused={1, 5, 39})
    done = load(run_target, jobs)
    assert counts(done) == (37, 3)
    assert [reject["code"] for reject in done.rejects] == ["no"] * 3
    assert [path.split("/")[-1] for path in jobs.lists] == ["errors"]


def test_fewer_errors_listed_than_counted(run_target: Run) -> None:
    """The figures add up, and still nobody says what became of two records."""
    jobs = Jobs(told("FAILED", errors=3), refused={0}, imported=set(range(3, 40)))
    done = load(run_target, jobs)
    assert counts(done) == (37, 3)
    found = [(reject["code"], reject["request"]["uid"]) for reject in done.rejects]
    assert found == [("no", "u0"), ("job_incomplete", "u1"), ("job_incomplete", "u2")]


def test_refused_and_lost_records_are_told_apart(run_target: Run) -> None:
    jobs = Jobs(told("FAILED", 30, 8), refused={0, 1}, imported=set(range(5, 40)))
    done = load(run_target, jobs)
    assert counts(done) == (35, 5)
    found = [(reject["code"], reject["request"]["uid"]) for reject in done.rejects]
    assert found == [("no", "u0"), ("no", "u1"), *(("job_incomplete", f"u{n}") for n in (2, 3, 4))]


@pytest.mark.parametrize("kind", ["users", "events"])
def test_errors_without_their_records_get_those_that_are_not_imported(kind: str, run_target: Run) -> None:
    """The figures add up; it is the list that does not say whose the errors are."""
    refused = {1, 5, 30}
    jobs = Jobs(told("FAILED", errors=3), refused=refused, nameless=refused - {5}, page=7)
    done = load(run_target, jobs, FORTY if kind == "users" else FORTY_EVENTS)
    assert counts(done, kind) == (37, 3)
    (requests,) = jobs.jobs.values()
    assert [(reject["code"], reject["message"]) for reject in done.rejects] == [("no", "No")] * 3
    assert [reject["request"] for reject in done.rejects] == [requests[n] for n in (5, 1, 30)]


def test_errors_without_their_records_that_cannot_be_told_apart_say_so(run_target: Run) -> None:
    """Two reasons, and a record that is lost: which is whose nobody knows, but each has a request."""
    jobs = Jobs(
        *(told("FAILED", 37, 2), {1, 2}),
        imported=set(range(40)) - {1, 2, 3},
        nameless={1, 2},
        code=lambda position: f"code_{position}",
    )
    done = load(run_target, jobs)
    assert counts(done) == (37, 3)
    found = [(reject["code"], reject["request"]["uid"]) for reject in done.rejects]
    assert found == [("code_1", "u1"), ("code_2", "u2"), ("job_incomplete", "u3")]
    notes = ["does not tell of which record" in reject["message"] for reject in done.rejects]
    assert notes == [True, True, False]


def test_a_job_that_vanishes_ends_as_rejects(run_target: Run) -> None:
    done = load(run_target, Jobs(gone))
    assert done.code == 1
    assert counts(done) == (0, 40)
    assert [reject["request"]["uid"] for reject in done.rejects] == [f"u{n}" for n in range(40)]
    assert done.block["jobs"][0]["status"] == "UNKNOWN"
    assert left_files(done.output_dir) == []


def test_a_record_is_not_rejected_more_often_than_the_job_has_it(run_target: Run) -> None:
    """The last page leads to itself; the same error stands on every page."""
    jobs = Jobs(told("FAILED", 39, 1), refused={7}, page=1, endless=True)
    done = load(run_target, jobs, max_rejected_records=1)
    assert done.code == 0, done.stderr
    assert counts(done) == (39, 1)
    assert len(jobs.lists) < 100


def test_lists_that_are_not_ready_are_waited_for(run_target: Run) -> None:
    jobs = Jobs(told("FAILED", errors=2), refused={1, 2}, waiting=3)
    done = load(run_target, jobs)
    assert counts(done) == (38, 2)
    assert len(jobs.looks) == 4


def as_shown(item: dict[str, Any]) -> dict[str, Any]:
    """The time written another way, the user's id added, the properties in another order and type."""
    properties = {name: float(value) for name, value in reversed(item["properties"].items())}
    at = item["timestamp"].replace("Z", ".000+00:00")
    return item | {"timestamp": at, "user": item["user"] | {"id": "77"}, "properties": properties, "x": 1}


def test_events_that_fullstory_shows_otherwise_than_sent_are_recognised(run_target: Run) -> None:
    jobs = Jobs(told("COMPLETED", 38), imported=set(range(40)) - {3, 30}, alter=as_shown)
    done = load(run_target, jobs, FORTY_EVENTS)
    assert counts(done, "events") == (38, 2)
    assert [reject["request"]["properties"]["amount"] for reject in done.rejects] == [3, 30]


def test_of_events_that_cannot_be_told_apart_all_are_rejected(run_target: Run) -> None:
    """Equal but for what Fullstory shows otherwise: any of the three may be the one that is missing."""
    lines = [EVENTS, *(event(1, amount=n) for n in range(3)), event(2, amount=9), state(a=1)]
    jobs = Jobs(
        told("COMPLETED", 3), imported={0, 1, 3}, alter=lambda item: item | {"properties": {"amount": "?"}}
    )
    done = load(run_target, jobs, lines)
    assert counts(done, "events") == (1, 3)
    assert [reject["request"]["properties"]["amount"] for reject in done.rejects] == [0, 1, 2]


def test_a_run_can_read_its_jobs_requests_though_output_dir_was_emptied(
    config: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs(told("COMPLETED", 10), imported=set(range(10)), ending=threading.Event())
    settings = {"delivery": "batch", "max_rejected_records": None, "max_rejected_percent": None}
    settings |= {"batch_size_rows": 40}
    with serving(jobs) as url, Live(config | settings | {"api_url": url}, tmp_path) as live:
        for batch in range(2):
            live.feed(USERS, *(user(n) for n in range(batch * 40, batch * 40 + 40)), state(a=batch))
            live.wait_for(lambda number=batch: {"a": number} in live.bookmarks)
            # Also a job that is accepted after that.
            shutil.rmtree(tmp_path / "output")
        live.close_input()
        assert jobs.ending is not None
        jobs.ending.set()
        assert live.end() == 0, live.story
        (path,) = (tmp_path / "output").glob("rejects-*.jsonl")
        rejects = [json.loads(line) for line in path.read_text().splitlines()]
        assert {reject["code"] for reject in rejects} == {"job_incomplete"}
        lost = [reject["request"]["uid"] for reject in rejects]
        assert sorted(lost) == sorted(f"u{n}" for n in [*range(10, 40), *range(50, 80)])
        assert live.block["rejects"]["count"] == 60


def test_requests_of_an_unfinished_job_are_on_the_disk_for_the_owner_alone(
    config: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"delivery": "batch", "batch_size_rows": 40}
    with (
        serving(Jobs(told("PROCESSING"))) as url,
        Live(config | settings | {"api_url": url}, tmp_path) as live,
    ):
        live.feed(*FORTY)
        live.wait_for(lambda: live.states)
        (note,) = (tmp_path / "output").glob("jobs-*.jsonl")
        (batch,) = (tmp_path / "output").glob("batch-*.json")
        assert [path.stat().st_mode & 0o777 for path in (note, batch)] == [0o600] * 2
        assert len(json.loads(batch.read_bytes())["requests"]) == 40
        line = json.loads(note.read_bytes())
        assert (line["organization"], line["records"], line["batch"]) == ("o-1", 40, batch.name)
        assert live.block["organization"] == "o-1"


# Jobs that earlier runs have left


@pytest.fixture
def killed(config: dict[str, Any], tmp_path: Path) -> Callable[..., None]:
    """Kills a run as soon as its jobs are accepted."""

    def kill(url: str, lines: list[str] = FORTY, **settings: Any) -> None:
        with Live(config | {"api_url": url, "delivery": "batch"} | settings, tmp_path) as live:
            live.feed(*lines)
            live.close_input()
            live.wait_for(lambda: live.states)
            live.process.kill()

    return kill


NEXT = [USERS, user(99), state(a=2)]


def test_what_a_left_job_lost_is_in_the_next_runs_rejects_file(
    run_target: Run, killed: Callable[..., None]
) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        killed(url)
        jobs.status, jobs.imported = told("COMPLETED", 30), set(range(30))
        done = run_target(NEXT, api_url=url, max_rejected_records=None)
    assert [reject["request"]["uid"] for reject in done.rejects] == [f"u{n}" for n in range(30, 40)]
    assert {(reject["code"], reject["stream"]) for reject in done.rejects} == {("job_incomplete", "users")}
    assert done.block["unfinished_jobs"] == []
    assert left_files(done.output_dir) == []


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (refused_with(401), "refused"),
        (refused_with(403), "refused"),
        (refused_with(500), "unreachable"),
        (lambda _: Reply(200, {"job": 7}), "unreachable"),
        (gone, "unknown"),
    ],
    ids=["401", "403", "500", "senseless", "404"],
)
def test_a_job_whose_end_is_not_learned_stays_noted_and_is_told(
    status: Callable[[int], Reply], why: str, run_target: Run, killed: Callable[..., None]
) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        killed(url)
        (job,) = jobs.jobs
        jobs.status = status
        # An address may be written in several ways.
        for address in (url, f"{url}/"):
            done = run_target(NEXT, api_url=address, delivery="single", retry_max_seconds=1)
            assert done.code == 0, done.stderr
            (unfinished,) = done.block["unfinished_jobs"]
            assert unfinished.pop("since").endswith("Z")
            assert unfinished == {"id": job, "kind": "users", "stream": "users", "records": 40, "why": why}
            assert done.rejects == []
            assert left_files(done.output_dir) == ["batch", "jobs"]
        jobs.status, jobs.refused = told("FAILED", errors=2), {0, 1}
        done = run_target(NEXT, api_url=url, delivery="single", max_rejected_records=None)
        assert [reject["request"]["uid"] for reject in done.rejects] == ["u0", "u1"]
        assert done.block["unfinished_jobs"] == []
        assert left_files(done.output_dir) == []
        assert run_target(NEXT, api_url=url).code == 0
    assert len(done.rejects) == 2, "they are told once"


@pytest.mark.parametrize("organization", ["o-2", None], ids=["another", "not told, another key"])
def test_another_organization_does_not_learn_the_end(
    organization: str | None, run_target: Run, killed: Callable[..., None], tmp_path: Path
) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        killed(url)
        jobs.status, jobs.organization, jobs.looks = told("COMPLETED"), organization, []
        done = run_target(NEXT, api_url=url, delivery="single", api_key="the key of others 1234")
        assert done.code == 0, done.stderr
        assert jobs.looks == []
        assert [job["why"] for job in done.block["unfinished_jobs"]] == (
            [] if organization else ["another_key"]
        )
        assert left_files(done.output_dir) == ["batch", "jobs"]
        jobs.organization = "o-1"
        assert run_target(NEXT, api_url=url, delivery="single", api_key="a new key of ours 123").code == 0
    assert left_files(done.output_dir) == []


def test_the_same_key_learns_the_end_where_the_organization_is_not_told(
    run_target: Run, killed: Callable[..., None]
) -> None:
    jobs = Jobs(told("PROCESSING"), organization=None)
    with serving(jobs) as url:
        killed(url)
        jobs.status = told("COMPLETED")
        done = run_target(NEXT, api_url=url, delivery="single")
    assert done.code == 0, done.stderr
    assert done.block["unfinished_jobs"] == []
    assert left_files(done.output_dir) == []
    assert done.block["organization"].startswith("key:")


def test_a_job_is_given_up_after_a_week(run_target: Run, killed: Callable[..., None], tmp_path: Path) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        killed(url)
        jobs.status = gone
        (note,) = (tmp_path / "output").glob("jobs-*.jsonl")
        line = json.loads(note.read_bytes())
        for days, count in ((6, 0), (8, 40)):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86_400))
            note.write_text(json.dumps(line | {"since": at}) + "\n")
            done = run_target(NEXT, api_url=url, delivery="single", max_rejected_records=None)
            assert len(done.rejects) == count
            assert len(done.block["unfinished_jobs"]) == (not count)
    assert {(reject["code"], reject["job_id"]) for reject in done.rejects} == {("job_incomplete", line["id"])}
    assert [reject["request"]["uid"] for reject in done.rejects] == [f"u{n}" for n in range(40)]
    assert left_files(done.output_dir) == []


@pytest.mark.parametrize("own_first", [True, False])
def test_a_left_job_that_this_run_was_answered_too_is_unfinished_no_more(
    own_first: bool, tmp_path: Path
) -> None:
    """A replay of events is answered with the job that an earlier run has left."""

    class Journal:
        def ended(self, job_id: str) -> None:
            """There is no note."""

    accounting = Accounting(
        Settings(api_key="k", output_dir=str(tmp_path)), "run", write_state=lambda _: None
    )
    ledger = accounting.ledger
    ledger.open_stream("events", "events")
    ledger.unfinished(UnfinishedJob(id="j", kind="events", stream="events", since="", why="in_progress"))
    ends = JobEnds(accounting, cast("JobJournal", Journal()))
    entry = JobEntry(id="j", kind="events", stream="events", status="COMPLETED", records=1, imports=1)
    polled = PolledJob(cast("Client", None), entry)
    for own in (own_first, not own_first):
        ends.book(polled, own=own)
    assert ledger.unfinished_jobs() == []
    assert [job.status for job in ledger.jobs()] == ["COMPLETED"]


def test_a_job_of_another_key_is_given_up_after_a_week(run_target: Run, tmp_path: Path) -> None:
    """Before anything else is ready: nobody has to be asked for that."""
    with serving(Jobs(told("PROCESSING"), organization=None)) as url:
        note = tmp_path / "output" / "jobs-20260101T000000Z-00000000.jsonl"
        note.parent.mkdir()
        job = {"id": "j1", "kind": "users", "stream": "users", "api_url": url, "key": "key:0", "records": 2}
        note.write_text(json.dumps(job | {"since": "2026-01-01T00:00:00Z"}) + "\n")
        done = run_target(NEXT, api_url=url, delivery="single", max_rejected_records=None)
    assert done.code == 0, done.stderr
    assert [reject["code"] for reject in done.rejects] == ["job_incomplete"] * 2
    assert not note.exists()


def test_a_note_of_an_earlier_version_is_read(run_target: Run, tmp_path: Path) -> None:
    """It has neither organization nor requests, and its last line may be torn."""
    jobs = Jobs(told("FAILED", 1, 1), refused={1})
    with serving(jobs) as url:
        jobs.jobs["j1"] = [{"uid": "a"}, {"uid": "b"}]
        note = tmp_path / "output" / "jobs-20260101T000000Z-00000000.jsonl"
        note.parent.mkdir()
        old = {"id": "j1", "kind": "users", "stream": "users", "api_url": f"{url}/"}
        note.write_text(json.dumps(old) + "\n" + json.dumps(old | {"id": "j2"})[:30])
        done = run_target(NEXT, api_url=url, delivery="single", max_rejected_records=None)
    assert done.code == 0, done.stderr
    assert jobs.looks == ["j1"]
    assert [reject["request"] for reject in done.rejects] == [{"uid": "b"}]
    assert not note.exists()


def test_what_is_no_note_is_left_alone(run_target: Run, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    os.mkfifo(output / "jobs-pipe.jsonl")
    (output / "jobs-directory.jsonl").mkdir()
    (output / "jobs-of-a-tap.jsonl").write_text('{"type": "RECORD"}\nno JSON\n')
    done = load(run_target, Jobs(told("COMPLETED")), timeout=20)
    assert done.code == 0, done.stderr
    assert sorted(path.name for path in output.glob("jobs-*")) == [
        *("jobs-directory.jsonl", "jobs-of-a-tap.jsonl", "jobs-pipe.jsonl")
    ]


def test_runs_beside_each_other_leave_each_others_jobs_alone(
    run_target: Run, config: dict[str, Any], tmp_path: Path
) -> None:
    jobs = Jobs(told("PROCESSING"))
    settings = {"delivery": "batch", "batch_size_rows": 40}
    with serving(jobs) as url, Live(config | settings | {"api_url": url}, tmp_path) as live:
        live.feed(*FORTY)
        live.wait_for(lambda: live.states)
        done = run_target(NEXT, api_url=url, delivery="single")
        assert done.code == 0, done.stderr
        assert done.block["unfinished_jobs"] == []
        jobs.status = told("COMPLETED")
        live.close_input()
        assert live.end() == 0
    assert left_files(done.output_dir) == []


def test_a_job_past_its_timeout_is_looked_at_by_the_next_run(run_target: Run) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        done = run_target(FORTY, api_url=url, delivery="batch", job_timeout_seconds=0.3)
        assert (done.code, done.block["jobs"][0]["status"]) == (0, "PROCESSING")
        assert left_files(done.output_dir) == ["batch", "jobs"]
        jobs.status, jobs.refused = told("FAILED", errors=1), {0}
        done = run_target(NEXT, api_url=url, max_rejected_records=None)
    assert [reject["code"] for reject in done.rejects] == ["no"]


def test_a_replay_of_events_gets_the_same_job_whose_rejects_are_written_once(
    run_target: Run, killed: Callable[..., None]
) -> None:
    jobs = Jobs(told("PROCESSING"))

    def recognising(request: Request, number: int) -> Reply:
        first = next(iter(jobs.jobs), None)
        if request.method == "POST" and first is not None:
            return Reply(200, {"job": {"id": first, "status": "PROCESSING"}})
        return jobs(request, number)

    with ScriptedServer(recognising, me=True) as server:
        killed(server.url, FORTY_EVENTS)
        jobs.status, jobs.refused = told("FAILED", errors=2), {3, 4}
        done = run_target(FORTY_EVENTS, api_url=server.url, delivery="batch")
    assert done.code == 1
    assert len(done.rejects) == 2
    assert counts(done, "events") == (38, 2)
    assert left_files(done.output_dir) == []


# Loads that do not wait


def test_a_load_that_does_not_wait_leaves_its_jobs_to_the_next(run_target: Run) -> None:
    jobs = Jobs(told("PROCESSING"))
    with serving(jobs) as url:
        settings = {"api_url": url, "delivery": "batch", "wait_for_jobs": False}
        done = run_target(FORTY, **settings)
        assert done.code == 0, done.stderr
        assert jobs.looks == []
        assert left_files(done.output_dir) == ["batch", "jobs"]
        began = time.monotonic()
        done = run_target([USERS, user(1), state(a=2)], **settings)
        assert time.monotonic() - began < 5
        assert [job["why"] for job in done.block["unfinished_jobs"]] == ["in_progress"]
        jobs.status, jobs.refused = told("FAILED", errors=1), {0}
        done = run_target([state(a=3)], max_rejected_records=None, **settings)
    assert done.block["unfinished_jobs"] == []
    assert sorted(reject["request"]["uid"] for reject in done.rejects) == ["u0", "u1"]
    assert left_files(done.output_dir) == []


def test_nothing_is_noted_where_nobody_may_learn_the_end(run_target: Run) -> None:
    def script(request: Request, number: int) -> Reply:
        if request.path == "/me":
            return Reply(200, {"role": "USER", "orgId": "o"})
        return Reply(200, {"job": {"id": "j", "status": "PROCESSING"}})

    with ScriptedServer(script, me=True) as server:
        done = run_target(FORTY, api_url=server.url, delivery="batch", wait_for_jobs=False)
    assert done.code == 0, done.stderr
    assert "the key may not read jobs" in done.stderr
    assert left_files(done.output_dir) == []


@pytest.mark.parametrize(("code", "is_taken_over"), [("ENOLCK", True), ("ENOTSUP", True), ("EAGAIN", False)])
def test_where_there_are_no_locks_notes_are_taken_over(
    code: str, is_taken_over: bool, config: dict[str, Any], tmp_path: Path
) -> None:
    """Only one that another process holds is left to that."""
    jobs = Jobs(told("COMPLETED"))
    jobs.jobs["left"] = [{"uid": "u1"}]
    note = tmp_path / "output" / "jobs-r.jsonl"
    note.parent.mkdir()
    with serving(jobs) as url:
        job = {"id": "left", "kind": "users", "stream": "users", "api_url": url, "records": 1}
        note.write_text(json.dumps(job) + "\n")
        (tmp_path / "config.json").write_text(json.dumps(config | {"api_url": url}))
        done = subprocess.run(
            [sys.executable, "-c", _FLOCK_FAILS.format(code=code), "--config", str(tmp_path / "config.json")],
            input="".join(f"{line}\n" for line in [USERS, user(2), state(a=1)]).encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert jobs.looks == ["left"] * is_taken_over
    assert note.exists() != is_taken_over


_FLOCK_FAILS = """
import errno, fcntl
def fail(*arguments):
    raise OSError(errno.{code}, "as the file system says")
fcntl.flock = fail
from target_fullstory.cli import main
main()
"""
