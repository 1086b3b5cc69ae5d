"""Fullstory as nights of loads see it: what it was sent, what it holds, and what it refuses tonight."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.scripted import Reply, Request

Fields = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """One request, or one item of a batch: `users`, `events` or `user_deletions`."""

    kind: str
    request: Fields
    accepted: bool


@dataclass
class NightServer:
    """The script of a server; jobs have ended when they are first looked at.

    Attributes:
        sent: What came, repetitions under a known key left out.
        users: Users as they are, by uid.
        events: The events ever accepted.
        refused: The uids and the events' numbers that are refused.
    """

    sent: list[Sent] = field(default_factory=list)
    users: dict[str, Fields] = field(default_factory=dict)
    events: list[Fields] = field(default_factory=list)
    refused: set[str | int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Reply] = {}
        self._jobs: list[tuple[int, list[Fields]]] = []

    def __call__(self, request: Request, _: int) -> Reply:
        with self._lock:
            if request.key is not None and request.key in self._kept:
                return self._kept[request.key]
            reply = self._answer(request)
            if request.key is not None:
                self._kept[request.key] = reply
            return reply

    def night(self) -> list[Sent]:
        """What was sent since the last call."""
        with self._lock:
            sent, self.sent = self.sent, []
            return sent

    def _answer(self, request: Request) -> Reply:
        address = urlsplit(request.path)
        kind, *rest = address.path.removeprefix("/v2/").split("/")
        if request.method == "DELETE":
            return self._delete(parse_qs(address.query)["uid"][0])
        if request.method == "GET":
            return self._job(kind, int(rest[1]), rest[2:])
        if rest == ["batch"]:
            items = request.json["requests"]
            errors = [item for item in items if not self._take(kind, item)]
            self._jobs.append((len(items), errors))
            job = {"id": str(len(self._jobs)), "status": "PROCESSING", "created": "2026-01-01T00:00:00Z"}
            return Reply(200, {"job": job})
        if self._take(kind, request.json):
            return Reply(200, {"id": "1"} if kind == "users" else {})
        return Reply(400, {"code": "not_tonight", "message": "Refused tonight"})

    def _job(self, kind: str, number: int, what: list[str]) -> Reply:
        items, errors = self._jobs[number - 1]
        if what == ["errors"]:
            told = {"code": "not_tonight", "message": "Refused tonight"}
            results = [told | {kind.removesuffix("s"): one} for one in errors]
            return Reply(200, {"results": results, "total_records": str(len(errors))})
        status = "FAILED" if errors else "COMPLETED"
        job = {"id": str(number), "status": status, "created": "2026-01-01T00:00:00Z"}
        return Reply(200, {"job": job, "imports": items - len(errors), "errors": len(errors)})

    def _take(self, kind: str, item: Fields) -> bool:
        accepted = self.refused.isdisjoint(_names(item))
        self.sent.append(Sent(kind, item, accepted))
        if accepted and kind == "events":
            self.events.append(item)
        elif accepted:
            self.users.setdefault(item["uid"], {}).update(item.get("properties", {}))
        return accepted

    def _delete(self, uid: str) -> Reply:
        known = self.users.pop(uid, None) is not None
        self.sent.append(Sent("user_deletions", {"uid": uid}, known))
        return Reply(200, {}) if known else Reply(404, {"code": "user_not_found", "message": "Nobody"})


def _names(item: Fields) -> Iterator[str | int]:
    if "uid" in item:
        yield item["uid"]
    number = item.get("properties", {}).get("number")
    if number is not None:
        yield number


def canonical(request: Fields) -> str:
    """A request's content: in any order of keys, without the types that it declares."""
    return json.dumps({name: value for name, value in request.items() if name != "schema"}, sort_keys=True)
