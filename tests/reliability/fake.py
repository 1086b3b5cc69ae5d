"""Fullstory as the delivery code sees it, inside the process: no network, completions in any order."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from target_fullstory.delivery.client import Answer


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
        events: Events taken, by their JSON.
        accepted: Numbers of the events accepted, and by user the greatest number of its updates.
        bodies: Bodies of event requests, in the order in which they came, with their keys.
        broken: What went against a promise.
    """

    rng: random.Random | None = None
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    accepted: tuple[set[int], dict[str, int]] = field(default_factory=lambda: (set(), {}))
    bodies: list[tuple[str, bytes, str | None]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    most_jobs: int = 0
    most_operations: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._busy: dict[str, int] = {}
        self._kept: dict[str, Answer] = {}
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
        body: bytes | None = None,
        *,
        key: str | None = None,
        params: Any = None,
    ) -> Answer:
        if method == "GET":
            return self._look(path.rsplit("/", 1)[1])
        assert body is not None
        kind = path.split("/")[2]
        requests = json.loads(body)
        batch = path.endswith("/batch")
        requests = requests["requests"] if batch else [requests]
        with self._lock:
            if kind == "events":
                self._events_begin(path, requests, body, key)
                if key in self._kept:
                    return self._kept[key]
            else:
                self._users_begin(requests)
        self._dawdle()
        with self._lock:
            answer = self._accept(kind, requests, batch=batch)
            if kind == "events" and key is not None:
                self._kept[key] = answer
            return answer

    # What it does

    def _accept(self, kind: str, requests: list[dict[str, Any]], *, batch: bool) -> Answer:
        self._number += 1
        events, users = self.accepted
        for request in requests:
            if kind == "events":
                events.add(_number(request))
            else:
                users[request["uid"]] = max(_number(request), users.get(request["uid"], 0))
        if not batch:
            self._apply(kind, requests)
            return Answer(200, {"id": str(self._number)})
        looks = self.rng.randint(0, 3) if self.rng else 0
        job = Job(f"job-{self._number}", kind, requests, looks)
        self._jobs[job.id] = job
        self.most_jobs = max(self.most_jobs, len(self._jobs))
        operations = sum(len(running.requests) for running in self._jobs.values())
        self.most_operations = max(self.most_operations, operations)
        return Answer(200, {"job": {"id": job.id, "status": "PROCESSING"}})

    def _look(self, job_id: str) -> Answer:
        with self._lock:
            job = self._jobs[job_id]
            job.looks -= 1
            if job.looks >= 0:
                return Answer(200, {"job": {"id": job_id, "status": "PROCESSING"}})
            del self._jobs[job_id]
            self._apply(job.kind, job.requests)
            return Answer(
                200, {"job": {"id": job_id, "status": "COMPLETED"}, "imports": len(job.requests)}
            )

    def _apply(self, kind: str, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            if kind == "events":
                self.events[json.dumps(request, sort_keys=True)] += 1
                continue
            self.users.setdefault(request["uid"], {}).update(request.get("properties", {}))
            self._busy.pop(request["uid"], None)

    def _users_begin(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            uid = request["uid"]
            if uid in self._busy:
                self.broken.append(f"user {uid} is in two unfinished requests or jobs")
            self._busy[uid] = _number(request)

    def _events_begin(
        self, path: str, requests: list[dict[str, Any]], body: bytes, key: str | None
    ) -> None:
        self.bodies.append((path, body, key))
        # Users that were received after the events may be on their way.
        latest = max(_number(request) for request in requests)
        if any(number < latest for number in self._busy.values()):
            self.broken.append("events came before users that were received before them")

    def _dawdle(self) -> None:
        if self.rng is not None:
            with self._lock:
                seconds = self.rng.choice([0, 0, 0.001, 0.003])
            time.sleep(seconds)


def _number(request: dict[str, Any]) -> int:
    """The number of a record in its input, which tests put in the properties `n` or `version`."""
    properties = request.get("properties", {})
    number = properties.get("n", properties.get("version", 0))
    return number if isinstance(number, int) else 0
