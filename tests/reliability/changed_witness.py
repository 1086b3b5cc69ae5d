"""What a server has told its client of each user: which requests came, and which of them were confirmed."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.reliability.changed_input import VERSIONS
from tests.reliability.fault_proxy import Request
from tests.reliability.lying_jobs import Lie
from tests.reliability.refusing_jobs import Refusal

User = tuple[str, str]


@dataclass(frozen=True)
class _Sent:
    run: int
    key: str
    version: int


@dataclass(frozen=True)
class _Confirmed:
    run: int
    at: float
    version: int


class Witness:
    """Stands beside the proxy; any thread may tell it what it saw.

    A request of users is confirmed once the client got the whole answer: of a single request its own, of a
    job the status that it is completed, or the last page of its errors. A job that lies confirms nothing.
    """

    def __init__(self) -> None:
        self.run = 0
        # The jobs of which something is not true, or not all.
        self.lies: Mapping[str, Lie | Refusal] = {}
        # Requests of users and events in the run, by uid or number.
        self.posted: dict[int, Counter[str | int]] = defaultdict(Counter)
        self._lock = threading.Lock()
        self._history: dict[User, list[_Sent | _Confirmed]] = defaultdict(list)
        self._items: dict[str, list[dict[str, Any]]] = {}
        self._jobs: dict[str, list[dict[str, Any]]] = {}
        self._errors: dict[str, set[str]] = defaultdict(set)

    def came(self, request: Request) -> None:
        """A request came."""
        if request.method != "POST" or not request.body:
            return
        message = json.loads(request.body)
        items = message["requests"] if request.is_batch else [message]
        key = request.key or f"none-{time.monotonic_ns()}"
        with self._lock:
            new = key not in self._items
            self._items[key] = items
            for item in items:
                self.posted[self.run][_name(item)] += new
                if (user := user_of(item)) and new:
                    self._history[user[0]].append(_Sent(self.run, key, user[1]))

    def answered(self, request: Request, status: int, body: bytes) -> None:
        """The client was sent the whole of an answer."""
        if status != 200:
            return
        with self._lock:
            if request.method == "POST" and request.is_batch:
                self._jobs[json.loads(body)["job"]["id"]] = self._items[str(request.key)]
            elif request.method == "POST":
                self._confirm(self._items.get(str(request.key), ()))
            elif request.job is not None:
                self._looked_at(*request.job, json.loads(body))

    def _looked_at(self, job: str, what: str, told: Mapping[str, Any]) -> None:
        items = [] if isinstance(self.lies.get(job), Lie) else self._jobs.get(job, [])
        if what == "" and told["job"]["status"] == "COMPLETED":
            self._confirm(items)
        elif what == "errors":
            self._errors[job] |= {json.dumps(one.get("user"), sort_keys=True) for one in told["results"]}
            if not told.get("next_page_token"):
                refused = self._errors[job]
                self._confirm(one for one in items if json.dumps(one, sort_keys=True) not in refused)

    def _confirm(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            if user := user_of(item):
                self._history[user[0]].append(_Confirmed(self.run, time.monotonic(), user[1]))

    def sent_again(self, run: int, versions: Mapping[User, set[int]]) -> list[tuple[User, int, float]]:
        """Users of whom a run read nothing but what was confirmed before it, and who were sent all the same.

        With each the run that was told of the confirmation, and when.
        """
        found = []
        for user, read in versions.items():
            history = self._history.get(user, [])
            before = [one for one in history if one.run < run]
            sent = [place for place, one in enumerate(before) if isinstance(one, _Sent)]
            last = next((one for one in reversed(before) if isinstance(one, _Sent)), None)
            if last is None or read != {last.version}:
                continue
            told = [one for one in before[sent[-1] :] if isinstance(one, _Confirmed)]
            if (
                told
                and told[0].version == last.version
                and any(isinstance(one, _Sent) and one.run == run for one in history)
            ):
                found.append((user, told[0].run, told[0].at))
        return found


def _name(item: Mapping[str, Any]) -> str | int:
    return item.get("uid") or item.get("properties", {}).get("number", "")


def user_of(item: Mapping[str, Any]) -> tuple[User, int] | None:
    """The user whom a request updates, by stream and uid, and the version."""
    properties = item.get("properties", {})
    for stream, name in VERSIONS.items():
        if "uid" in item and name in properties:
            return (stream, str(item["uid"])), int(properties[name])
    return None
