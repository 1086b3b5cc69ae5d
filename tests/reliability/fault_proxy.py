"""A proxy on loopback between the target and sandboxes: it strikes before or after a request is carried out.

Which request meets which fault is drawn from a seed. Several organizations share its address: the API key
says whose sandbox a request is for, as at Fullstory.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.reliability.faults import FAULTS, STAND_IN, Wire
from tests.reliability.lying_jobs import LATE, Lie, draw_lie
from tests.reliability.refusing_jobs import REFUSAL, Refusal, is_refused, refused_items

_NUMBER = re.compile(rb'"number":\s*(\d+)')
_MORE_TROUBLE = 0.5
"""How probable a fault is for a request that has met one: trouble comes in rows."""
_ENDINGS = 0.004
"""The share of faults that are drawn among those which end a run."""


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")

    @property
    def is_batch(self) -> bool:
        return self.method == "POST" and self.path.endswith("/batch")

    @property
    def is_call(self) -> bool:
        """Whether it is a call of kind `request`, to which any answer will do."""
        # The events of the crash test's input have a time.
        return self.method == "POST" and self.path == "/v2/events" and b'"timestamp"' not in self.body

    @property
    def job(self) -> tuple[str, str] | None:
        """The id of the job that it asks about, and what it asks for: `""`, `imports` or `errors`."""
        parts = self.path.split("/")
        if self.method != "GET" or parts[3:4] != ["batch"] or len(parts) < 5:
            return None
        return parts[4], "/".join(parts[5:])


@dataclass
class Organization:
    """One that the proxy answers for: its sandbox's address, and how its key is refused at the moment."""

    name: str
    url: str
    refused_with: int | None = None


@dataclass
class Attacks:
    """What the proxy does; each can be switched on by itself.

    Attributes:
        faults: The names of the faults that strike; `late` is one more.
        rate: The share of requests that meet one.
        lies: The names of the lies that jobs tell.
        lying: The share of jobs that lie.
        echo: Whether refusals quote the key, in every way of writing it.
        refused: The uids and the events' numbers that are refused at the moment; a key's answer remains.
    """

    faults: tuple[str, ...] = (*FAULTS, "late")
    rate: float = 0.05
    lies: tuple[str, ...] = ()
    lying: float = 0.15
    echo: bool = False
    refused: set[str | int] = field(default_factory=set)


class Onlooker(Protocol):
    """Is told what comes and what goes."""

    def came(self, request: Request) -> None:
        """A request came."""

    def answered(self, request: Request, status: int, body: bytes) -> None:
        """The client was sent the whole of an answer."""


@dataclass
class Seen:
    """What came by; read it when the runs are over.

    Attributes:
        sent: The numbers of the events sent under each idempotency key.
        kept: The keys for which a 500 is kept.
        carried_out: The keys of requests that were passed on.
        rows_of_500: The longest row of whole 500s, of nothing else, that the requests of a key have met.
        lies: The jobs that lied, or refused some of their items for a while, by id.
        faulty_deletions: The users whose deletion has met a fault.
        strangers: Requests that came to the address of a redirect.
    """

    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    sent: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    kept: set[str] = field(default_factory=set)
    carried_out: set[str] = field(default_factory=set)
    rows_of_500: Counter[str] = field(default_factory=Counter)
    lies: dict[str, Lie | Refusal] = field(default_factory=dict)
    faulty_deletions: set[str] = field(default_factory=set)
    strangers: int = 0


