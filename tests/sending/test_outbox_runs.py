"""What is on the disk of batches with `sync: changed`: kept, settled, left alone."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from target_fullstory.snapshot.snapshot_locks import StreamInUseError, StreamLocks
from tests.conftest import EVENTS, USERS, Outcome, event, record, schema, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
STREAMS = {"users": {"kind": "users", "sync": "changed"}, "events": {"kind": "events", "sync": "changed"}}
MANY = {"streams": STREAMS, "max_rejected_records": None, "max_rejected_percent": None}
ORDERS = [EVENTS, *(event(n, amount=n) for n in range(40)), state(a=1)]
PEOPLE = [USERS, *(user(n, seats=n) for n in range(40)), state(a=1)]


@dataclass
class Api:
    """Fullstory, which keeps its answers by idempotency key.

    Attributes:
        most: So many requests are taken in a batch; else 413.
        down: Whether POSTs are answered with 503 after they are carried out.
        refused: The events that are refused, by their amounts.
        status: What a look at a job is answered with, from its number of requests.
        errors: The items that a job lists as refused.
        account: What `GET /me` tells.
    """

    most: int = 10**6
    down: bool = False
    refused: set[int] = field(default_factory=set)
    status: Callable[[int], Reply] | None = None
    errors: list[Any] = field(default_factory=list)
    imports: list[Any] | None = None
    account: dict[str, Any] = field(default_factory=lambda: {"orgId": "o-1", "role": "ADMIN"})

    def __post_init__(self) -> None:
        self.kept: dict[str, Reply] = {}
        self.taken: list[dict[str, Any]] = []
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.posts: list[tuple[str, str | None, int]] = []
        self.deleted: list[str] = []

    def __call__(self, request: Request, number: int) -> Reply:
        if request.path == "/me":
            return Reply(200, self.account)
        if request.method == "DELETE":
            first = request.path not in self.deleted
            self.deleted.append(request.path)
            if self.down:
                return Reply(503, {}, headers={"Retry-After": "0"})
            return Reply(200, {}) if first else Reply(404, {"code": "user_not_found"})
        if request.method == "GET":
            return self._look(request)
        sent = request.json.get("requests", [request.json])
        self.posts.append((request.path, request.key, len(sent)))
        assert request.key is not None
        if request.key not in self.kept:
            self.kept[request.key] = self._carry_out(request, sent)
        return Reply(503, {}, headers={"Retry-After": "0"}) if self.down else self.kept[request.key]

    def _carry_out(self, request: Request, sent: list[dict[str, Any]]) -> Reply:
        if len(sent) > self.most:
            return Reply(413, {"code": "too_large"})
        if {one.get("properties", {}).get("amount") for one in sent} & self.refused:
            return Reply(400, {"code": "no", "message": "No"})
        self.taken += sent
        if not request.path.endswith("/batch"):
            return Reply(200, {"id": "1"})
        job = f"job-{len(self.jobs)}"
        self.jobs[job] = sent
        return Reply(200, {"job": {"id": job, "status": "PROCESSING"}})

    def _look(self, request: Request) -> Reply:
        _, _, _, _, job, *listing = request.path.partition("?")[0].split("/")
        if listing == ["errors"]:
            return Reply(200, {"results": self.errors})
        if listing == ["imports"]:
            return Reply(200, {"results": self.imports})
        if self.status is not None:
            return self.status(len(self.jobs[job]))
        return Reply(200, {"job": {"status": "COMPLETED"}, "imports": len(self.jobs[job]), "errors": 0})


def _in_progress(records: int) -> Reply:
    return Reply(200, {"job": {"status": "PROCESSING"}})


def _failed(errors: int) -> Callable[[int], Reply]:
    return lambda records: Reply(
        200, {"job": {"status": "FAILED"}, "imports": records - errors, "errors": errors}
    )


def left(done: Outcome) -> list[str]:
    return sorted(path.name.split("-")[0] for path in done.output_dir.glob("[jb]*-*"))


def counts(done: Outcome, stream: str = "events") -> dict[str, int]:
    found = done.block["streams"][stream]
    return {name: found[name] for name in ("delivered", "rejected", "unchanged") if found[name]}


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_a_batch_is_on_the_disk_before_it_leaves_and_gone_once_it_is_known(
    delivery: str, run_target: Run, tmp_path: Path
) -> None:

    class Looking(Api):
        def _carry_out(self, request: Request, sent: list[dict[str, Any]]) -> Reply:
            (note,) = (tmp_path / "output").glob("jobs-*.jsonl")
            (file,) = (tmp_path / "output").glob("batch-*.json")
            assert [path.stat().st_mode & 0o777 for path in (note, file)] == [0o600] * 2
            (line,) = map(json.loads, note.read_text().splitlines())
            assert (request.key or "").startswith(line["sent"])
            body, _, rows = file.read_text().partition("\n")
            assert all(one in json.loads(body)["requests"] for one in sent)
            packed, _ = json.loads(rows)
            assert len(base64.b64decode(packed)) == 40 * 16
            return super()._carry_out(request, sent)

    with ScriptedServer(Looking(), me=True) as server:
        done = run_target(ORDERS, api_url=server.url, delivery=delivery, **MANY)
    assert done.code == 0, done.stderr
    assert left(done) == []


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_what_is_unanswered_ends_the_next_run_before_it_reads(delivery: str, run_target: Run) -> None:
    api = Api(down=True)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": delivery, **MANY}
        first = run_target(ORDERS, **settings, retry_max_seconds=0.2)
        assert first.code == 1
        sent = len(api.posts)
        second = run_target(ORDERS, **settings, retry_max_seconds=0.2)
        assert second.code == 1
        assert len(second.error_lines) == 1
        assert second.states == []
        assert len(api.posts) > sent
        api.down = False
        third = run_target(ORDERS, **settings)
    assert third.code == 0, third.stderr
    assert counts(third) == {"unchanged": 40}
    amounts = Counter(one["properties"]["amount"] for one in api.taken)
    assert amounts == Counter(range(40))
    assert left(third) == []
    assert "unanswered" in third.stderr


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_what_is_refused_when_it_is_settled_is_rejected_and_sent_again(
    delivery: str, run_target: Run
) -> None:
    api = Api(down=True, refused={7})
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": delivery, **MANY}
        run_target(ORDERS, **settings, retry_max_seconds=0.2)
        api.down = False
        done = run_target(ORDERS, **settings)
    assert done.code == 0, done.stderr
    assert counts(done) == {"unchanged": 39, "rejected": 1}
    assert [reject["request"]["properties"]["amount"] for reject in done.rejects] == [7, 7]
    assert done.block["rejects"]["count"] == 2
    amounts = Counter(one["properties"]["amount"] for one in api.taken)
    assert amounts == Counter(n for n in range(40) if n != 7)
    assert left(done) == []


def test_halves_of_what_is_too_large_have_keys_of_the_whole(run_target: Run) -> None:
    api = Api(most=10)
    with ScriptedServer(api, me=True) as server:
        done = run_target(ORDERS, api_url=server.url, delivery="batch", **MANY)
    assert done.code == 0, done.stderr
    assert counts(done) == {"delivered": 40}
    whole = api.posts[0][1]
    assert [(key or "").removeprefix(whole or "?") for _, key, _ in api.posts] == [
        *("", ".0", ".0.0", ".0.1", ".1", ".1.0", ".1.1")
    ]
    assert left(done) == []


def test_without_a_disk_nothing_is_sent(run_target: Run, tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file is in the way")
    api = Api()
    with ScriptedServer(api, me=True) as server:
        snapshot = str(tmp_path / "snapshot")
        done = run_target(ORDERS, api_url=server.url, delivery="batch", snapshot_path=snapshot, **MANY)
        assert done.code == 1
        (line,) = done.error_lines
        assert "stream 'events'" in line
        assert "output_dir" in line
        assert api.posts == []
        assert done.stdout == ""


def test_a_key_that_cannot_ask_for_jobs_sends_none(run_target: Run) -> None:
    api = Api(account={"orgId": "o-1", "role": "USER"})
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "wait_for_jobs": False, **MANY}
        done = run_target(ORDERS, delivery="batch", **settings)
        assert done.code == 1
        (line,) = done.error_lines
        assert "'events'" in line
        assert "delivery" in line
        assert api.posts == []
        done = run_target(ORDERS, delivery="single", **settings)
    assert done.code == 0, done.stderr
    assert counts(done) == {"delivered": 40}


def test_without_waiting_for_jobs_the_next_run_learns_their_end(run_target: Run) -> None:
    api = Api(status=_in_progress)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", "wait_for_jobs": False, **MANY}
        for _ in range(2):
            done = run_target(ORDERS, **settings)
            assert done.code == 0, done.stderr
            assert left(done) == ["batch", "jobs"]
        assert counts(done) == {"unchanged": 40}
        api.status, api.errors = _failed(1), [{"code": "no", "event": api.taken[3]}]
        done = run_target(ORDERS[-1:], **settings)
        assert left(done) == []
        assert [reject["request"]["properties"]["amount"] for reject in done.rejects] == [3]
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 39, "delivered": 1}
    assert [one["properties"]["amount"] for one in api.taken[40:]] == [3]


def test_of_events_that_a_job_shows_otherwise_only_those_that_are_in_are_known(run_target: Run) -> None:
    """The refused ones are listed with another time: it takes the list of imports to tell which they are."""

    def shown(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"timestamp": "2020-01-01T00:00:00Z"}

    api = Api(status=_failed(2))
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}

        records = [json.loads(line)["record"] for line in ORDERS[1:-1]]
        sent = [one | {"properties": {"amount": one.pop("amount")}} for one in records]
        api.errors = [{"code": "no", "event": shown(sent[n])} for n in (3, 30)]
        api.imports = [one for n, one in enumerate(sent) if n not in (3, 30)]
        done = run_target(ORDERS, **settings)
        assert counts(done) == {"delivered": 38, "rejected": 2}
        api.status = None
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 38, "delivered": 2}
    assert [one["properties"]["amount"] for one in api.taken[40:]] == [3, 30]


def test_a_job_that_vanishes_is_sent_again(run_target: Run) -> None:
    api = Api(status=lambda records: Reply(404, {"code": "resource_not_found"}))
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}
        done = run_target(PEOPLE, **settings)
        assert counts(done, "users") == {"rejected": 40}
        api.status = None
        done = run_target(PEOPLE, **settings)
    assert counts(done, "users") == {"delivered": 40}


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_of_merged_updates_that_are_refused_each_is_sent_again(
    delivery: str, run_target: Run, sandbox: Sandbox
) -> None:
    streams = {"people": {"kind": "users", "sync": "changed", "fields": {"id": "fs_id"}}}
    lines = [
        schema("people", {"uid": "string", "fs_id": "string", "seats": "integer"}),
        record("people", fs_id="nobody", seats=1),
        *(record("people", uid=f"u{n}", seats=n) for n in range(30)),
        record("people", fs_id="nobody", seats=2),
        *(record("people", uid=f"u{n}", seats=n) for n in range(30, 40)),
        state(a=1),
    ]
    settings = {"api_url": sandbox.url, "delivery": delivery, **MANY, "streams": streams}
    done = run_target(lines, **settings)
    assert counts(done, "people") == {"delivered": 40, "rejected": 1}
    assert done.block["streams"]["people"]["merged"] == 1
    # The last of its updates alone is refused again, too.
    done = run_target([lines[0], *lines[2:]], **settings)
    assert counts(done, "people") == {"unchanged": 40, "rejected": 1}


def test_a_deletion_whose_answer_a_killed_run_did_not_read_is_taken_as_done(
    run_target: Run, config: dict[str, Any], tmp_path: Path
) -> None:
    streams = {"users": {"kind": "users", "sync": "changed", "soft_delete": {"column": "gone_at"}}}
    lines = [
        schema("users", {"uid": "string", "gone_at": "string"}, ["uid"]),
        record("users", uid="u1", gone_at="2026-01-01T00:00:00Z"),
        state(a=1),
    ]
    api = Api(down=True, account={"orgId": "o-1", "role": "ARCHITECT"})
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "hard_delete": True, **MANY, "streams": streams}
        with Live(config | settings, tmp_path) as live:
            live.feed(*lines)
            live.close_input()
            live.wait_for(lambda: api.deleted)
            live.process.kill()
            live.process.wait(10)
        api.down = False
        done = run_target(lines, **settings)
    assert done.code == 0, done.stderr
    assert counts(done, "users") == {"unchanged": 1}
    assert done.rejects == []
    assert left(done) == []


def test_what_was_sent_to_another_organization_is_left_alone(run_target: Run) -> None:
    api = Api(down=True)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}
        run_target(ORDERS, **settings, retry_max_seconds=0.2)
        api.down, api.account = False, {"orgId": "o-2", "role": "ADMIN"}
        done = run_target(ORDERS, **settings)
        assert counts(done) == {"delivered": 40}
        assert left(done) == ["batch", "jobs"]
        api.account = {"orgId": "o-1", "role": "ADMIN"}
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 40}
    assert left(done) == []


def test_a_run_that_remembers_nothing_leaves_it_to_one_that_does(run_target: Run) -> None:
    api = Api(down=True)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}
        run_target(ORDERS, **settings, retry_max_seconds=0.2)
        api.down = False
        done = run_target(PEOPLE, **settings | {"streams": {}})
        assert counts(done, "users") == {"delivered": 40}
        assert done.block["unfinished_jobs"] == []
        assert left(done) == ["batch", "jobs"]
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 40}


def test_what_was_sent_with_another_key_is_left_alone_where_no_organization_is_told(run_target: Run) -> None:
    api = Api(down=True, account={"role": "ADMIN"})
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}
        run_target(ORDERS, **settings, retry_max_seconds=0.2)
        api.down, api.posts = False, []
        done = run_target(ORDERS, **settings, api_key="another-key-0123456789")
        assert counts(done) == {"delivered": 40}
        assert len(api.posts) == 1
        assert left(done) == ["batch", "jobs"]
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 40}
    assert left(done) == []


def _locks(directory: Path) -> StreamLocks:
    """As another run of the same snapshot has them."""
    (snapshot,) = (directory / "snapshot").glob("*.mdb")
    return StreamLocks(snapshot.parent, snapshot.stem)


@pytest.mark.parametrize("known", ["sent", "accepted"])
def test_a_stream_that_another_run_loads_is_left_to_a_later_one(run_target: Run, known: str) -> None:
    api = Api(down=known == "sent", status=lambda _: _in_progress(40))
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", "job_poll_interval_seconds": 0.05, **MANY}
        done = run_target(ORDERS, **settings, retry_max_seconds=0.2, job_timeout_seconds=0.2)
        api.down, api.posts, api.status = False, [], None
        locks = _locks(done.output_dir)
        locks.take("events")
        done = run_target(PEOPLE, **settings)
        assert done.code == 0, done.stderr
        assert "Another run is loading that stream" in done.stderr
        assert [path for path, *_ in api.posts] == ["/v2/users/batch"]
        assert left(done) == ["batch", "jobs"]
        locks.close()
        done = run_target(ORDERS, **settings)
    assert counts(done) == {"unchanged": 40}
    assert left(done) == []


def test_nobody_loads_a_stream_while_another_run_settles_it(run_target: Run, tmp_path: Path) -> None:
    refused = []

    class Meanwhile(Api):
        def __call__(self, request: Request, number: int) -> Reply:
            if request.path.endswith("/events/batch") and not self.down:
                with pytest.raises(StreamInUseError) as caught:
                    _locks(tmp_path / "output").take("events")
                refused.append(caught.value)
            return super().__call__(request, number)

    api = Meanwhile(down=True)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", **MANY}
        run_target(ORDERS, **settings, retry_max_seconds=0.2)
        api.down = False
        done = run_target(PEOPLE, **settings)
        assert len(refused) == 1
        assert left(done) == []
        assert counts(run_target(ORDERS, **settings)) == {"unchanged": 40}


def test_what_a_job_does_not_account_for_is_sent_again(run_target: Run) -> None:
    def short(records: int) -> Reply:
        api.imports = [{"uid": f"u{n}", "properties": {"seats": n}} for n in range(1, 40)]
        return Reply(200, {"job": {"status": "COMPLETED"}, "imports": records - 1, "errors": 0})

    api = Api(status=short)
    with ScriptedServer(api, me=True) as server:
        settings = {"api_url": server.url, "delivery": "batch", "job_poll_interval_seconds": 0.05, **MANY}
        assert counts(run_target(PEOPLE, **settings), "users") == {"delivered": 39, "rejected": 1}
        api.status = None
        assert counts(run_target(PEOPLE, **settings), "users") == {"delivered": 1, "unchanged": 39}
