"""An attempt ends in its time, whatever the other side does; with the API, the webhook and a proxy alike."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError
from target_fullstory.sandbox import Sandbox
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.webhook_settings import OAuth2Auth, WebhookSettings
from target_fullstory.webhook.webhook_delivery import WebhookDelivery
from target_fullstory.webhook.webhook_retry import RetryRules
from tests.conftest import USERS, Outcome, state, user
from tests.raw_server import RawServer, drip, read_request
from tests.scripted import Reply, ScriptedServer

OK = b"HTTP/1.1 200 OK\r\n"
FOR_EVER = 120.0  # seconds: longer than any of these tests may take


def status_line(connection: socket.socket) -> None:
    read_request(connection)
    drip(connection, (bytes([byte]) for byte in OK + b"X" * 1000))


def headers(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK)
    drip(connection, (b"X-%d: y\r\n" % n for n in itertools.count()), pause=0.3)


def body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\n")
    drip(connection, itertools.repeat(b" "))


def body_without_a_length(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK + b"Connection: close\r\n\r\n{}")
    drip(connection, itertools.repeat(b" "))


def chunks(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    drip(connection, itertools.repeat(b"1\r\n \r\n"))


def continues(connection: socket.socket) -> None:
    read_request(connection)
    drip(connection, itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))


def reads_nothing(connection: socket.socket) -> None:
    time.sleep(FOR_EVER)


def reads_slowly(connection: socket.socket) -> None:
    end = time.monotonic() + FOR_EVER
    while time.monotonic() < end:
        connection.recv(1000)
        time.sleep(0.05)


TROUBLES: list[Callable[[socket.socket], None]] = [
    *(status_line, headers, body, body_without_a_length, chunks, continues, reads_nothing, reads_slowly)
]


def client(url: str, directory: Path, **settings: Any) -> Client:
    limits = {"request_timeout_seconds": 0.6, "retry_max_seconds": 0}
    config = {"api_key": "k3y", "api_url": url, "output_dir": str(directory)} | limits | settings
    return Client(load_settings(config), url)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_an_attempt_ends_in_its_time(trouble: Callable[[socket.socket], None], tmp_path: Path) -> None:
    # Where nobody reads, more than the buffers between hold. Elsewhere it would be the sending that ends.
    body = b" " * (20_000_000 if trouble in (reads_nothing, reads_slowly) else 2)
    with RawServer(lambda connection, _: trouble(connection)) as server, within(20):
        calls = client(server.url, tmp_path)
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 did not answer in time") as error:
            calls.call("POST", "/v2/users/batch", body)
    assert str(server.port) not in str(error.value)


def test_a_tls_handshake_that_does_not_go_on_ends(tmp_path: Path) -> None:
    with RawServer(lambda connection, _: reads_slowly(connection)) as server, within(60):
        calls = client(server.url.replace("http", "https"), tmp_path)
        with pytest.raises(DeliveryError, match="did not answer in time"):
            calls.call("GET", "/me")


@pytest.mark.parametrize("trouble", [status_line, headers, reads_nothing], ids=lambda one: one.__name__)
def test_behind_a_proxy_as_well(
    trouble: Callable[[socket.socket], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(lambda connection, _: trouble(connection)) as proxy, within(20):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pr0xy-pass@127.0.0.1:{proxy.port}")
        with pytest.raises(DeliveryError, match="did not answer in time") as error:
            client("https://api.fullstory.example", tmp_path).call("GET", "/me")
        assert proxy.connections == 1
    assert "pr0xy-pass" not in str(error.value)


def test_a_connection_that_was_open_is_bounded_too(tmp_path: Path) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        if number == 0:
            read_request(connection)
            connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")
            continues(connection)
        read_request(connection)
        connection.sendall(OK + b'Content-Length: 10\r\n\r\n{"id":"7"}')

    with RawServer(serve) as server, within(60):
        calls = client(server.url, tmp_path, retry_max_seconds=20)
        assert calls.call("GET", "/me").data == {}
        # Over the same connection, then over one of its own.
        assert calls.call("GET", "/me").data == {"id": "7"}
        assert server.connections == 2


def test_what_others_send_meanwhile_goes_on(tmp_path: Path) -> None:
    """A connection is shut down for its own attempt alone; a number is used again for another at once."""

    def serve(connection: socket.socket, number: int) -> None:
        if number % 3 == 0:
            continues(connection)
        while read_request(connection):
            time.sleep(0.01)
            connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with RawServer(serve) as server, within(30), ThreadPoolExecutor(6) as threads:
        calls = client(server.url, tmp_path, retry_max_seconds=20, request_timeout_seconds=0.3, concurrency=6)
        answers = list(threads.map(lambda _: calls.call("GET", "/me").ok, range(600)))
        assert answers == [True] * 600


def test_a_load_ends_with_one_line_that_names_the_host(run_target: Callable[..., Outcome]) -> None:
    with RawServer(lambda connection, _: headers(connection)) as server, within(60):
        outcome = run_target(
            [USERS, user(1), state(at=1)],
            api_url=server.url,
            request_timeout_seconds=0.5,
            retry_max_seconds=1,
        )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "127.0.0.1 did not answer in time" in line
    assert "checkpointed" in line
    assert str(server.port) not in line


@pytest.mark.parametrize("trouble", [status_line, headers, continues], ids=lambda one: one.__name__)
def test_the_webhook_and_its_token_are_bounded(trouble: Callable[[socket.socket], None]) -> None:
    rules = RetryRules(timeout=0.3, retries=1, first_pause=0.01)
    with RawServer(lambda connection, _: trouble(connection)) as server, within(30):
        auth = OAuth2Auth(token_url=server.url, client_id="me", client_secret="s")
        for settings, reason in (
            (WebhookSettings(url=server.url), "timeout"),
            (WebhookSettings(url=server.url, auth=auth), "token_timeout"),
        ):
            hook = WebhookDelivery(settings, "run", rules)
            hook.on_response("request", {"status": 200})
            assert hook.close(4)["reasons"] == {reason: 1}
        assert server.connections == 4


def test_a_webhook_that_drips_does_not_hold_up_a_load(
    run_target: Callable[..., Outcome], sandbox: Sandbox
) -> None:
    with RawServer(lambda connection, _: continues(connection)) as server, within(60):
        outcome = run_target(
            [USERS, user(1), state(at=1)], api_url=sandbox.url, response_webhook={"url": f"{server.url}/p4th"}
        )
    assert outcome.code == 0
    assert "p4th" not in outcome.stderr


def test_one_thread_watches_over_all_attempts(tmp_path: Path) -> None:
    with ScriptedServer(lambda *_: Reply()) as server:
        calls = client(server.url, tmp_path)
        for _ in range(20):
            calls.call("GET", "/me")
    assert [thread.name for thread in threading.enumerate()].count("time-limits") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_watches_over_its_own(tmp_path: Path) -> None:
    """The watching thread is not there after a fork."""
    with ScriptedServer(lambda *_: Reply()) as server:
        client(server.url, tmp_path).call("GET", "/me")
    with RawServer(lambda connection, _: status_line(connection)) as drips, within(30):
        child = multiprocessing.get_context("fork").Process(target=_call, args=(drips.url, tmp_path))
        child.start()
        child.join(20)
        assert child.exitcode == 7


def _call(url: str, directory: Path) -> None:
    try:
        client(url, directory).call("GET", "/me")
    except DeliveryError as error:
        os._exit(7 if "did not answer in time" in str(error) else 1)