class FaultProxy:
    """Listens on loopback until it is left."""

    def __init__(self, seed: int, attacks: Attacks, organizations: Mapping[str, Organization]) -> None:
        """Answer for organizations, each by its `Authorization` header."""
        self.attacks = attacks
        self.seen = Seen()
        self._rng = random.Random(seed)
        self._organizations = organizations
        self._lock = threading.Lock()
        self._troubled: set[str] = set()
        self._decided: dict[str, Lie | Refusal | None] = {}
        self._refused: dict[str, bool] = {}
        self.onlooker: Onlooker | None = None
        self._row_of_500: Counter[str] = Counter()
        self._looks: Counter[str] = Counter()
        self._busy = 0
        self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
        self.url, self._elsewhere = (
            f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in self._listeners
        )
        # As long as an endless answer goes on; a client's time limit should be well below.
        self.endless_seconds = 3.0
        self.late_seconds = 1.0

    def __enter__(self) -> FaultProxy:
        for listener, serve in zip(self._listeners, (self._serve, self._serve_strangers), strict=True):
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for listener in self._listeners:
            # Closing alone does not wake the thread that accepts.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def wait_until_idle(self, seconds: float = 10) -> None:
        """Until no request is on its way to a sandbox any more."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                if not self._busy:
                    return
            time.sleep(0.02)

    # Connections

    def _accept(self, listener: socket.socket, serve: Any) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def _serve_strangers(self, client: socket.socket) -> None:
        with self._lock:
            self.seen.strangers += 1
        client.close()

    def _serve(self, client: socket.socket) -> None:
        # A client that goes away, in whatever moment, is part of the test.
        with suppress(OSError, http.client.HTTPException), client, client.makefile("rb") as source:
            while (request := read_request(source)) is not None and self._answer(client, request):
                pass

    # One request

    def _answer(self, client: socket.socket, request: Request) -> bool:
        """Answer a request; returns whether the connection stays open."""
        if self.onlooker is not None:
            self.onlooker.came(request)
        with self._lock:
            self.seen.requests += 1
            organization = self._organizations.get(request.headers.get("authorization", ""))
            if request.key is not None:
                self.seen.sent[request.key] |= {int(number) for number in _NUMBER.findall(request.body)}
            refused_with = organization.refused_with if organization else 401
            kept = request.key in self.seen.kept
        if refused_with is not None or organization is None:
            body = {"message": f"Refused {self._echo(request)}", "code": "unauthorized"}
            self._send(client, request, refused_with or 401, json.dumps(body).encode())
            return True
        if kept:
            self._note_answer(request, 500)
            FAULTS["500 kept"].answer(self._wire(client, request, b""))
            return True
        name, carried_out = self._draw(request)
        if name is None:
            status, headers, body = self._pass_on(organization, request)
            self._note_answer(request, status)
            self._send(client, request, status, body, headers)
            if self.onlooker is not None:
                self.onlooker.answered(request, status, body)
            return True
        return self._strike(client, request, organization, name, carried_out=carried_out)

    def _strike(
        self,
        client: socket.socket,
        request: Request,
        organization: Organization,
        name: str,
        *,
        carried_out: bool,
    ) -> bool:
        body = STAND_IN
        if name == "late":
            # The client has given up meanwhile, and perhaps sent the same again.
            with self._passing_on():
                time.sleep(self.late_seconds)
                self._pass_on(organization, request)
            return False
        if carried_out:
            status, headers, genuine = self._pass_on(organization, request)
            if status >= 400 and self._is_believed(request, name):
                # A success would be a lie about a refusal.
                self._send(client, request, status, genuine, headers)
                return True
            body = genuine or b"{}"
        self._note_answer(request, 500 if name == "500" else 0)
        FAULTS[name].answer(self._wire(client, request, body))
        return name in {"length too short", "204", "200 HTML", "500", "502 HTML", "429", "500 kept"}

    def _wire(self, client: socket.socket, request: Request, body: bytes) -> Wire:
        # The sender's own random numbers: threads must not shift what others draw.
        rng = random.Random(f"{self._rng.random()}")
        echo = f"Authorization: {request.headers.get('authorization')}; {request.target}"
        return Wire(client, rng, body, self.endless_seconds, echo, self._elsewhere + request.target)

    def _draw(self, request: Request) -> tuple[str | None, bool]:
        """The fault that a request meets, if any, and whether it is carried out first."""
        attacks, rng, key = self.attacks, self._rng, request.key or f"{request.method} {request.target}"
        with self._lock:
            rate = max(attacks.rate, _MORE_TROUBLE if key in self._troubled else 0) if attacks.rate else 0
            if rng.random() >= rate:
                self._troubled.discard(key)
                return None, True
            self._troubled.add(key)
            names = [name for name in attacks.faults if self._fits(request, name)]
            endings = [name for name in names if name in FAULTS and FAULTS[name].ends_runs]
            others = [name for name in names if name not in endings]
            if not names:
                return None, True
            name = rng.choice(endings if not others or (endings and rng.random() < _ENDINGS) else others)
            self.seen.faults[name] += 1
            if request.method == "DELETE":
                uids = parse_qs(urlsplit(request.target).query).get("uid", [])
                self.seen.faulty_deletions.update(uids)
            if name == "500 kept":
                self.seen.kept.add(str(request.key))
            if name == "late":
                self.seen.carried_out.add(str(request.key))
                return name, True
            fault = FAULTS[name]
            carried_out = rng.random() < 0.5 if fault.carried_out is None else fault.carried_out
            return name, carried_out or self._is_believed(request, name)

    def _is_believed(self, request: Request, name: str) -> bool:
        return FAULTS[name].success and (request.is_call or request.method == "DELETE")

    def _fits(self, request: Request, name: str) -> bool:
        if name == "500 kept":
            # A request that was carried out has its answer kept already.
            return request.key is not None and request.key not in self.seen.carried_out
        if name == "late":
            # Without a key nothing tells a late request from a new one.
            return request.key is not None
        if name == "200 without a job":
            return request.is_batch or request.job is not None
        # A call may be meant to be answered with a redirect.
        return not (name == "redirect" and request.is_call)

    def _note_answer(self, request: Request, status: int) -> None:
        """Note a status that the client has seen whole; 0 for anything else."""
        if request.key is None:
            return
        with self._lock:
            if status != 500:
                self._row_of_500[request.key] = 0
                return
            self._row_of_500[request.key] += 1
            row = self._row_of_500[request.key]
            self.seen.rows_of_500[request.key] = max(row, self.seen.rows_of_500[request.key])

    def _send(
        self,
        client: socket.socket,
        request: Request,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        more = [f"Retry-After: {headers['retry-after']}"] if headers and "retry-after" in headers else []
        wire = self._wire(client, request, body)
        wire.send(wire.head(*more, status=status) + body)

    # To the sandbox

    def _passing_on(self) -> _Counted:
        return _Counted(self)

    def _pass_on(self, organization: Organization, request: Request) -> tuple[int, dict[str, str], bytes]:
        lie = self._lie_of(request)
        told, target, body = request.job, request.target, request.body
        if lie is not None and request.is_batch:
            body = lie.passed_on(body)
        if lie is not None and told is not None:
            if lie.name == "vanishes":
                return 404, {}, b'{"message": "There is no such resource", "code": "resource_not_found"}'
            if lie.name == "same page token":
                target = request.path
            if lie.name == "lists late" and told[1]:
                with self._lock:
                    self._looks[told[0]] += 1
                    if self._looks[told[0]] <= LATE:
                        return 202, {}, b"{}"
        if self._is_refused(request):
            return 400, {}, REFUSAL
        with self._passing_on():
            with self._lock:
                if request.key is not None:
                    self.seen.carried_out.add(request.key)
            status, headers, content = _forward(organization.url, request, target, body)
        if request.path == "/me" and status == 200:
            content = json.dumps(json.loads(content) | {"orgId": organization.name}).encode()
        if lie is not None and status == 200:
            content = self._changed(lie, request, json.loads(content))
        if 400 <= status < 500 and self.attacks.echo:
            refusal = json.loads(content)
            refusal["message"] += self._echo(request)
            content = _escaped(json.dumps(refusal), self._rng)
        return status, headers, content

    def _is_refused(self, request: Request) -> bool:
        """Whether a single request is refused for a while; a key has one answer for ever."""
        if request.method != "POST" or request.is_batch or request.key is None:
            return False
        with self._lock:
            if request.key not in self._refused:
                refused = bool(self.attacks.refused) and request.path in {"/v2/users", "/v2/events"}
                self._refused[request.key] = refused and is_refused(
                    json.loads(request.body), self.attacks.refused
                )
            return self._refused[request.key]

    def _lie_of(self, request: Request) -> Lie | Refusal | None:
        with self._lock:
            if request.job is not None:
                return self.seen.lies.get(request.job[0])
            if not request.is_batch or request.key is None:
                return None
            if request.key not in self._decided:
                self._decided[request.key] = self._draw_lie(request, request.key)
            return self._decided[request.key]

    def _draw_lie(self, request: Request, key: str) -> Lie | Refusal | None:
        attacks = self.attacks
        if not (attacks.lies or attacks.refused) or key in self.seen.carried_out:
            return None
        items = json.loads(request.body)["requests"]
        if refused := refused_items(items, attacks.refused):
            return Refusal(request.path.split("/")[2], refused)
        lies = attacks.lies and self._rng.random() < attacks.lying
        return draw_lie(self._rng, attacks.lies, len(items)) if lies else None

    def _changed(self, lie: Lie | Refusal, request: Request, told: dict[str, Any]) -> bytes:
        if request.is_batch:
            with self._lock:
                self.seen.lies[told["job"]["id"]] = lie
        elif request.job is not None and request.job[1] == "":
            lie.status(told)
        elif request.job is not None and "results" in told:
            lie.listing(told, request.job[1])
        return json.dumps(told).encode()

    def _echo(self, request: Request) -> str:
        return f" ({request.headers.get('authorization')})" if self.attacks.echo else ""


class _Counted:
    """Counts a request that is on its way to a sandbox."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy

    def __enter__(self) -> None:
        with self._proxy._lock:
            self._proxy._busy += 1

    def __exit__(self, *error: object) -> None:
        with self._proxy._lock:
            self._proxy._busy -= 1


def read_request(source: IO[bytes]) -> Request | None:
    line = source.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = {}
    while (header := source.readline()) not in {b"\r\n", b"\n", b""}:
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    body = source.read(length)
    return Request(line[0], line[1], headers, body) if len(body) == length else None


def _forward(url: str, request: Request, target: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        headers = {name: value for name, value in request.headers.items() if name not in _OURS}
        connection.request(request.method, target, body or None, headers)
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return response.status, received, response.read()
    finally:
        connection.close()


_OURS = frozenset({"host", "content-length", "connection", "accept-encoding"})


def _escaped(text: str, rng: random.Random) -> bytes:
    """JSON that says the same, with characters written in the ways that JSON allows."""
    style = rng.randrange(3)
    if style == 1:
        text = text.replace("/", "\\/")
    elif style == 2:
        text = re.sub(r"(?<!\\)[0-9]", lambda digit: f"\\u{ord(digit[0]):04x}", text)
    return text.encode()
