"""No secret is in a log, a state, a file, an error or an address; docs/security.md names the tests."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import executable
from tests.conftest import USERS, Outcome, state, user
from tests.running import command
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
PAGE = Path(__file__).parent.parent / "docs" / "security.md"
KEY = "na1.k3y/Secret+"
SECRET = "s3cret/V+lue"
LINES = [USERS, user(1), user(2), state(at=1)]

WEBHOOKS: dict[str, dict[str, Any]] = {
    "basic password": {"auth": {"type": "basic", "username": "me", "password": SECRET}},
    "bearer token": {"auth": {"type": "bearer", "token": SECRET}},
    "api_key in a header": {"auth": {"type": "api_key", "name": "X-Key", "value": SECRET}},
    "api_key in the query": {"auth": {"type": "api_key", "name": "key", "value": SECRET, "in": "query"}},
    "hmac secret": {"auth": {"type": "hmac", "header": "X-Signature", "secret": SECRET}},
    "client secret": {"auth": {"client_secret": SECRET}},
    "access token": {"auth": {}},
    "token_url": {"auth": {"token_url": f"/{SECRET}?key={SECRET}"}},
    "headers": {"headers": {"X-Team": SECRET}},
    "path and query of the url": {"url": f"/{SECRET}?key={SECRET}"},
}
"""Where a secret is in the setting `response_webhook`; a `url` of it is completed with the server's."""

TROUBLES = [Reply(200), Reply(503), Reply(400), Reply(200, fault="reset"), Reply(401), Reply(302)]
"""What the webhook answers with, in turn; each with all that it was sent."""


def webhook(members: dict[str, Any], server: str) -> dict[str, Any]:
    setting = {"url": server} | members
    setting["url"] = server + setting["url"].removeprefix(server)
    if members.get("auth", {"type": ""}).get("type") is None:
        auth = {"type": "oauth2", "client_id": "me", "client_secret": "c-s", "token_url": "/token"}
        auth |= members["auth"]
        setting["auth"] = auth | {"token_url": server + auth["token_url"]}
    return setting


def echoing(reply: Reply, request: Request, **members: Any) -> Reply:
    """The reply, with all that was received in its body and headers."""
    said = {"path": request.path, "message": json.dumps(request.headers), "code": "echoed"} | members
    headers = {"X-Echo": json.dumps(request.headers), "Location": "/elsewhere" + request.path}
    return Reply(reply.status, {**said, **request.headers}, headers, reply.fault)


def look_for(secrets: list[str], *outcomes: Outcome) -> None:
    """In whatever the runs have written."""
    for outcome in outcomes:
        files = [path for path in outcome.output_dir.rglob("*") if path.is_file()]
        written = [path.read_text() for path in files] + [str(path) for path in files]
        for text in (outcome.stdout, outcome.stderr, *written):
            for secret in secrets:
                for form in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]):
                    assert form not in text
                assert secret.replace("/", "\\/") not in text


@pytest.fixture(autouse=True)
def _at_its_most_talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "debug")


@pytest.mark.parametrize("place", WEBHOOKS)
def test_a_secret_of_the_webhook_is_nowhere(run_target: Run, place: str) -> None:
    received: list[str] = []

    def receive(request: Request, number: int) -> Reply:
        received.append(request.path + json.dumps(request.headers) + request.body.decode())
        if request.method == "POST" and b"grant_type" in request.body:
            token = SECRET if place == "access token" else "t0ken"
            return Reply(200, {"access_token": token, "expires_in": 3600})
        return echoing(TROUBLES[number % len(TROUBLES)], request)

    with ScriptedServer(receive) as server, ScriptedServer(lambda *_: Reply(200, {"id": "1"})) as fullstory:
        outcome = run_target(
            [USERS, *(user(n) for n in range(12)), state(at=1)],
            api_url=fullstory.url,
            delivery="single",
            response_webhook=webhook(WEBHOOKS[place], server.url),
        )
        to_the_api = [request.path + json.dumps(request.headers) for request in fullstory.requests]
    assert outcome.code == 0, outcome.stderr
    assert outcome.report["response_webhook"]["delivered"]
    sent = "".join(received)
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    quoted = base64.b64encode(f"me:{quote(SECRET, safe='')}".encode()).decode()
    if place != "hmac secret":  # it signs, and is not sent
        assert any(form in sent for form in (SECRET, quote(SECRET, safe=""), basic, quoted))
    assert SECRET not in "".join(to_the_api)
    look_for([SECRET, basic, quoted], outcome)


