"""A loopback HTTP server with what taps of web APIs read: made-up projects, contacts, pages and a feed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PAGE = 2
_FEED = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Release notes</title><link>http://127.0.0.1/</link>
<description>What is new</description>
<item><guid>note-1</guid><title>Dark mode &amp; more</title><link>http://127.0.0.1/1</link>
<author>u1@example.com</author><pubDate>Mon, 02 Mar 2026 09:30:00 +0100</pubDate></item>
<item><guid>note-2</guid><title>Größere Exporte</title><link>http://127.0.0.1/2</link>
<author>u2@example.com</author><pubDate>Tue, 03 Mar 2026 10:00:00 GMT</pubDate></item>
</channel></rss>"""


def _person(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "username": f"user{number}",
        "name": f"Zoë {number}",
        "state": "active",
        "locked": number == 2,
        "avatar_url": None,
        "web_url": f"http://127.0.0.1/user{number}",
    }


def _issue(number: int) -> dict[str, Any]:
    return {
        "id": 100 + number,
        "iid": number,
        "title": f"Issue {number}",
        "description": 'It says "no"\nand stops.',
        "state": "closed" if number == 1 else "opened",
        "created_at": f"2026-03-0{number}T08:00:00.125Z",
        "updated_at": f"2026-03-0{number}T09:30:00.500+01:00",
        "closed_at": "2026-03-05T10:00:00Z" if number == 1 else None,
        "due_date": "2026-04-01",
        "labels": ["bug", "größer"] if number < 3 else [],
        "author": _person(number),
        "assignees": [_person(1), _person(2)] if number == 2 else [],
        "user_notes_count": 3 * number,
        "confidential": False,
        "time_stats": {"time_estimate": 3600, "total_time_spent": 0, "human_time_estimate": "1h"},
        "web_url": f"http://127.0.0.1/issues/{number}",
    }


def _contact(number: int) -> dict[str, Any]:
    return {
        "id": f"c-{number}",
        "email": f"c{number}@example.com",
        "name": {"first": "Ada", "last": f"O'Hara {number}"},
        "score": number * 1.5 if number != 2 else 3,
        "visits": number,
        "vip": number % 2 == 0,
        "tags": ["a", "b"] if number != 3 else [],
        "orders": [{"sku": f"S{number}", "price": 9.99}],
        "note": None,
        "updated_at": f"2026-03-0{number}T09:00:00Z",
    }


_PROJECT = {
    "id": 7,
    "name": "Shop",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-03-01T00:00:00Z",
}
_GITLAB: dict[str, Any] = {
    "/api/v4/user": _person(1),
    "/api/v4/projects/7": _PROJECT,
    "/api/v4/projects/7/users": [_person(number) for number in (1, 2, 3)],
    "/api/v4/projects/7/issues": [_issue(number) for number in (1, 2, 3)],
}
_CONTACTS = [_contact(number) for number in (1, 2, 3, 4)]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/feed.xml":
            self._send("application/rss+xml", _FEED)
        elif address.path == "/contacts":
            page = int(parse_qs(address.query).get("page", ["1"])[0])
            found = _CONTACTS[(page - 1) * _PAGE : page * _PAGE]
            more = page + 1 if page * _PAGE < len(_CONTACTS) else None
            self._send("application/json", json.dumps({"data": found, "next_page": more}))
        elif address.path in _GITLAB:
            self._send("application/json", json.dumps(_GITLAB[address.path]))
        else:
            self.send_error(404)

    def _send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def running_web() -> Iterator[str]:
    """The server; yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)
