"""The rules that the response webhook is delivered by, without waiting for hours."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from target_fullstory.settings.webhook_settings import OAuth2Auth, WebhookSettings
from target_fullstory.webhook import webhook_auth
from target_fullstory.webhook.webhook_auth import authentication
from target_fullstory.webhook.webhook_delivery import WebhookDelivery
from target_fullstory.webhook.webhook_queue import WebhookQueue
from target_fullstory.webhook.webhook_retry import RetryRules
from tests.scripted import Reply, Request, Script, ScriptedServer

STREAMS = RetryRules()
QUICK = RetryRules(timeout=0.3, first_pause=0.01, longest_pause=0.02)
ENTRY = {"stream": "users", "kind": "users", "status": 200}


def test_thirty_retries_within_five_hours() -> None:
    assert STREAMS.timeout == 5
    assert STREAMS.allow_retry(30, 5 * 3600)
    assert not STREAMS.allow_retry(31, 0)
    assert not STREAMS.allow_retry(1, 5 * 3600 + 1)


def test_the_pauses_double_up_to_a_quarter_of_an_hour() -> None:
    pauses = [STREAMS.longest_pause_after(attempts) for attempts in range(1, 31)]
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses[-1] == 900
    # Half of each on average: thirty of them fit into five hours.
    assert sum(pauses) / 2 < STREAMS.retry_seconds
    assert STREAMS.longest_pause_after(10_000) == 900


def test_a_load_without_a_webhook_does_not_pay_for_one() -> None:
    code = "import sys, target_fullstory.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()
    assert "target_fullstory.run" in modules
    assert not {name for name in modules if name.startswith("target_fullstory.webhook")}


# The queue


def test_one_that_waits_for_another_attempt_holds_up_none_behind_it() -> None:
    queue = WebhookQueue(10)
    queue.put(b"first")
    first = queue.take()
    assert first is not None
    queue.failed(first, retry_in=3600)
    queue.put(b"second")
    second = queue.take()
    assert second is not None
    assert second.body == b"second"
    queue.delivered(second)
    first.reason = "http_503"
    began = time.monotonic()
    # Its next attempt is beyond the grace: nobody waits for it.
    assert queue.close(60) == {"delivered": 1, "failed": 1, "reasons": {"http_503": 1}}
    assert time.monotonic() - began < 5
    assert queue.take() is None


def test_what_ends_after_the_end_is_not_counted_twice() -> None:
    queue = WebhookQueue(10)
    queue.put(b"slow")
    slow = queue.take()
    assert slow is not None
    counts = {"delivered": 0, "failed": 1, "reasons": {"no_answer": 1}}
    assert queue.close(0) == counts
    queue.delivered(slow)
    queue.put(b"late")
    assert queue.close(0) == counts


# The deliveries


def webhook(server: ScriptedServer, rules: RetryRules, **members: Any) -> WebhookDelivery:
    return WebhookDelivery(WebhookSettings(url=server.url, **members), "run", rules)


def always(*replies: Reply) -> Script:
    return lambda _, number: replies[min(number, len(replies) - 1)]


def test_a_full_queue_drops_and_counts() -> None:
    over = threading.Event()

    def hang(request: Request, number: int) -> Reply:
        over.wait(30)
        return Reply()

    with ScriptedServer(hang) as server:
        hook = webhook(server, RetryRules(room=5))
        began = time.monotonic()
        for _ in range(10_000):
            hook.on_response("request", ENTRY)
        assert time.monotonic() - began < 5
        assert hook.close(0.1) == {
            "delivered": 0,
            "failed": 10_000,
            "reasons": {"queue_full": 9995, "no_answer": 4, "not_tried": 1},
        }
        over.set()


def test_the_retries_have_an_end() -> None:
    with ScriptedServer(always(Reply(503))) as server:
        hook = webhook(server, QUICK)
        hook.on_response("request", ENTRY)
        assert hook.close(30) == {"delivered": 0, "failed": 1, "reasons": {"http_503": 1}}
        assert len(server.requests) == 31


def test_an_attempt_has_a_time_limit() -> None:
    with ScriptedServer(always(Reply(delay=2), Reply())) as server:
        hook = webhook(server, QUICK)
        hook.on_response("request", ENTRY)
        assert hook.close(30)["delivered"] == 1
        assert len(server.requests) == 2


def test_an_answer_that_drips_has_said_all_with_its_status() -> None:
    with ScriptedServer(always(Reply(200, b"x" * 1000, fault="drip"))) as server:
        hook = webhook(server, QUICK)
        hook.on_response("request", ENTRY)
        began = time.monotonic()
        assert hook.close(30)["delivered"] == 1
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(("pause", "attempts"), [("1", 2), ("7200000", 1)])
def test_a_pause_asked_for_is_kept(pause: str, attempts: int) -> None:
    slow_down = Reply(429, {}, {"Retry-After": pause})
    with ScriptedServer(always(slow_down, Reply())) as server:
        hook = webhook(server, QUICK)
        hook.on_response("request", ENTRY)
        assert hook.close(30)["delivered"] == attempts - 1
        times = [request.at for request in server.requests]
    assert len(times) == attempts
    assert times[-1] - times[0] >= attempts - 1


# OAuth 2


def token_for(client: OAuth2Auth, auth: Any) -> str:
    request = auth(requests.Request("POST", client.token_url).prepare())
    return str(request.headers["Authorization"])


@pytest.mark.parametrize(
    ("lifetime", "at", "same"),
    [
        (3600, 3500, True),
        (3600, 3571, False),
        ("100", 89, True),
        ("100", 91, False),
        (None, 10**9, True),
        ("soon", 10**9, True),
        (-1, 10**9, True),
    ],
)
def test_a_token_is_kept_until_shortly_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, lifetime: Any, at: float, same: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr(webhook_auth, "time", SimpleNamespace(monotonic=lambda: now))

    def issue(request: Request, number: int) -> Reply:
        return Reply(200, {"access_token": f"token-{number}", "expires_in": lifetime})

    with ScriptedServer(issue) as server:
        client = OAuth2Auth(token_url=server.url, client_id="me", client_secret="s")
        auth = authentication(client, 5)
        assert token_for(client, auth) == "Bearer token-0"
        now += at
        assert token_for(client, auth) == ("Bearer token-0" if same else "Bearer token-1")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(200, b"<html>"), "token_invalid"),
        (Reply(200, {"access_token": "a\nb"}), "token_invalid"),
        (Reply(200, []), "token_invalid"),
        (Reply(404, {}), "token_http_404"),
        (Reply(503, {}), "token_http_503"),
        (Reply(302, {}, {"Location": "/elsewhere"}), "token_http_302"),
        (Reply(200, b"x" * 70_000), "token_timeout"),
        (Reply(fault="reset"), "token_connection_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_token_to_be_had(reply: Reply, reason: str) -> None:
    with ScriptedServer(always(reply)) as server:
        client = OAuth2Auth(token_url=server.url, client_id="me", client_secret="s")
        hook = webhook(server, RetryRules(first_pause=60), auth=client)
        hook.on_response("request", ENTRY)
        assert hook.close(5)["reasons"] == {reason: 1}
