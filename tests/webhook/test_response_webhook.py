"""The response webhook, through the real executable and a receiver on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, state, user
from tests.reliability.live import Live
from tests.scripted import Reply, Request, Script, ScriptedServer

Run = Callable[..., Outcome]
SECRETS = ("pa55-word", "t0ken-one", "k3y-value", "hm4c-secret", "cl1ent-secret", "h3ader-value")
LINES = [USERS, user(1, email="somebody@example.com", seats=7), state(at=1)]
PATH = "/hook/p4th-secret"


def ok(request: Request, number: int) -> Reply:
    return Reply(200, {"received": True})


def always(*replies: Reply) -> Script:
    """One reply after the other, the last one for ever."""
    return lambda _, number: replies[min(number, len(replies) - 1)]


def told(server: ScriptedServer) -> list[dict[str, Any]]:
    """The messages received."""
    return [request.json for request in server.requests if request.path.startswith("/hook")]


def hook(server: ScriptedServer, **members: Any) -> dict[str, Any]:
    """The setting, for a receiver."""
    return {"url": f"{server.url}{PATH}"} | members


def no_secrets(outcome: Outcome) -> None:
    """No secret, and no address of the webhook, is in what a run wrote."""
    written = [path.read_text() for path in outcome.output_dir.rglob("*") if path.is_file()]
    for text in (outcome.stdout, outcome.stderr, *written):
        for secret in (*SECRETS, PATH):
            assert secret not in text


@pytest.fixture
def load(run_target: Run, sandbox: Sandbox) -> Run:
    """Loads one user with a webhook, and looks for secrets in what the run wrote."""

    def run(webhook: dict[str, Any], lines: list[str] | None = None, **settings: Any) -> Outcome:
        settings = {"api_url": sandbox.url, "delivery": "single"} | settings
        outcome = run_target(lines or LINES, response_webhook=webhook, **settings)
        assert outcome.code == 0, outcome.stderr
        no_secrets(outcome)
        return outcome

    return run


# What is delivered


def test_each_response_is_delivered(load: Run, api: SandboxApi) -> None:
    with ScriptedServer(ok) as server:
        outcome = load(hook(server))
        (message,) = told(server)
    (response,) = outcome.block["responses"]
    assert message.pop("at").endswith("Z")
    assert message == {"run_id": outcome.block["run_id"], "event": "request", **response}
    assert (message["uid"], message["status"]) == ("u1", 200)
    (request,) = server.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert outcome.report["response_webhook"] == {"delivered": 1, "failed": 0, "reasons": {}}
    assert "WARNING" not in outcome.stderr
    assert api.user("u1")["properties"]["seats"] == 7


def test_a_job_is_told_when_created_and_when_finished(load: Run) -> None:
    with ScriptedServer(ok) as server:
        outcome = load(hook(server, method="PUT"), delivery="batch")
        created, finished = told(server)
    (job,) = outcome.block["jobs"]
    assert {request.method for request in server.requests} == {"PUT"}
    assert (created["event"], finished["event"]) == ("job_created", "job_finished")
    assert (created["id"], created["status"]) == (job["id"], "PROCESSING")
    assert job.items() <= finished.items()
    assert (finished["status"], finished["imports"], finished["errors"]) == ("COMPLETED", 1, 0)


def test_no_property_of_a_record_is_told(load: Run) -> None:
    with ScriptedServer(ok) as server:
        load(hook(server), [*LINES, EVENTS, event(1, amount=1234.5), state(at=2)])
        load(hook(server), delivery="batch")
        bodies = b"".join(request.body for request in server.requests)
    assert len(told(server)) == 4
    for value in (b"somebody@", b"seats", b"1234", b"Ordered", b"email", b"amount"):
        assert value not in bodies


def test_of_errors_only(load: Run) -> None:
    bad = user(2, email="x" * 20)

    def api(request: Request, number: int) -> Reply:
        if request.method == "GET" and request.path.endswith("/errors"):
            failed = {"code": "bad", "message": "no", "user": {"uid": "u1"}}
            return Reply(200, {"results": [failed], "total_records": "1"})
        if request.method == "GET":
            job = {"id": "job", "status": "FAILED"}
            return Reply(200, {"job": job, "imports": 0, "errors": 1})
        if request.path.endswith("/batch"):
            return Reply(200, {"job": {"id": "job", "status": "PROCESSING"}})
        if b"u2" in request.body:
            return Reply(400, {"code": "bad", "message": "somebody@example.com"})
        return Reply(200, {"id": "7"})

    with ScriptedServer(ok) as server, ScriptedServer(api) as fullstory:
        webhook = hook(server, include="errors")
        settings = {"api_url": fullstory.url, "max_rejected_records": -1}
        load(webhook, [*LINES, bad, state(at=2)], **settings)
        load(webhook, delivery="batch", **settings)
        request, job = told(server)
    assert (request["event"], request["uid"], request["code"]) == ("request", "u2", "bad")
    assert (job["event"], job["status"], job["errors"]) == ("job_finished", "FAILED", 1)


# Authentication


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (
            {"type": "basic", "username": "me", "password": "pa55-word"},
            ("authorization", "Basic " + base64.b64encode(b"me:pa55-word").decode()),
        ),
        ({"type": "bearer", "token": "t0ken-one\n"}, ("authorization", "Bearer t0ken-one")),
        ({"type": "api_key", "name": "X-Key", "value": "k3y-value"}, ("x-key", "k3y-value")),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_header_that_authenticates(load: Run, auth: dict[str, Any], expected: tuple[str, str]) -> None:
    with ScriptedServer(ok) as server:
        load(hook(server, auth=auth, headers={"X-Team": "h3ader-value"}))
        (request,) = server.requests
    name, value = expected
    assert request.headers[name] == value
    assert request.headers["x-team"] == "h3ader-value"
    assert request.path == PATH


def test_an_api_key_in_the_query_is_in_no_log(load: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "debug")
    auth = {"type": "api_key", "name": "key", "value": "k3y-value", "in": "query"}
    with ScriptedServer(always(Reply(503), Reply(200))) as server:
        load({"url": f"{server.url}{PATH}?a=1", "auth": auth})
        paths = {request.path for request in server.requests}
    assert len(server.requests) == 2
    assert paths == {f"{PATH}?a=1&key=k3y-value"}


def test_an_hmac_over_the_bytes_received(load: Run) -> None:
    auth = {"type": "hmac", "header": "X-Signature", "secret": "hm4c-secret"}
    with ScriptedServer(ok) as server:
        load(hook(server, auth=auth), delivery="batch")
    assert len(server.requests) == 2
    for request in server.requests:
        signature = hmac.new(b"hm4c-secret", request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-signature"] == signature


class Tokens:
    """A token endpoint and a receiver that takes its latest token alone."""

    def __init__(self, *, lives: int = 1000, in_body: bool = False) -> None:
        self.lives = lives
        self.in_body = in_body
        self.issued = 0
        self.uses = 0
        self.forms: list[dict[str, list[str]]] = []
        self._lock = threading.Lock()

    @property
    def latest(self) -> str:
        return f"t0ken-one-{self.issued}"

    def __call__(self, request: Request, number: int) -> Reply:
        if request.path == "/token":
            return self._token(request)
        with self._lock:
            self.uses += 1
            worn_out = self.uses > self.lives * self.issued
        right = request.headers["authorization"] == f"Bearer {self.latest}"
        return Reply(204, b"") if right and not worn_out else Reply(401)

    def _token(self, request: Request) -> Reply:
        form = parse_qs(request.body.decode())
        pair = base64.b64encode(b"me%3A:cl1ent-secret%2B").decode()
        right = request.headers.get("authorization") == f"Basic {pair}"
        if self.in_body:
            right = form.get("client_secret") == ["cl1ent-secret+"]
        if not right:
            return Reply(401, {"error": "invalid_client"})
        self.forms.append(form)
        self.issued += 1
        return Reply(200, {"access_token": self.latest, "expires_in": "3600"})


def oauth2(server: ScriptedServer) -> dict[str, Any]:
    return hook(
        server,
        auth={
            "type": "oauth2",
            "token_url": f"{server.url}/token",
            "client_id": "me:",
            "client_secret": "cl1ent-secret+",
            "scopes": ["write", "read"],
        },
    )


def test_oauth2_keeps_its_token(load: Run) -> None:
    tokens = Tokens()
    with ScriptedServer(tokens) as server:
        outcome = load(oauth2(server), users(19))
        assert len(told(server)) == 19
    assert tokens.forms == [{"grant_type": ["client_credentials"], "scope": ["write read"]}]
    assert outcome.report["response_webhook"]["delivered"] == 19


def test_oauth2_where_the_server_wants_the_credentials_in_the_body(load: Run) -> None:
    with ScriptedServer(Tokens(in_body=True)) as server:
        assert load(oauth2(server)).report["response_webhook"]["delivered"] == 1


def test_oauth2_fetches_a_token_again_where_it_is_refused(load: Run) -> None:
    tokens = Tokens(lives=5)
    with ScriptedServer(tokens) as server:
        outcome = load(oauth2(server), users(6))
    assert tokens.issued == 2
    assert outcome.report["response_webhook"]["delivered"] == 6


def test_oauth2_fetches_a_token_again_only_once(load: Run) -> None:
    tokens = Tokens(lives=0)
    with ScriptedServer(tokens) as server:
        outcome = load(oauth2(server))
    assert tokens.issued == 2
    assert outcome.report["response_webhook"]["reasons"] == {"http_401": 1}


def test_oauth2_with_a_wrong_secret(load: Run) -> None:
    with ScriptedServer(always(Reply(401, {"error": "cl1ent-secret"}))) as server:
        outcome = load(oauth2(server), users(2))
    # Once in a header, once in the body; not again for the second message.
    assert [request.path for request in server.requests] == ["/token"] * 2
    report = outcome.report["response_webhook"]
    assert report == {"delivered": 0, "failed": 2, "reasons": {"token_http_401": 2}}


# Trouble


class FirstAttempt:
    """One of some replies to each message's first attempt, then 200; counts the attempts by `uid`."""

    def __init__(self, replies: list[Reply]) -> None:
        self.attempts: Counter[str] = Counter()
        self.bodies: set[bytes] = set()
        self._replies = iter(replies)
        self._lock = threading.Lock()

    def __call__(self, request: Request, number: int) -> Reply:
        assert request.path == PATH
        with self._lock:
            self.attempts[request.json["uid"]] += 1
            self.bodies.add(request.body)
            again = self.attempts[request.json["uid"]] > 1
            return Reply(200) if again else next(self._replies)


