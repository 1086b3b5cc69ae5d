"""A run that is cut off anywhere, and a next one that settles it: nothing is lost, nothing is there twice.

Whatever a run syncs, deletes, sends or is answered is a place to be killed at. At each of them the test keeps
what lies on the disk, what Fullstory has, and what the snapshot knows, and lets another run begin with that.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.key_account import KeyAccount
from target_fullstory.api.responses import Response
from target_fullstory.batching.batch import Batch
from target_fullstory.kinds import Kind
from target_fullstory.sending.dispatcher import Dispatcher
from target_fullstory.sending.in_flight import InFlight
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.outbox import Outbox
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.batch_rows import BatchRows

pytestmark = pytest.mark.nights

URL = "https://api.example.com"
REFUSED = "refused"
Step = Callable[[str], None]


@dataclass
class World:
    """What outlives a run: Fullstory, and what the snapshot has booked."""

    most_requests: int = 10**6
    events: Counter[str] = field(default_factory=Counter)
    users: dict[str, int] = field(default_factory=dict)
    kept: dict[str, tuple[bytes, Response]] = field(default_factory=dict)
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    known: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, kind: str, request: dict[str, Any]) -> bool:
        """Carry out a request, unless it is one to refuse."""
        if request["properties"].get(REFUSED):
            return False
        if kind == "events":
            self.events[json.dumps(request, sort_keys=True)] += 1
        else:
            self.users[request["uid"]] = request["properties"]["v"]
        return True

    def answer(self, path: str, requests: list[dict[str, Any]]) -> Response:
        kind = path.split("/")[2]
        if not path.endswith("/batch"):
            taken = self.take(kind, requests[0])
            return Response(200, {"id": "1"}) if taken else Response(400, {"code": "bad"})
        if len(requests) > self.most_requests:
            return Response(413, {"code": "too_large"})
        job = f"job-{len(self.jobs)}"
        self.jobs[job] = [request for request in requests if not self.take(kind, request)]
        return Response(200, {"job": {"id": job, "records": len(requests)}})


class Server:
    """Fullstory as a client finds it. Each idempotency key is answered once, and must keep its body."""

    def __init__(self, world: World, step: Step) -> None:
        self._world, self._step = world, step
        self._sizes: dict[str, int] = {}

    def close(self) -> None:
        """Nothing is open."""

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, **_: Any) -> Response:
        if path == "/me":
            return Response(200, {"role": "ARCHITECT", "orgId": "o-1"})
        if method == "GET":
            return self._look(path)
        self._step("a request leaves")
        content = body if isinstance(body, bytes) else b"".join(body)
        data = json.loads(content)
        requests = data["requests"] if path.endswith("/batch") else [data]
        assert key is not None
        if key not in self._world.kept:
            self._world.kept[key] = content, self._world.answer(path, requests)
        sent, response = self._world.kept[key]
        assert sent == content
        self._step("a request is carried out")
        return response

    def _look(self, path: str) -> Response:
        _, _, kind, _, job, *listing = path.split("/")
        refused = self._world.jobs[job]
        if listing:
            item = kind[:-1]
            return Response(
                200, {"results": [{"code": "bad", "message": "bad", item: one} for one in refused]}
            )
        (total,) = {
            len(json.loads(content)["requests"])
            for content, response in self._world.kept.values()
            if response.data.get("job", {}).get("id") == job
        }
        self._step("a job has ended")
        figures = {"imports": total - len(refused), "errors": len(refused)}
        return Response(200, {"job": {"status": "FAILED" if refused else "COMPLETED"}, **figures})


class Known:
    """A snapshot in memory: by user or event, the request that Fullstory confirmed."""

    def __init__(self, world: World, step: Step) -> None:
        self._world, self._step = world, step
        self._lock = threading.Lock()
        self._outcomes: list[tuple[BatchRows, Callable[[], None] | None]] = []
        self.queued: dict[bytes, bytes] = {}

    def user_key(self, user: str) -> bytes:
        return user.encode().rjust(8)

    def expect(self, rows: BatchRows) -> None:
        self.queued.update(_by_key(rows))

    def confirm(self, rows: BatchRows, on_booked: Callable[[], None]) -> None:
        with self._lock:
            self._outcomes.append((rows, on_booked))

    def fail(self, rows: BatchRows) -> None:
        with self._lock:
            self._outcomes.append((rows, None))

    def book(self) -> None:
        for rows, on_booked in self._outcomes:
            for key, request in _by_key(rows).items():
                if on_booked is not None:
                    self._world.known[key] = request
                else:
                    self._world.known.pop(key, None)
                self.queued.pop(key, None)
        self._step("the snapshot is booked")
        for _, on_booked in self._outcomes:
            if on_booked is not None:
                on_booked()
        self._outcomes = []

    def is_new(self, key: bytes, request: bytes) -> bool:
        return self.queued.get(key, self._world.known.get(key)) != request


def _by_key(rows: BatchRows) -> dict[bytes, bytes]:
    if rows.kind == "events":
        return {row.key: b"" for row in rows.events()}
    return {row.key: row.request for row in rows.users()}


def run(
    directory: Path,
    world: World,
    records: Iterable[dict[str, Any]],
    kind: Kind,
    *,
    size: int,
    step: Step = lambda _: None,
    run_id: str = "1",
    max_batch_bytes: int = 10**6,
    delivery: Literal["single", "batch"] = "batch",
) -> Outbox:
    """Load records as the target does, but for reading and mapping."""
    settings = Settings(
        api_key="k",
        api_url=URL,
        output_dir=str(directory),
        delivery=delivery,
        max_batch_bytes=max_batch_bytes,
        concurrency=2,
        job_poll_interval_seconds=0.001,
    )
    accounting = Accounting(settings, run_id, write_state=lambda _: None)
    accounting.ledger.open_stream("s", kind)
    server: Any = Server(world, step)
    account = KeyAccount(settings, server)
    in_flight = InFlight(settings)
    known = Known(world, step)
    journal = JobJournal(str(directory), run_id, URL, account)
    outbox = Outbox(journal, known)
    jobs = JobTracker(settings, server, accounting, in_flight, journal, outbox)
    dispatcher = Dispatcher(settings, server, jobs, in_flight, accounting)
    dispatcher.settle()
    batch: dict[bytes, tuple[bytes, bytes]] = {}

    def send() -> None:
        if not batch:
            return
        packed = b"".join(key + request + bytes(8) for key, (_, request) in batch.items())
        dispatcher.submit(
            Batch(
                stream="s",
                kind=kind,
                items=[body for body, _ in batch.values()],
                size=100,
                rows=len(batch),
                records=len(batch),
                keys=array("q", map(hash, batch) if kind == "users" else ()),
                timed=False,
                ticket=accounting.checkpoints.open(),
                fingerprints=BatchRows("s", kind, packed),
            )
        )
        batch.clear()

    for record in records:
        number = record["properties"]["v"]
        key = (
            known.user_key(record["uid"])
            if kind == "users"
            else str(record["properties"]["n"]).encode().rjust(8)
        )
        request = number.to_bytes(6, "big") if kind == "users" else b""
        if not known.is_new(key, request):
            continue
        if key in batch:
            send()
        known.queued[key] = request
        batch[key] = json.dumps(record).encode(), request
        if len(batch) == size:
            send()
    send()
    in_flight.wait_until_idle()
    dispatcher.close()
    jobs.close()
    known.book()
    journal.close()
    accounting.rejects.close()
    return outbox


@dataclass
class Places:
    """The places where a run may be killed, with what is there then."""

    directory: Path
    into: Path
    world: World
    found: list[tuple[str, Path, World]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()

    def __call__(self, what: str) -> None:
        with self._lock:
            copied = self.into / str(len(self.found))
            if self.directory.exists():
                shutil.copytree(self.directory, copied, copy_function=_copy)
            self.found.append((what, copied, copy.deepcopy(self.world)))


def _copy(source: str, target: str) -> None:
    # Another thread of the run may delete it just now.
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _event(number: int, **properties: Any) -> dict[str, Any]:
    return {
        "name": "Ordered",
        "timestamp": f"2026-01-01T00:00:{number:02}Z",
        "properties": {"n": number, "v": 1} | properties,
    }


EVENTS = [_event(n) for n in range(14)]
EVENTS[5] = _event(5, **{REFUSED: True})
USERS = [{"uid": f"u{n % 7}", "properties": {"v": n // 7 + 1}} for n in range(14)]
USERS[9] = USERS[9] | {"properties": {"v": 2, REFUSED: True}}


def _killed_everywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    records: list[dict[str, Any]],
    kind: Kind,
    **how: Any,
) -> Places:
    directory = tmp_path / "output"
    (tmp_path / "places").mkdir()
    places = Places(directory, tmp_path / "places", world)
    sync, unlink = os.fsync, Path.unlink

    def synced(handle: int) -> None:
        sync(handle)
        places("something is synced")

    def unlinked(path: Path, **options: Any) -> None:
        unlink(path, **options)
        places("something is deleted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "unlink", unlinked)
        run(directory, world, records, kind, step=places, **how)
    assert list(directory.glob("[bj]*")) == []
    return places


@pytest.mark.parametrize(
    ("kind", "how", "most_requests"),
    [
        ("events", {"delivery": "batch", "size": 4}, 100),
        ("events", {"delivery": "batch", "size": 7}, 2),
        ("events", {"delivery": "single", "size": 4}, 100),
        ("users", {"delivery": "batch", "size": 4}, 100),
        ("users", {"delivery": "batch", "size": 7}, 2),
        ("users", {"delivery": "single", "size": 4}, 100),
    ],
)
def test_killed_anywhere_and_started_again_in_another_way(
    kind: Kind, how: dict[str, Any], most_requests: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = EVENTS if kind == "events" else USERS
    world = World(most_requests=most_requests)
    places = _killed_everywhere(tmp_path, monkeypatch, world, records, kind, **how)
    expected = world.events, world.users, world.known.keys()
    assert len(world.known) == (13 if kind == "events" else 6)
    assert set(world.events.values()) <= {1}
    whats = Counter(what for what, _, _ in places.found)
    assert min(whats.values()) > 0
    assert len(whats) == (6 if how["delivery"] == "batch" else 5)
    rng = random.Random(7)
    for number, (what, directory, then) in enumerate(places.found):
        again = records if kind == "users" else rng.sample(records, len(records))
        delivery = rng.choice(["single", "batch"])
        limit = rng.choice([100, 10**6])
        size = rng.randint(1, 9)
        run(directory, then, again, kind, size=size, run_id="2", delivery=delivery, max_batch_bytes=limit)
        assert (then.events, then.users, then.known.keys()) == expected, f"{number}: {what}"
        assert list(directory.glob("[bj]*")) == [], f"{number}: {what}"
