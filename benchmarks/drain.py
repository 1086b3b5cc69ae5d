"""The sink server: a process of its own that drains requests and answers them, and does no more.

It prints its address, serves until its standard input ends, then prints what it saw as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BUFFER = 1 << 20
_UID = b'"uid":'  # stands once in every request of the inputs


class Drain:
    """Answers the calls of the Server API that loading makes, whatever they carry.

    Attributes:
        posts: POST requests answered.
        body_bytes: Bytes in their bodies.
        records: Users or events in their bodies.
        first_request: When the first POST began to arrive, in seconds of the monotonic clock, which all
            processes of a machine share; None before it.
    """

    def __init__(self, keep: Path | None = None, port: int = 0) -> None:
        """Listen on the loopback interface.

        Args:
            keep: A directory for the bodies, one file each; None to throw them away.
            port: The port; 0 for any that is free.
        """
        self.posts = 0
        self.body_bytes = 0
        self.records = 0
        self.first_request: float | None = None
        self._keep = keep
        self._in_job: dict[bytes, int] = {}  # records
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Answer every connection in a thread of its own."""
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer_all, args=(connection,), daemon=True).start()

    def _answer_all(self, connection: socket.socket) -> None:
        with connection:
            try:
                for request in _requests(connection, whole=self._keep is not None):
                    answer = self._answer(request)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                        b"%d\r\n\r\n%b" % (len(answer), answer)
                    )
            except ConnectionError:
                return

    def _answer(self, request: _Request) -> bytes:
        if not request.is_post:
            return self._answer_question(request.path)
        with self._lock:
            if self.first_request is None:
                self.first_request = request.at
            self.posts += 1
            self.body_bytes += request.length
            self.records += request.records
            number = self.posts
            self._in_job[b"%d" % number] = request.records
        if self._keep is not None:
            (self._keep / f"{number:06}.json").write_bytes(request.body)
        if request.path.endswith(b"/batch"):
            return b'{"job":{"id":"%d","status":"PROCESSING"}}' % number
        return b'{"id":"%d"}' % number

    def _answer_question(self, path: bytes) -> bytes:
        """Whose the key is, or how a job stands: it has taken all its records."""
        if path == b"/me":
            return b'{"email":"bench@example.com","orgId":"BENCH","role":"ADMIN"}'
        job = path.rpartition(b"/")[2]
        with self._lock:
            imports = self._in_job.get(job, 0)
        return b'{"imports":%d,"errors":0,"job":{"id":"%b","status":"COMPLETED"}}' % (imports, job)


@dataclass(frozen=True)
class _Request:
    """A request.

    Attributes:
        is_post: Whether it is a POST.
        path: What it is sent to.
        at: When it began to arrive.
        length: Bytes in its body.
        records: Users or events in its body.
        body: The body where it was asked for.
    """

    is_post: bool
    path: bytes
    at: float
    length: int
    records: int
    body: bytes


def _requests(connection: socket.socket, *, whole: bool) -> Iterator[_Request]:
    """The requests of a connection, with their bodies only where they are wanted."""
    buffer = bytearray(_BUFFER)
    view = memoryview(buffer)
    rest = b""
    while True:
        at = time.monotonic()
        while (end := rest.find(b"\r\n\r\n")) < 0:
            part = connection.recv(65536)
            if not part:
                return
            if not rest:
                at = time.monotonic()
            rest += part
        head, rest = rest[:end], rest[end + 4 :]
        length = _length(head)
        body = bytearray(rest[:length])
        left, rest = length - len(body), rest[length:]
        records, cut = body.count(_UID), bytes(body[1 - len(_UID) :])
        while left:
            size = connection.recv_into(view, min(left, _BUFFER))
            if not size:
                return
            left -= size
            begin = cut + bytes(view[: len(_UID) - 1])
            records += begin.count(_UID) + buffer.count(_UID, 0, size)
            cut = (cut + bytes(view[max(0, size + 1 - len(_UID)) : size]))[1 - len(_UID) :]
            if whole:
                body += view[:size]
        yield _Request(head.startswith(b"POST"), head.split()[1], at, length, records, bytes(body))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="directory for the bodies")
    parser.add_argument("--port", type=int, default=0, help="port; any that is free without it")
    options = parser.parse_args()
    drain = Drain(options.keep, options.port)
    threading.Thread(target=drain.serve, daemon=True).start()
    sys.stdout.write(f"{drain.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    seen = {
        "posts": drain.posts,
        "body_bytes": drain.body_bytes,
        "records": drain.records,
        "first_request": drain.first_request,
    }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
