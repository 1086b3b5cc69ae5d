"""What networks, proxies and busy servers do to an answer, byte by byte; each kind has a name.

None of them is a lie: no fault makes a whole, valid success of a request that was not carried out. Where the
request was not passed on, the body is cut in every case.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

STAND_IN = b'{"id": "1", "job": {"id": "a-job-that-is-not", "status": "PROCESSING'
"""The body of an answer that nobody gave: no JSON, however much of it arrives."""


@dataclass
class Wire:
    """The connection to a client, and what a fault may do with it.

    Attributes:
        client: The connection.
        rng: Draws details.
        body: The genuine body where the request was carried out, else the stand-in.
        seconds: After so long whatever never ends has an end after all.
        echo: Headers of the request, as some proxies repeat them in their errors.
        elsewhere: An address that is not the API's, for redirects.
    """

    client: socket.socket
    rng: random.Random
    body: bytes
    seconds: float
    echo: str
    elsewhere: str

    def send(self, data: bytes) -> None:
        self.client.sendall(data)

    def head(self, *headers: str, status: int = 200, length: int | str | None = None) -> bytes:
        """The head of an answer; the body's length is the true one unless it is given."""
        length = len(self.body) if length is None else length
        lines = [_status_line(status), "Content-Type: application/json", *headers]
        if length != "":
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def endless(self, pieces: Iterable[bytes], pause: float) -> None:
        """Send piece after piece until the client has gone, or the time is over."""
        until = time.monotonic() + self.seconds
        for piece in pieces:
            self.send(piece)
            time.sleep(pause)
            if time.monotonic() > until:
                return


def _status_line(status: int) -> str:
    with suppress(ValueError):
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return f"HTTP/1.1 {status} Odd"


def reset(wire: Wire) -> None:
    wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def no_answer(wire: Wire) -> None:
    """The connection is closed in order, without a byte."""


def head_cut(wire: Wire) -> None:
    head = wire.head()
    wire.send(head[: wire.rng.randrange(1, len(head) - 3)])


def status_line_malformed(wire: Wire) -> None:
    line = wire.rng.choice(["HTTP/1.1 abc OK", "HTTP/9.9", "hello", "HTTP/1.1 99999 Far", "\x00\xff\x00", ""])
    wire.send(f"{line}\r\nContent-Length: 2\r\n\r\n".encode("latin-1") + b"{")


def header_malformed(wire: Wire) -> None:
    """A header without a colon, in which the request's own come back."""
    wire.send(wire.head("", length="").replace(b"\r\n\r\n", f"\r\nodd {wire.echo}\r\n\r\n".encode("latin-1")))
    wire.send(wire.body[:-1])


def head_too_long(wire: Wire) -> None:
    if wire.rng.random() < 0.5:
        wire.send(wire.head(f"X-Long: {'x' * 70_000}") + wire.body)
    else:
        wire.send(wire.head(*(f"X-{n}: y" for n in range(300))) + wire.body)


def head_dripped(wire: Wire) -> None:
    head = wire.head("X-Slow: " + "x" * 10_000)
    wire.endless((bytes([byte]) for byte in head), 0.1)


def body_dripped(wire: Wire) -> None:
    wire.send(wire.head(length=len(wire.body) + 10_000))
    wire.endless((bytes([byte]) for byte in wire.body + b" " * 10_000), 0.1)


def chunks_dripped(wire: Wire) -> None:
    wire.send(wire.head("Transfer-Encoding: chunked", length=""))
    wire.endless((b"1\r\n \r\n" for _ in range(10_000)), 0.1)


def endless_continue(wire: Wire) -> None:
    wire.endless((b"HTTP/1.1 100 Continue\r\n\r\n" for _ in range(10_000)), 0.1)


def silence(wire: Wire) -> None:
    """Nothing comes, and the connection stays open: the client's time limit is all there is."""
    wire.endless((b"" for _ in range(10_000)), 0.1)


def gzip_bad(wire: Wire) -> None:
    body = b"\x1f\x8b\x08\x00" + wire.rng.randbytes(40)
    wire.send(wire.head("Content-Encoding: gzip", length=len(body)) + body)


def gzip_cut(wire: Wire) -> None:
    body = gzip.compress(wire.body)
    body = body[: wire.rng.randrange(1, len(body) - 9)]
    wire.send(wire.head("Content-Encoding: gzip", length=len(body)) + body)


def encoding_unknown(wire: Wire) -> None:
    body = wire.rng.randbytes(40)
    wire.send(wire.head("Content-Encoding: deflate, br", length=len(body)) + body)


def chunks_bad(wire: Wire) -> None:
    size = wire.rng.choice(["xyz", "-1", "", "ffffffffffffffffffff", "1;", "0x10"])
    wire.send(wire.head("Transfer-Encoding: chunked", length="") + f"{size}\r\n".encode() + wire.body)


def chunks_cut(wire: Wire) -> None:
    wire.send(wire.head("Transfer-Encoding: chunked", length=""))
    wire.send(f"{len(wire.body) + 1:x}\r\n".encode() + wire.body)


def length_too_long(wire: Wire) -> None:
    wire.send(wire.head(length=len(wire.body) + 10) + wire.body)


def length_too_short(wire: Wire) -> None:
    """What is left of the body lies in the way of the next answer; the connection stays open."""
    wire.send(wire.head(length=max(len(wire.body) - 1, 1)) + wire.body)


