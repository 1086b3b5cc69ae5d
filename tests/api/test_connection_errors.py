"""Where no connection comes about: what is told, and how soon."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.webhook_settings import WebhookSettings
from target_fullstory.webhook.webhook_delivery import WebhookDelivery
from target_fullstory.webhook.webhook_retry import RetryRules
from tests.conftest import USERS, Outcome, state, user
from tests.raw_server import RawServer, read_request
from tests.running import check_refused, command
from tests.scripted import Reply, ScriptedServer

SELF_SIGNED = Path(__file__).with_name("self_signed.pem")
Serve = Callable[[socket.socket, int], None]
LINES = [USERS, user(1), state(at=1)]


def client(url: str, **settings: Any) -> Client:
    config = {"api_key": "k3y", "api_url": url, "retry_max_seconds": 30} | settings
    return Client(load_settings(config), url)


def with_a_certificate(connection: socket.socket, _: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    context.wrap_socket(connection, server_side=True).close()


def with_an_old_tls(connection: socket.socket, _: int) -> None:
    connection.recv(4096)
    # The alert `protocol version`.
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


def without_tls(connection: socket.socket, _: int) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (with_a_certificate, r"127\.0\.0\.1 has a certificate that is refused: self.signed certificate"),
        (with_an_old_tls, r"127\.0\.0\.1 and this machine agree on no TLS \(TLSV1_ALERT_PROTOCOL_VERSION\)"),
        (
            without_tls,
            r"agree on no TLS \((WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE)\); does it speak https",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_tls_that_fails_is_told_after_three_tries(serve: Serve, says: str) -> None:
    with RawServer(serve) as server:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match=says) as error:
            client(server.url.replace("http", "https")).call("GET", "/me")
        assert time.monotonic() - began < 20
        assert server.connections == 3
    assert "Check the setting api_url" in str(error.value)
    assert "k3y" not in str(error.value)


def close(connection: socket.socket) -> None:
    connection.recv(4096)


def reset(connection: socket.socket) -> None:
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("trouble", [close, reset], ids=lambda one: one.__name__)
def test_tls_that_is_cut_off_may_do_better_next_time(trouble: Callable[[socket.socket], None]) -> None:
    with RawServer(lambda connection, _: trouble(connection)) as server:
        with pytest.raises(DeliveryError, match="the connection"):
            client(server.url.replace("http", "https"), retry_max_seconds=5).call("GET", "/me")
        assert server.connections > 3


def test_tls_that_failed_now_and_then_is_no_reason_to_end() -> None:
    """Three in a row are."""

    def serve(connection: socket.socket, number: int) -> None:
        (close(connection) if number == 2 else without_tls(connection, number))

    with RawServer(serve) as server:
        with pytest.raises(DeliveryError, match="agree on no TLS"):
            client(server.url.replace("http", "https")).call("GET", "/me")
        assert server.connections == 6


def test_a_webhook_whose_certificate_is_refused_is_named_so() -> None:
    with RawServer(with_a_certificate) as server:
        settings = WebhookSettings(url=server.url.replace("http", "https"))
        hook = WebhookDelivery(settings, "run", RetryRules(retries=0))
        hook.on_response("request", {"status": 200})
        assert hook.close(10)["reasons"] == {"tls_error": 1}


def nobody() -> str:
    with ScriptedServer(lambda *_: Reply()) as server:
        return server.url


def test_a_load_names_the_host(run_target: Callable[..., Outcome]) -> None:
    outcome = run_target(LINES, api_url=f"{nobody()}/t0ken", retry_max_seconds=1)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "127.0.0.1 refuses the connection" in line
    assert "checkpointed" in line
    assert "t0ken" not in outcome.stderr


def test_commands_that_load_nothing_do_not_speak_of_checkpoints(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    jobs = {"target_fullstory": {"run_id": "r", "jobs": [{"id": "a", "kind": "users", "stream": "users"}]}}
    state_path = tmp_path / "state.json"
    state_path.write_text(str(jobs).replace("'", '"'))
    config |= {"api_url": nobody(), "retry_max_seconds": 0.5}
    for arguments in (["check"], ["jobs", "--state", str(state_path)]):
        done = command(tmp_path, config, *arguments)
        check_refused(done, "127.0.0.1 refuses the connection", "Try again when Fullstory answers")
        assert "checkpoint" not in done.stderr


def test_a_proxy_that_refuses_is_named_without_its_password(
    run_target: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: socket.socket, _: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 407 me:pr0xy-pass, who is that?\r\n\r\n")

    with RawServer(refuse) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pr0xy-pass@127.0.0.1:{proxy.port}")
        outcome = run_target(LINES, api_url="https://api.fullstory.example", retry_max_seconds=1)
    (line,) = outcome.error_lines
    assert "the proxy of the environment, on the way to api.fullstory.example, opened no tunnel (407)" in line
    assert "pr0xy-pass" not in outcome.stderr


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:port", "socks5://127.0.0.1:1", "http://"])
def test_a_proxy_that_cannot_be_is_one_line(
    run_target: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    outcome = run_target(LINES, api_url="https://api.fullstory.example", retry_max_seconds=1)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "Check the setting api_url, and HTTPS_PROXY" in line


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "this is no certificate"])
def test_certificates_that_are_not_there_are_an_error_of_configuration(
    run_target: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    content: str | None,
) -> None:
    path = tmp_path / "bundle.pem"
    if content:
        path.write_text(content)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(path))
    outcome = run_target(LINES, api_url="https://api.fullstory.example")
    assert outcome.code == 1
    assert outcome.stdout == ""
    (line,) = outcome.error_lines
    assert f"The environment's {variable} names no usable file of CA certificates ({path}" in line


def test_certificates_of_ones_own_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    assert client("https://api.fullstory.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED.parent))
    assert client("https://api.fullstory.example")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_variable_that_requests_does_not_heed_changes_nothing(
    run_target: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with RawServer(with_a_certificate) as server:
        monkeypatch.setenv(variable, "/nowhere")
        outcome = run_target(LINES, api_url=server.url.replace("http", "https"))
    (line,) = outcome.error_lines
    assert "127.0.0.1 has a certificate that is refused" in line


@pytest.mark.parametrize("key", ["eu1.abcdef", "Basic eu1.abcdef", "na1.abcdef", "abcdef"])
@pytest.mark.parametrize("url", ["https://api.fullstory.com", "https://api.eu1.fullstory.com"])
def test_a_key_of_the_eu_gets_one_line_of_advice(
    run_target: Callable[..., Outcome],
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    url: str,
) -> None:
    # Nothing leaves this machine.
    monkeypatch.setenv("HTTPS_PROXY", nobody())
    settings = {"api_key": key, "api_url": url, "retry_max_seconds": 0}
    told = int("eu1." in key and url == "https://api.fullstory.com")
    load = run_target(LINES, **settings)
    check = command(tmp_path, config | settings, "check")
    for outcome in (load, check):
        assert outcome.stderr.count("set api_url to https://api.eu1.fullstory.com") == told
        assert "abcdef" not in outcome.stderr
