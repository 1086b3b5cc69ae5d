"""Answers that are not whole, or that the API does not give: retried, then an error that names the host."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.webhook_settings import WebhookSettings
from target_fullstory.webhook.webhook_delivery import WebhookDelivery
from target_fullstory.webhook.webhook_retry import RetryRules
from tests.conftest import EVENTS, USERS, Outcome, event, record, schema, state, user
from tests.raw_server import RawServer, read_request
from tests.scripted import Reply, ScriptedServer

Run = Callable[..., Outcome]
CUT = gzip.compress(b'{"done": true, "by": "the API"}' * 20)[:-12]
ZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
ODD = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 7\r\n\r\n{}     ",
    "only a status": b"HTTP/1.1 200 OK\r\n",
    "cut in the status": b"HTTP/1.1 200 O",
    "cut in a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut after a header": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    "gzip cut": ZIPPED % (len(CUT), CUT),
    "HTML": b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n\xef\xbb\xbf\n<!DOCTYPE>",
    "HTML by its type": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nLog in",
}
MISSING = b'{"code": "user_not_found", "message": "No such user"}'
UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(MISSING), MISSING)
WHO = b'{"role": "ARCHITECT", "orgId": "o"}'
ME = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(WHO), WHO)
DELETION = [schema("user_deletions", {"uid": "string"}), record("user_deletions", uid="u1"), state(at=1)]
CALLS = {"calls": {"kind": "request", "method": "DELETE", "path": "/v2/things/{id}"}}
CALL = [schema("calls", {"id": "string"}), record("calls", id="7"), state(at=1)]


class Odd(RawServer):
    """Gives an odd answer, the first time or always, and closes the connection; after that says 404."""

    def __init__(self, answer: bytes, times: int = 1) -> None:
        self.asked = 0
        self._answer = answer
        self._times = times
        super().__init__(self._answer_one)

    def _answer_one(self, connection: socket.socket, _: int) -> None:
        request = read_request(connection)
        if request.startswith(b"GET /me "):
            connection.sendall(ME)
        elif request:
            self.asked += 1
            connection.sendall(self._answer if self.asked <= self._times else UNKNOWN)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("lines", [DELETION, CALL], ids=["deletion", "request"])
def test_an_answer_that_is_not_whole_is_none(name: str, lines: list[str], run_target: Run) -> None:
    """The 404 of a deletion counts as delivered only where an attempt before had no clear answer."""
    with Odd(ODD[name]) as server:
        outcome = run_target(lines, api_url=server.url, streams=CALLS)
    assert server.asked == 2
    assert outcome.code == 0, outcome.stderr
    assert outcome.rejects == []
    (counts,) = (stream for stream in outcome.block["streams"].values() if stream["received"])
    assert counts["delivered"] == 1


@pytest.mark.parametrize("name", ["two lengths", "cut in a header", "gzip cut", "HTML"])
def test_nothing_but_such_answers_is_an_error_that_names_the_host(name: str, run_target: Run) -> None:
    with Odd(ODD[name], times=1000) as server:
        outcome = run_target(CALL, api_url=server.url, streams=CALLS, retry_max_seconds=2)
    assert server.asked > 1
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "DELETE of stream 'calls' failed for 2 s (retry_max_seconds): " in line
    assert "127.0.0.1" in line
    assert not outcome.stdout


@pytest.mark.parametrize("name", ["two lengths", "cut in a header"])
def test_the_response_webhook_repeats_them_too(name: str) -> None:
    settings = {"timeout": 5.0, "first_pause": 0.01}
    with Odd(ODD[name], times=1) as server:
        hook = WebhookDelivery(WebhookSettings(url=server.url), "run", RetryRules(**settings))
        hook.on_response("request", {"status": 200})
        assert hook.close(20)["reasons"] == {"http_404": 1}
        assert server.asked == 2


def test_a_redirect_to_nowhere_is_a_redirect() -> None:
    replies = [Reply(302, {}, {"Location": "http://[odd"}), Reply(200)]
    with ScriptedServer(lambda _, number: replies[number]) as server:
        hook = WebhookDelivery(WebhookSettings(url=server.url), "run", RetryRules(first_pause=0.01))
        hook.on_response("request", {"status": 200})
        assert hook.close(20)["delivered"] == 1


# What is whole, but not the API's

ERROR = {"code": "unauthorized", "message": "No"}
PORTAL = {"status": "logged out"}
JOB = {"job": {"id": "j1", "status": "PROCESSING"}}
HOOKS = {"hooks": {"kind": "webhook_endpoints"}}
ENDPOINTS = [schema("hooks", {"action": "string", "url": "string"})]
ENDPOINTS += [record("hooks", action="create", url="https://example.com/"), state(at=1)]
SENSELESS: dict[str, tuple[list[str], str, Any, Any]] = {
    "user without an id": ([USERS, user(1), state(at=1)], "single", PORTAL, {"id": "7", "more": 1}),
    "user with an error": ([USERS, user(1), state(at=1)], "single", ERROR, {"id": "7"} | ERROR),
    "event with an error": ([EVENTS, event(1), state(at=1)], "single", ERROR, {"more": {}}),
    "deletion with an error": (DELETION, "single", ERROR, {}),
    "endpoint without an id": (ENDPOINTS, "single", {}, {"id": "7"}),
    "no job": ([USERS, user(1), state(at=1)], "batch", PORTAL, JOB),
    "job without an id": ([USERS, user(1), state(at=1)], "batch", {"job": {"status": "PROCESSING"}}, JOB),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_what_the_api_does_not_answer_is_no_answer(name: str, run_target: Run) -> None:
    lines, delivery, senseless, right = SENSELESS[name]
    with ScriptedServer(lambda _, number: Reply(200, right if number else senseless)) as server:
        outcome = run_target(lines, api_url=server.url, delivery=delivery, streams=HOOKS, wait_for_jobs=False)
        keys = [request.key for request in server.requests if request.method != "GET"]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert outcome.code == 0, outcome.stderr


@pytest.mark.parametrize("name", SENSELESS)
def test_nothing_else_ends_the_run_and_no_record_counts(name: str, run_target: Run) -> None:
    lines, delivery, senseless, _ = SENSELESS[name]
    with ScriptedServer(lambda *_: Reply(200, senseless)) as server:
        outcome = run_target(
            lines, api_url=server.url, delivery=delivery, streams=HOOKS, retry_max_seconds=0.5
        )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "127.0.0.1 answered 200 with" in line
    assert "cannot be the Server API's answer; check the setting api_url" in line
    assert not outcome.stdout
    assert json.dumps(senseless) not in outcome.stderr


def test_the_last_attempt_ends_with_the_time_for_retries() -> None:
    """It has a second at least; the first attempt has all of its own time."""
    with ScriptedServer(lambda _, number: Reply(200, {}, delay=30 if number else 1.5)) as server:
        settings = {"api_key": "k3y", "api_url": server.url, "retry_max_seconds": 1}
        client = Client(load_settings(settings), server.url)
        assert client.call("POST", "/v2/events", b"{}").ok
        began = time.monotonic()
        with ScriptedServer(lambda _, number: Reply(200, [], delay=30 if number else 0)) as other:
            client = Client(load_settings(settings | {"api_url": other.url}), other.url)
            with pytest.raises(DeliveryError, match="did not answer in time"):
                client.call("POST", "/v2/events", b"{}")
            assert len(other.requests) > 1
    assert time.monotonic() - began < 10