def length_senseless(wire: Wire) -> None:
    length = wire.rng.choice(["abc", "-5", "1e3", "9" * 30])
    wire.send(wire.head(length=length) + wire.body[:-1])


def two_lengths(wire: Wire) -> None:
    wire.send(wire.head(length="5, 7") + wire.body[:-1])


def json_cut(wire: Wire) -> None:
    body = wire.body[: wire.rng.randrange(1, len(wire.body))]
    wire.send(wire.head(length=len(body)) + body)


def body_cut(wire: Wire) -> None:
    wire.send(wire.head() + wire.body[: len(wire.body) // 2])


def _whole(status: int, body: bytes, *headers: str) -> Callable[[Wire], None]:
    def answer(wire: Wire) -> None:
        wire.send(wire.head(*headers, status=status, length=len(body)) + body)

    return answer


def _error(status: int, *headers: str) -> Callable[[Wire], None]:
    body = {"message": f"An injected fault ({status})", "code": "injected"}
    return _whole(status, json.dumps(body).encode(), *headers)


def error_429(wire: Wire) -> None:
    """With a Retry-After that asks for nothing, or cannot be understood; or the usual second."""
    values = ["1", "0", "-1", "", "soon", "1.5", "1e1", "\u0661", "0x1", "1, 2"]
    values += [formatdate(time.time() + 1, usegmt=True), "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 99 Foo 9999"]
    # urllib3 and http.client take headers as Latin-1.
    value = wire.rng.choice(values).encode("utf-8").decode("latin-1")
    _error(429, f"Retry-After: {value}")(wire)


def error_429_wrong_clock(wire: Wire) -> None:
    """The server's clock is an hour off, in its `Date` as in its `Retry-After`."""
    now = time.time() + wire.rng.choice([-3600, 3600])
    dates = (formatdate(at, usegmt=True) for at in (now, now + 1))
    _error(429, *(f"{name}: {date}" for name, date in zip(("Date", "Retry-After"), dates, strict=True)))(wire)


def error_503_date(wire: Wire) -> None:
    _error(503, f"Retry-After: {formatdate(time.time() + 1, usegmt=True)}")(wire)


def redirect(wire: Wire) -> None:
    _error(wire.rng.choice([301, 302, 303, 307, 308]), f"Location: {wire.elsewhere}")(wire)


def html_with_the_headers(wire: Wire) -> None:
    """A proxy's error page, with what the client sent in it."""
    body = f"<html><body><h1>502</h1><pre>{wire.echo}</pre></body></html>".encode()
    wire.send(wire.head("Server: proxy", status=502, length=len(body)) + body)


HTML = b"<html><body>Please log in to the network.</body></html>"


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        answer: Sends what the client gets instead of the answer.
        carried_out: Whether the request is passed on first: True, False, or None for now this, now that.
        success: Whether it looks like a success, so that a client that takes any answer believes it.
        ends_runs: Whether the target is right to end its run.
    """

    answer: Callable[[Wire], None]
    carried_out: bool | None = None
    success: bool = False
    ends_runs: bool = False


FAULTS: dict[str, Fault] = {
    # The connection
    "reset": Fault(reset),
    "no answer": Fault(no_answer),
    "silence": Fault(silence),
    # The head
    "head cut": Fault(head_cut),
    "head malformed": Fault(header_malformed, success=True),
    "head too long": Fault(head_too_long),
    "head dripped": Fault(head_dripped),
    "status line malformed": Fault(status_line_malformed),
    "endless 100 Continue": Fault(endless_continue),
    # The body
    "body cut": Fault(body_cut),
    "body dripped": Fault(body_dripped),
    "chunks dripped": Fault(chunks_dripped),
    "chunks bad": Fault(chunks_bad),
    "chunks cut": Fault(chunks_cut),
    "gzip bad": Fault(gzip_bad),
    "gzip cut": Fault(gzip_cut),
    "encoding wrong": Fault(encoding_unknown),
    "length too long": Fault(length_too_long),
    "length too short": Fault(length_too_short, success=True),
    "length senseless": Fault(length_senseless, success=True),
    "two lengths": Fault(two_lengths),
    # A success that is none
    "200 JSON cut": Fault(json_cut, success=True),
    "200 HTML": Fault(_whole(200, HTML)),
    "200 list": Fault(_whole(200, b"[]"), success=True),
    "200 not UTF-8": Fault(_whole(200, b'{"id": "\xff\xfe"}'), success=True),
    "200 without a job": Fault(_whole(200, b'{"ok": true}'), success=True),
    "200 empty": Fault(_whole(200, b""), success=True),
    "204": Fault(_whole(204, b""), success=True),
    # Errors
    "408": Fault(_error(408, "Connection: close")),
    "409": Fault(_error(409), carried_out=False),
    "429": Fault(error_429, carried_out=False),
    "429 of a wrong clock": Fault(error_429_wrong_clock, carried_out=False),
    "500": Fault(_error(500)),
    "500 kept": Fault(_error(500), carried_out=False),
    "502 HTML": Fault(html_with_the_headers),
    "503 seconds": Fault(_error(503, "Retry-After: 1")),
    "503 date": Fault(error_503_date),
    "504": Fault(_whole(504, b"")),
    "520": Fault(_error(520)),
    # What ends a run, with a clear line
    "redirect": Fault(redirect, ends_runs=True),
    "429 for ages": Fault(_error(429, "Retry-After: 99999999999"), carried_out=False, ends_runs=True),
}
"""Every kind by its name; `late` and `413` are the proxy's and the sandbox's own."""