@pytest.mark.parametrize("encoding", ["none", "base64"])
@pytest.mark.parametrize("given", ["configuration", "environment"])
def test_the_api_key_is_nowhere(run_target: Run, tmp_path: Path, encoding: str, given: str) -> None:
    """Fullstory, or a proxy, refuses a record, fails, redirects and refuses the key, and echoes all of it."""
    outcomes = []
    replies = [Reply(400), Reply(401), Reply(500), Reply(302), Reply(403), Reply(fault="reset"), Reply(404)]
    for reply in replies if given == "configuration" else replies[:2]:
        with ScriptedServer(lambda request, _: echoing(reply, request), me=True) as server:  # noqa: B023
            if given == "environment":
                data = "".join(f"{line}\n" for line in LINES).encode()
                environment = _environment(server.url, encoding)
                done = executable.fork(["--config", "ENV"], data, directory=tmp_path, environment=environment)
                outcomes.append(Outcome(done.returncode, done.stdout, done.stderr, tmp_path / "output"))
            else:
                settings = {"api_url": server.url, "api_key_encoding": encoding, "retry_max_seconds": 1}
                outcomes.append(run_target(LINES, api_key=KEY, **settings))
            assert server.requests
            assert not any(KEY in request.path for request in server.requests)
    assert {outcome.code for outcome in outcomes} == {1}
    assert any(outcome.rejects for outcome in outcomes)
    look_for([KEY, base64.b64encode(f"{KEY}:".encode()).decode()], *outcomes)


def _environment(url: str, encoding: str) -> dict[str, str]:
    names = {"API_KEY": KEY, "API_URL": url, "API_KEY_ENCODING": encoding, "RETRY_MAX_SECONDS": "1"}
    return {f"TARGET_FULLSTORY_{name}": value for name, value in names.items()} | {
        "TARGET_FULLSTORY_LOGLEVEL": "debug",
        "TARGET_FULLSTORY_OUTPUT_DIR": "output",
    }


def test_the_api_key_is_in_nothing_that_a_command_prints(tmp_path: Path, config: dict[str, Any]) -> None:
    for status in (200, 400, 401, 500):
        reply = Reply(status)
        with ScriptedServer(lambda request, _: echoing(reply, request, role="USER"), me=True) as server:  # noqa: B023
            full = config | {"api_key": KEY, "api_url": server.url, "retry_max_seconds": 0}
            done = command(tmp_path, full, "check", "--send-test")
            assert server.requests
        look_for([KEY], done)


@pytest.mark.parametrize("setting", ["api_kye", "password"])
def test_a_key_under_a_mistyped_name_is_nowhere(run_target: Run, setting: str) -> None:
    with ScriptedServer(lambda *_: Reply(200, {"id": "1"})) as server:
        outcome = run_target(LINES, api_url=server.url, delivery="single", **{setting: SECRET})
    assert outcome.code == 0
    look_for([SECRET], outcome)


def test_the_page_names_tests_that_there_are() -> None:
    """And no place of a secret is missing on it."""
    text = PAGE.read_text()
    named = set(re.findall(r"`(tests/[^`]+\.py::[^`]+)`", text))
    assert len(named) > 10
    files = sorted({name.partition("::")[0] for name in named})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            *files,
        ],
        capture_output=True,
        text=True,
        cwd=PAGE.parent.parent,
        check=False,
    )
    collected = set(done.stdout.splitlines())
    functions = {name.partition("[")[0] for name in collected}
    assert named <= collected | functions, named - collected - functions
    ours = "tests/test_secrets.py::test_a_secret_of_the_webhook_is_nowhere"
    assert {f"{ours}[{place}]" for place in WEBHOOKS} <= collected
    for place in WEBHOOKS:
        assert f"[{place}]" in text, place
