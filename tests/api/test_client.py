"""The HTTP client on a network that misbehaves."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest

from target_fullstory.api.client import Client
from target_fullstory.api.retry import retry_after
from target_fullstory.batching.batch import BatchBody
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.load_settings import load_settings
from tests.scripted import Reply, Request, Script, ScriptedServer

AskedServer = partial(ScriptedServer, me=True)


def client(server: ScriptedServer, **settings: Any) -> Client:
    config = {"api_key": "k3y", "api_url": server.url, "retry_max_seconds": 20} | settings
    return Client(load_settings(config), server.url)


def answers(*replies: Reply) -> Script:
    """One reply after the other, the last one for ever."""
    return lambda _, number: replies[min(number, len(replies) - 1)]


def test_sends_the_key_as_issued_and_names_the_integration() -> None:
    with AskedServer(answers(Reply())) as server:
        assert client(server).call("POST", "/v2/users", b"{}", key="one").ok
        headers = server.requests[0].headers
        assert headers["authorization"] == "Basic k3y"
        assert headers["integration-source"] == "target-fullstory"
        assert headers["idempotency-key"] == "one"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"api_key": "Basic k3y"}, "Basic k3y"),
        ({"api_key": " k3y\n"}, "Basic k3y"),
        ({"api_key_encoding": "base64"}, "Basic azN5Og=="),
    ],
)
def test_accepts_the_forms_in_which_keys_are_pasted(settings: dict[str, str], expected: str) -> None:
    with AskedServer(answers(Reply())) as server:
        client(server, **settings).call("GET", "/me")
        assert server.requests[0].headers["authorization"] == expected


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429, {"code": "too_many_requests"}),
        Reply(500, {"code": "internal"}),
        Reply(502, b"<html>Bad gateway</html>"),
        Reply(503, b""),
        Reply(409, {"code": "conflict"}),
        Reply(fault="reset"),
        Reply(fault="truncate"),
        Reply(200, b"<html>please log in</html>"),
        Reply(200, b'{"id": "cut'),
        Reply(200, b"[]"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.fault or reply.body!r:.20}",
)
def test_tries_again_with_the_same_idempotency_key(trouble: Reply) -> None:
    with AskedServer(answers(trouble, Reply(200, {"id": "7"}))) as server:
        answer = client(server).call("POST", "/v2/users", b"{}", key="same")
        assert answer.data == {"id": "7"}
        assert [request.key for request in server.requests] == ["same", "same"]


def test_a_batch_is_sent_in_parts_and_each_attempt_sends_them_all() -> None:
    items = [b'{"uid":"%d","properties":{"text":"%b"}}' % (n, b"x" * 3_000_000) for n in range(6)]
    with AskedServer(answers(Reply(fault="reset"), Reply(503), Reply())) as server:
        assert client(server).call("POST", "/v2/users/batch", BatchBody(items), key="same").ok
        assert len(server.requests) == 3
        for request in server.requests:
            assert request.body == b'{"requests":[' + b",".join(items) + b"]}"
            assert request.headers["content-length"] == str(len(request.body))
            assert "transfer-encoding" not in request.headers


def test_a_request_that_hangs_is_tried_again() -> None:
    with AskedServer(answers(Reply(delay=3), Reply(200, {"id": "7"}))) as server:
        assert client(server, request_timeout_seconds=0.3).call("POST", "/v2/users", b"{}").ok


def test_an_answer_that_drips_is_tried_again() -> None:
    slow = Reply(200, {"id": "a very slow answer"}, fault="drip")
    with AskedServer(answers(slow, Reply(200, {"id": "7"}))) as server:
        began = time.monotonic()
        assert client(server, request_timeout_seconds=0.5).call("POST", "/v2/users", b"{}").data == {
            "id": "7"
        }
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_honours_retry_after(form: str) -> None:
    def wait() -> str:
        return (
            "2"
            if form == "seconds"
            else format_datetime(datetime.now(timezone.utc) + timedelta(seconds=3), usegmt=True)
        )

    def script(_: Request, number: int) -> Reply:
        return Reply(429, {}, {"Retry-After": wait()}) if number == 0 else Reply()

    with AskedServer(script) as server:
        client(server).call("POST", "/v2/users", b"{}")
        first, second = (request.at for request in server.requests)
        assert second - first >= 1.9


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("-3", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("9" * 30, None),
    ],
)
def test_reads_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_a_kept_500_gets_a_new_key_that_a_replay_would_get_too() -> None:
    """Fullstory may keep a plain 500 for 24 hours: the same key would never succeed."""

    def script(request: Request, _: int) -> Reply:
        if request.key == "event":
            return Reply(500, {"code": "internal", "message": "kept"})
        return Reply()

    keys = []
    for _ in range(2):
        with AskedServer(script) as server:
            client(server).call("POST", "/v2/events", b"{}", key="event")
            keys.append([request.key for request in server.requests])
    assert keys == [["event", "event", "event-1"]] * 2


def test_different_500s_keep_the_key() -> None:
    replies = [Reply(500, {"message": str(n)}) for n in range(3)]
    with AskedServer(answers(*replies, Reply())) as server:
        client(server).call("POST", "/v2/events", b"{}", key="event")
        assert {request.key for request in server.requests} == {"event"}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(401, {"code": "unauthorized"}), "api_key"),
        (Reply(403, {"code": "forbidden"}), "role"),
        (Reply(302, headers={"Location": "http://127.0.0.1:9/"}), "redirect"),
    ],
)
def test_what_no_retry_can_mend_ends_at_once(reply: Reply, says: str) -> None:
    with AskedServer(answers(reply)) as server:
        with pytest.raises(DeliveryError, match=says) as error:
            client(server).call("POST", "/v2/users", b"{}")
        assert len(server.requests) == 1
        assert "k3y" not in str(error.value)


def test_gives_up_after_retry_max_seconds() -> None:
    with AskedServer(answers(Reply(503))) as server:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match="retry_max_seconds"):
            client(server, retry_max_seconds=1).call("POST", "/v2/users", b"{}")
        assert time.monotonic() - began < 10


def test_a_400_is_an_answer() -> None:
    refused = Reply(400, {"code": "required_field", "message": "uid"})
    with AskedServer(answers(refused)) as server:
        answer = client(server).call("POST", "/v2/users", b"{}")
        assert (answer.ok, answer.code, answer.message) == (False, "required_field", "uid")


def test_the_key_is_not_taken_from_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with AskedServer(answers(Reply())) as server:
        client(server).call("GET", "/me")
        assert server.requests[0].headers["authorization"] == "Basic k3y"


def test_a_wait_beyond_the_patience_ends_at_once() -> None:
    with AskedServer(answers(Reply(429, headers={"Retry-After": "3000"}))) as server:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match="retry_max_seconds"):
            client(server).call("POST", "/v2/users", b"{}")
        assert time.monotonic() - began < 5
        assert len(server.requests) == 1


def test_a_key_that_a_proxy_echoes_is_masked() -> None:
    def script(request: Request, _: int) -> Reply:
        said = f"{request.headers['authorization']} is not for me"
        return Reply(400, {"code": said, "message": said})

    with AskedServer(script) as server:
        answer = client(server).call("POST", "/v2/users", b"{}")
        assert "k3y" not in str(answer.data)
        assert answer.code == "http_400"