def users(count: int) -> list[str]:
    return [USERS, *(user(n) for n in range(count)), state(at=1)]


ELSEWHERE = {"Location": "/elsewhere"}


def test_what_is_tried_again(load: Run) -> None:
    statuses = [500, 503, 599, 302, 303, 307, 429]
    replies = [Reply(status, b"", ELSEWHERE) for status in statuses]
    script = FirstAttempt([*replies, Reply(fault="reset")])
    with ScriptedServer(script) as server:
        outcome = load(hook(server), users(8))
    assert set(script.attempts.values()) == {2}
    assert len(script.bodies) == 8
    assert outcome.report["response_webhook"] == {"delivered": 8, "failed": 0, "reasons": {}}


def test_what_is_final(load: Run) -> None:
    statuses = [301, 304, 308, 400, 401, 404, 410]
    script = FirstAttempt([Reply(status, b"", ELSEWHERE) for status in statuses])
    with ScriptedServer(script) as server:
        outcome = load(hook(server, auth={"type": "bearer", "token": "t0ken-one"}), users(7))
    assert set(script.attempts.values()) == {1}
    report = outcome.report["response_webhook"]
    assert (report["delivered"], report["failed"]) == (0, 7)
    assert report["reasons"] == {f"http_{status}": 1 for status in statuses}
    assert "7 of 7 responses were not delivered to the response webhook" in outcome.stderr


