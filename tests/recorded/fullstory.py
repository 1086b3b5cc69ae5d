"""As much of Fullstory as a load needs: answers from the request alone, and records it."""

from __future__ import annotations

import hashlib
import json
import re
import socketserver
import threading
from typing import Any, TypeAlias

from tests.recorded.case import Json

Recorded: TypeAlias = list[Any]
"""Method, path with query, Idempotency-Key, the headers that count, body."""

REFUSED = "REFUSE-ME"
"""Fullstory refuses a request that has this in it."""

UNKNOWN = "unknown-user"
"""The id of a user that Fullstory does not have."""

_HEADERS = (
    "authorization",
    "integration-source",
    "user-agent",
    "accept",
    "content-type",
    "transfer-encoding",
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_JOB = re.compile(r"/v2/(users|events)/batch/(job-[0-9a-f-]+)(/errors)?")
_REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 404: "Not Found"}


class FakeFullstory:
    """Serves on loopback; `begin` forgets what was recorded."""

    def __init__(self) -> None:
        outer = self

        class Connection(socketserver.StreamRequestHandler):
            # Answers go out in one piece: in two, each would wait for the other side's late ACK.
            disable_nagle_algorithm = True

            def handle(self) -> None:
                while line := self.rfile.readline():
                    method, path, _ = line.decode("latin-1").split()
                    headers = {}
                    while (line := self.rfile.readline()) not in (b"\r\n", b"\n", b""):
                        name, _, value = line.decode("latin-1").partition(":")
                        headers[name.lower()] = value.strip()
                    body = self.rfile.read(int(headers.get("content-length", 0)))
                    status, answer = outer.take(method, path, headers, body)
                    content = json.dumps(answer).encode()
                    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}\r\n"
                    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
                    self.wfile.write(head.encode() + content)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *args: Any) -> None:
                """A client that went away."""

        self._server = Server(("127.0.0.1", 0), Connection)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.begin(None, "")

    def __enter__(self) -> FakeFullstory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, limit: int | None, role: str) -> None:
        """Begin anew, with another limit of the body and another key."""
        self._limit, self._role = limit, role
        self.requests: list[Recorded] = []
        self.asked: set[str] = set()
        self._jobs: dict[str, list[Any]] = {}

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Json]:
        """Record a request and answer it."""
        text = body.decode("utf-8", "surrogateescape")
        with self._lock:
            job = _JOB.fullmatch(path.partition("?")[0]) if method == "GET" else None
            if job or path == "/me":
                # When these come, and the one also how often, is a matter of threads.
                self.asked.add(path)
                return 200, self._status(job) if job else {"role": self._role, "orgId": "o-1"}
            shown = "; ".join(f"{name}: {headers[name]}" for name in _HEADERS if name in headers)
            key = _written(headers.get("idempotency-key"), body)
            self.requests.append([method, path, key, shown, text])
            return self._answer(method, path, body, text)

    def _answer(self, method: str, path: str, body: bytes, text: str) -> tuple[int, Json]:
        batch = method == "POST" and path in ("/v2/users/batch", "/v2/events/batch")
        if self._limit is not None and len(body) > self._limit:
            return 413, {"code": "too_large", "message": "the body is too large"}
        if "/redirect" in path:
            return 307, {"message": "elsewhere"}
        items = json.loads(body).get("requests") if batch else None
        if isinstance(items, list):
            return 200, self._new_job(body, items)
        if REFUSED in text or REFUSED in path:
            return 400, {"code": "refused", "message": f"refused: {text[:40]}"}
        if UNKNOWN in text or UNKNOWN in path:
            return 404, {"code": "user_not_found", "message": "there is no such user"}
        if method == "POST" and path.startswith(("/v2/users", "/webhooks/")):
            return 200, {"id": hashlib.sha256(path.encode() + body).hexdigest()[:10]}
        return 200, {}

    def _new_job(self, body: bytes, items: list[Any]) -> Json:
        name = f"job-{hashlib.sha256(body).hexdigest()[:10]}"
        while name in self._jobs:
            name += "-0"
        self._jobs[name] = items
        return {"job": {"id": name, "status": "PROCESSING", "created": "2026-01-01T00:00:00Z"}}

    def _status(self, job: re.Match[str]) -> Json:
        items = self._jobs.get(job[2], [])
        refused = [item for item in items if REFUSED in json.dumps(item)]
        if job[3]:
            item = "user" if job[1] == "users" else "event"
            return {
                "results": [{"code": "refused", "message": "no", item: it} for it in refused],
                "total_records": str(len(refused)),
            }
        return {
            "imports": len(items) - len(refused),
            "errors": len(refused),
            "job": {
                "id": job[2],
                "status": "FAILED" if refused else "COMPLETED",
                "created": "2026-01-01T00:00:00Z",
                "finished": "2026-01-01T00:00:01Z",
            },
        }


def _written(key: str | None, body: bytes) -> str | None:
    """An Idempotency-Key as it is recorded: how it is made of the body, or that it is arbitrary."""
    if key is None:
        return None
    if _UUID.fullmatch(key):
        return "arbitrary"
    for occurrence in range(64):
        suffix = f"#{occurrence}".encode() if occurrence else b""
        if key == hashlib.sha256(body + suffix).hexdigest():
            return f"sha256 of the body {suffix.decode()}".strip()
    return key
