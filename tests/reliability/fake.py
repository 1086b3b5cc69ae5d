"""Fullstory as the delivery code sees it, inside the process: no network, completions in any order."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from target_fullstory.api.responses import Response
from target_fullstory.batching.batch import BatchBody
from target_fullstory.errors import DeliveryError


@dataclass
class Job:
    """A batch job: its requests, and the looks at it until it ends."""

    id: str
    kind: str
    requests: list[dict[str, Any]]
    looks: int


@dataclass
class FakeFullstory:
    """Takes requests from several threads and watches over the promises of order.

    Attributes:
        rng: Draws delays and how often a job is looked at until it has ended; None for neither.
        users: Users as they are after the requests and jobs that ended so far.
        events: Events taken, by their JSON. A user's go with it.
        calls: Numbers of the other calls carried out, in order.
        accepted: Numbers of the events accepted, and by user the greatest number of its updates.
        bodies: Bodies of event requests, in the order in which they came, with their keys.
        broken: What went against a promise.
        down_after: With so many more calls the target is as good as killed: nothing comes through, nor any
            answer back. The call that meets it, and those under way, may have been carried out. None: never.
        when_down: Called then.
    """

    rng: random.Random | None = None
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    calls: list[int] = field(default_factory=list)
    accepted: tuple[set[int], dict[str, int]] = field(default_factory=lambda: (set(), {}))
    bodies: list[tuple[str, bytes, str | None]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    most_jobs: int = 0
    most_operations: int = 0
    down_after: int | None = None
    when_down: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._busy: dict[str, int] = {}
        self._events_busy: Counter[int] = Counter()
        self._kept: dict[str, Response] = {}
        self._sizes: dict[str, int] = {}
        self._number = 0

    # The client's interface

    def __call__(self, settings: Any, url: str) -> FakeFullstory:
        """Stands in for the client's class."""
        return self

    def close(self) -> None:
        """Nothing is open."""

    def call(
        self,
        method: str,
        path: str,
        body: bytes | BatchBody | None = None,
        *,
        key: str | None = None,
        **_: Any,
    ) -> Response:
        if isinstance(body, BatchBody):
            body = b"".join(body)
        if path == "/me":
            return Response(200, {"role": "ARCHITECT"})
        with self._lock:
            if not self._comes_through() and method == "GET":
                return Response(200, {"job": {"status": "PROCESSING"}})
        if method == "GET":
            return self._look(path.rsplit("/", 1)[1])
        kind = _kind(method, path)
        batch = path.endswith("/batch")
        requests = _requests(path, body)
        with self._lock:
            if self.is_down:
                raise DeliveryError("Fullstory is not to be reached.")
            self._begin(kind, path, requests, body, key)
            if kind == "events" and key in self._kept:
                self._events_end(requests)
                return self._kept[key]
        self._dawdle()
        with self._lock:
            if self.is_down:
                self._answer_is_lost(kind, requests, key, batch=batch)
            answer = self._accept(kind, requests, batch=batch)
            if kind == "events" and key is not None:
                self._kept[key] = answer
            return answer

    # Down

    @property
    def is_down(self) -> bool:
        return self.down_after is not None and self.down_after <= 0

    def _comes_through(self) -> bool:
        if self.down_after is not None and not self.is_down:
            self.down_after -= 1
            if self.is_down:
                self.when_down()
        return not self.is_down

    def _answer_is_lost(
        self, kind: str, requests: list[dict[str, Any]], key: str | None, *, batch: bool
    ) -> None:
        assert self.rng is not None
        if self.rng.random() < 0.5:
            # A job that nobody knows of ends before the next run: see docs/reliability.md.
            answer = self._accept(kind, requests, batch=batch, looks=0)
            if batch:
                self._end(answer.data["job"]["id"])
            if kind == "events" and key is not None:
                self._kept[key] = answer
        else:
            self._give_up(kind, requests)
        raise DeliveryError("The answer is lost.")

    # What it does

    def _begin(
        self, kind: str, path: str, requests: list[dict[str, Any]], body: bytes | None, key: str | None
    ) -> None:
        if kind == "events":
            self._events_begin(path, requests, body or b"", key)
        elif kind == "users":
            self._users_begin(requests)
        elif kind == "user_deletions":
            self._users_begin(requests)
            if self._events_busy.total():
                self.broken.append("a user is deleted while events are under way")

    def _give_up(self, kind: str, requests: list[dict[str, Any]]) -> None:
        if kind == "events":
            self._events_end(requests)
        elif kind != "calls":
            for request in requests:
                self._busy.pop(request["uid"], None)

    def _accept(
        self, kind: str, requests: list[dict[str, Any]], *, batch: bool, looks: int | None = None
    ) -> Response:
        self._number += 1
        events, users = self.accepted
        for request in requests:
            if kind == "events":
                events.add(_number(request))
            elif kind != "calls":
                users[request["uid"]] = max(_number(request), users.get(request["uid"], 0))
        if not batch:
            return self._apply(kind, requests)
        if looks is None:
            looks = self.rng.randint(0, 3) if self.rng else 0
        job = Job(f"job-{self._number}", kind, requests, looks)
        self._jobs[job.id] = job
        self._sizes[job.id] = len(requests)
        self.most_jobs = max(self.most_jobs, len(self._jobs))
        operations = sum(len(running.requests) for running in self._jobs.values())
        self.most_operations = max(self.most_operations, operations)
        return Response(200, {"job": {"id": job.id, "status": "PROCESSING"}})

    def _look(self, job_id: str) -> Response:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None:
                job.looks -= 1
                if job.looks >= 0:
                    return Response(200, {"job": {"id": job_id, "status": "PROCESSING"}})
                self._end(job_id)
            return Response(
                200, {"job": {"id": job_id, "status": "COMPLETED"}, "imports": self._sizes[job_id]}
            )

    def _end(self, job_id: str) -> None:
        job = self._jobs.pop(job_id)
        self._apply(job.kind, job.requests)

    def _apply(self, kind: str, requests: list[dict[str, Any]]) -> Response:
        if kind == "calls":
            self.calls += map(_number, requests)
        elif kind == "events":
            self.events.update(json.dumps(request, sort_keys=True) for request in requests)
            self._events_end(requests)
        elif kind == "user_deletions":
            return self._delete(requests[0]["uid"])
        else:
            for request in requests:
                self.users.setdefault(request["uid"], {}).update(request.get("properties", {}))
                self._busy.pop(request["uid"], None)
        return Response(200, {"id": str(self._number)})

    def _delete(self, uid: str) -> Response:
        self._busy.pop(uid, None)
        if self.users.pop(uid, None) is None:
            return Response(404, {"code": "user_not_found"})
        for event in list(self.events):
            if json.loads(event).get("user") == {"uid": uid}:
                del self.events[event]
        return Response(200, {})

    def _users_begin(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            uid = request["uid"]
            if uid in self._busy:
                self.broken.append(f"user {uid} is in two unfinished requests or jobs")
            self._busy[uid] = _number(request)

    def _events_begin(self, path: str, requests: list[dict[str, Any]], body: bytes, key: str | None) -> None:
        self.bodies.append((path, body, key))
        self._events_busy.update(map(_number, requests))
        # Users that were received after the events may be on their way.
        latest = max(_number(request) for request in requests)
        if any(number < latest for number in self._busy.values()):
            self.broken.append("events came before users that were received before them")

    def _events_end(self, requests: list[dict[str, Any]]) -> None:
        self._events_busy -= Counter(map(_number, requests))

    def _dawdle(self) -> None:
        if self.rng is not None:
            with self._lock:
                seconds = self.rng.choice([0, 0, 0.001, 0.003])
            time.sleep(seconds)


def _number(request: dict[str, Any]) -> int:
    """The number of a record in its input, which tests put in one of these properties; 0 for none."""
    properties = request.get("properties", {})
    for name in ("n", "number", "version"):
        if isinstance(properties.get(name), int):
            return int(properties[name])
    return 0


def _kind(method: str, path: str) -> str:
    if method == "DELETE":
        return "user_deletions"
    kind = urlsplit(path).path.split("/")[2]
    return kind if kind in {"users", "events"} else "calls"


def _requests(path: str, body: bytes | None) -> list[dict[str, Any]]:
    if body is None:
        query = parse_qs(urlsplit(path).query)
        return [{"uid": query["uid"][0]}]
    data = json.loads(body)
    return data["requests"] if path.endswith("/batch") else [data]