def test_a_wrongly_authenticated_webhook_is_told_once(load: Run) -> None:
    with ScriptedServer(always(Reply(401))) as server:
        outcome = load(hook(server, auth={"type": "bearer", "token": "t0ken-one"}), users(30))
    assert outcome.stderr.count("at 127.0.0.1 does not take a response (http_401)") == 1
    assert outcome.stderr.count("(http_401: 30)") == 1
    assert outcome.report["response_webhook"]["reasons"] == {"http_401": 30}
    assert outcome.block["streams"]["users"]["delivered"] == 30
    shown = outcome.report["config"]["response_webhook"]
    assert shown["auth"] == {"type": "bearer", "token": "****"}
    assert shown["url"] == f"{server.url}/****"


def test_nobody_there(load: Run) -> None:
    with ScriptedServer(ok) as server:
        url = server.url
    began = time.monotonic()
    outcome = load({"url": f"{url}{PATH}"})
    assert time.monotonic() - began < 12
    assert outcome.block["streams"]["users"]["delivered"] == 1
    report = outcome.report["response_webhook"]
    assert report == {"delivered": 0, "failed": 1, "reasons": {"connection_error": 1}}
    assert outcome.stderr.count("does not take a response (connection_error)") == 1


@pytest.fixture
def hanging() -> Any:
    """A receiver that does not answer before the test is over."""
    over = threading.Event()

    def hang(request: Request, number: int) -> Reply:
        over.wait(60)
        return Reply(200)

    with ScriptedServer(hang) as server:
        yield server
        over.set()


