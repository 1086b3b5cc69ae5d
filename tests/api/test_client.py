"""The HTTP client on a network that misbehaves."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.api import retry
from target_fullstory.api.client import Client
from target_fullstory.api.renewed_keys import RenewedKeys
from target_fullstory.api.retry import retry_after
from target_fullstory.batching.batch import BatchBody
from target_fullstory.errors import DeliveryError
from target_fullstory.settings.load_settings import load_settings
from tests.scripted import Reply, Request, Script, ScriptedServer

AskedServer = partial(ScriptedServer, me=True)


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed keys are written down in `output_dir`."""
    monkeypatch.chdir(tmp_path)


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
        ("nan", None),
        ("2.5", 2.5),
        ("1e9", 1e9),
        ("inf", 1e10),
        ("9" * 30, 1e10),
        ("9" * 1000, 1e10),
    ],
)
def test_reads_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after({} if header is None else {"Retry-After": header}) == seconds


@pytest.mark.parametrize("hours", [-48, 0, 48])
def test_a_date_is_held_against_the_date_of_the_answer(hours: int) -> None:
    """This machine's clock may be wrong, by days."""
    then = datetime.now(timezone.utc) + timedelta(hours=hours)
    dates = [format_datetime(then + timedelta(seconds=seconds), usegmt=True) for seconds in (0, 7)]
    assert retry_after({"Date": dates[0], "Retry-After": dates[1]}) == 7


KEPT = Reply(500, {"code": "internal", "message": "kept"})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a second to tell a kept 500 from trouble that passes."""
    monkeypatch.setattr(retry, "KEPT_500_SECONDS", 0.5)


@pytest.mark.usefixtures("quick")
def test_a_kept_500_gets_a_new_key() -> None:
    """Fullstory may keep a plain 500 for 24 hours: the same key would never succeed."""

    def script(request: Request, _: int) -> Reply:
        return KEPT if request.key == "event" else Reply()

    with AskedServer(script) as server:
        client(server).call("POST", "/v2/events", b"{}", key="event")
        assert [request.key for request in server.requests] == ["event"] * 5 + ["event-1"]
        assert server.requests[4].at - server.requests[0].at >= 0.5


def test_a_new_key_is_taken_after_ten_seconds_and_soon_after() -> None:
    def script(request: Request, _: int) -> Reply:
        return KEPT if request.key == "event" else Reply()

    with AskedServer(script) as server:
        client(server).call("POST", "/v2/events", b"{}", key="event")
        times = [request.at for request in server.requests if request.key == "event"]
    assert len(times) >= 5
    assert 10 <= times[-1] - times[0] < 15


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "between",
    [
        Reply(200, {"id": "7"}, fault="truncate"),
        Reply(200, {"id": "7"}, fault="reset"),
        Reply(200, b"<html>"),
        Reply(200, {"id": "7"}, delay=1.0),
        Reply(500, {"code": "another"}),
        Reply(503, b"", {"Retry-After": "0"}),
        Reply(429, {}, {"Retry-After": "0"}),
        Reply(409, {}),
        Reply(502, b""),
        Reply(408, b""),
    ],
    ids=lambda reply: f"{reply.status}-{reply.fault or reply.body!r:.20}-{reply.delay}",
)
def test_any_other_outcome_shows_that_no_500_is_kept(between: Reply) -> None:
    """A kept one would have been answered then, too; so the request may have been carried out."""
    replies = [KEPT] * 4 + [between] + [KEPT] * 4
    with AskedServer(answers(*replies, Reply())) as server:
        client(server, request_timeout_seconds=0.5).call("POST", "/v2/events", b"{}", key="event")
        assert [request.key for request in server.requests] == ["event"] * 10


@pytest.mark.usefixtures("quick")
def test_a_replay_begins_with_the_key_that_was_used_last(tmp_path: Path) -> None:
    """The 500s were an outage, and nothing is kept: under the first key the event would be there twice."""
    taken: list[str | None] = []
    outage = True

    def script(request: Request, _: int) -> Reply:
        if request.key not in taken:
            if outage and request.key == "event":
                return KEPT
            taken.append(request.key)
        return Reply()

    with AskedServer(script) as server:
        client(server).call("POST", "/v2/events", b"{}", key="event")
        # The run is killed now, and the next one begins.
        outage = False
        client(server).call("POST", "/v2/events", b"{}", key="event")
    assert taken == ["event-1"]
    (file,) = (tmp_path / "output").rglob("renewed-keys.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("quick")
def test_a_new_key_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    noted: list[bool] = []

    def script(request: Request, _: int) -> Reply:
        if request.key == "event":
            return KEPT
        noted.append(any((tmp_path / "output").rglob("renewed-keys.jsonl")))
        return Reply()

    with AskedServer(script) as server:
        client(server).call("POST", "/v2/events", b"{}", key="event")
    assert noted == [True]


def test_what_is_known_of_renewed_keys_is_forgotten_after_a_day(tmp_path: Path) -> None:
    keys = RenewedKeys(str(tmp_path / "new"))
    keys.note("one", 1)
    keys.note("one", 2)
    path = tmp_path / "new" / "renewed-keys.jsonl"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with path.open("ab") as file:
        file.write(b'{"key":"cut o')
    RenewedKeys(str(path.parent)).note("two", 1)
    assert [RenewedKeys(str(path.parent)).count(key) for key in ("one", "two", "three")] == [2, 1, 0]
    yesterday = time.time() - 25 * 3600
    os.utime(path, (yesterday, yesterday))
    assert RenewedKeys(str(path.parent)).count("one") == 0
    assert not path.exists()


def test_renewed_keys_that_cannot_be_written_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    RenewedKeys(str(tmp_path / "file")).note("one", 1)
    assert "renewed-keys.jsonl cannot be written" in caplog.text


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


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(
    ("asked", "told"),
    [("3000", "wait 3000 s"), ("1e9", "wait 1000000000 s"), ("9" * 40, "wait 10000000000 s")],
)
def test_a_wait_beyond_the_patience_ends_at_once(status: int, asked: str, told: str) -> None:
    with AskedServer(answers(Reply(status, headers={"Retry-After": asked}))) as server:
        began = time.monotonic()
        with pytest.raises(DeliveryError, match="retry_max_seconds") as error:
            client(server).call("POST", "/v2/users", b"{}")
        assert time.monotonic() - began < 5
        assert len(server.requests) == 1
    assert told in str(error.value)


@pytest.mark.parametrize("asked", ["-3", "nan", "soon", "", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_a_wait_that_makes_no_sense_is_passed_over(asked: str) -> None:
    with AskedServer(answers(Reply(429, headers={"Retry-After": asked}), Reply())) as server:
        began = time.monotonic()
        assert client(server).call("POST", "/v2/users", b"{}").ok
        assert time.monotonic() - began < 5


def test_a_key_that_a_proxy_echoes_is_masked() -> None:
    def script(request: Request, _: int) -> Reply:
        said = f"{request.headers['authorization']} is not for me"
        return Reply(400, {"code": said, "message": said})

    with AskedServer(script) as server:
        answer = client(server).call("POST", "/v2/users", b"{}")
        assert "k3y" not in str(answer.data)
        assert answer.code == "http_400"