def test_a_receiver_that_hangs_costs_the_grace_and_no_more(load: Run, hanging: ScriptedServer) -> None:
    began = time.monotonic()
    outcome = load(hook(hanging), users(200))
    assert time.monotonic() - began < 15
    assert outcome.block["streams"]["users"]["delivered"] == 200
    report = outcome.report["response_webhook"]
    assert (report["delivered"], report["failed"]) == (0, 200)
    assert report["reasons"].keys() <= {"no_answer", "not_tried", "timeout"}
    assert report["reasons"].get("not_tried", 0) < 200


def test_a_signal_waits_for_a_receiver_still_less(
    hanging: ScriptedServer, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    settings = {
        "api_url": sandbox.url,
        "delivery": "single",
        "batch_size_rows": 1,
        "response_webhook": hook(hanging),
    }
    with Live(config | settings, tmp_path) as live:
        live.feed(*LINES)
        live.wait_for(lambda: live.states)
        began = time.monotonic()
        live.process.send_signal(signal.SIGTERM)
        assert live.end() == 0
        assert time.monotonic() - began < 4
        assert live.block["streams"]["users"]["delivered"] == 1


# The setting


@pytest.mark.parametrize(
    ("webhook", "says"),
    [
        ({"url": "http://hooks.example.com/x"}, "response_webhook.url uses plain http"),
        ({"url": "https://me:pa55-word@example.com/x"}, "response_webhook.url is to be"),
        ({"uri": "https://example.com"}, "response_webhook.uri is not known; did you mean 'url'"),
        (["pa55-word"], "response_webhook is to be an object"),
    ],
)
def test_a_mistake_ends_the_run_before_anything_is_sent(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, webhook: Any, says: str
) -> None:
    outcome = run_target(LINES, api_url=sandbox.url, response_webhook=webhook)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert says in line
    assert "pa55-word" not in outcome.stderr
    assert not [request for request in api.requests() if request["method"] == "POST"]
