"""The log: one line for each message, whatever a library or a tap puts in, and at any level."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory import logs
from target_fullstory.api.client import Client
from target_fullstory.sandbox import Sandbox
from target_fullstory.settings.model import Settings
from tests.conftest import KEY, USERS, Outcome, SandboxApi, record, schema, state, user
from tests.raw_server import RawServer, read_request

Run = Callable[..., Outcome]
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} +\| (DEBUG|INFO|WARNING|ERROR) +\| \S.* \| .*")
MALFORMED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nthis is no header\r\n%b\r\n\r\n" + b'{"id":"7"}'
SECRETS = (KEY, "k3y-value", "t0ken-one", "p4th-secret", "jane.doe")


@pytest.fixture(params=["info", "debug"])
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both levels that are in use."""
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", request.param)
    return str(request.param)


def check(stderr: str) -> None:
    """Each line is one of ours, and holds no secret."""
    for line in stderr.splitlines():
        assert LINE.fullmatch(line), line
    for secret in (*SECRETS, "\x1b", "\u202e"):
        assert secret not in stderr
    assert "Traceback" not in stderr
    assert "urllib3" not in stderr


def levels(stderr: str) -> list[str]:
    """The levels of the lines, where they stand."""
    return [found[1] for line in stderr.splitlines() if (found := LINE.fullmatch(line))]


def malformed(connection: socket.socket, _: int) -> None:
    """Answer with a malformed header, behind it what was received."""
    while head := read_request(connection).partition(b"\r\n\r\n")[0]:
        connection.sendall(MALFORMED % head.replace(b"\r\n", b"\r\nX-Echo-"))


@pytest.mark.usefixtures("level")
def test_malformed_headers_of_the_api_are_in_no_log(run_target: Run) -> None:
    deletions = {"gone": {"kind": "user_deletions"}}
    with RawServer(malformed) as server:
        outcome = run_target(
            [
                *(USERS, user(1), state(at=1)),
                *(schema("gone", {"uid": "string"}), record("gone", uid="jane.doe@example.com"), state(at=2)),
            ],
            api_url=server.url,
            streams={"users": {"kind": "users"}} | deletions,
            delivery="single",
        )
        assert server.connections
    assert outcome.code == 0, outcome.stderr
    check(outcome.stderr)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(
    "auth",
    [
        {"type": "api_key", "name": "key", "value": "k3y-value", "in": "query"},
        {"type": "bearer", "token": "t0ken-one"},
    ],
    ids=["query", "bearer"],
)
def test_malformed_headers_of_the_webhook_are_in_no_log(
    run_target: Run, sandbox: Sandbox, auth: dict[str, Any]
) -> None:
    with RawServer(malformed) as server:
        outcome = run_target(
            [USERS, user(1), state(at=1)],
            api_url=sandbox.url,
            response_webhook={"url": f"{server.url}/p4th-secret", "auth": auth},
        )
        assert server.connections
    assert outcome.report["response_webhook"]["delivered"] == 1
    check(outcome.stderr)


def test_nor_where_the_target_is_used_from_python(caplog: pytest.LogCaptureFixture) -> None:
    """There, the program's own handlers get what urllib3 says; nobody guards them."""
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    with RawServer(malformed) as server:
        client = Client(Settings(api_key=KEY, api_url=server.url), server.url)
        assert client.call("DELETE", "/v2/users", params={"uid": "jane.doe"}).ok
        client.close()
    assert caplog.records == []


FORGED = "\n2026-01-01 00:00:00,000 | ERROR    | target-fullstory | All is lost\r\x1b[2J\u2028\u202e\x85"


@pytest.mark.usefixtures("level")
def test_a_streams_name_forges_no_line(run_target: Run, sandbox: Sandbox) -> None:
    name = f"people{FORGED}"
    outcome = run_target(
        [schema(name, {"uid": "string"}), record(name, uid="u1"), record(name), state(at=1)],
        api_url=sandbox.url,
        streams={"people*": {"kind": "users", "fields": {"uid": "uid"}}},
    )
    assert outcome.code == 1
    check(outcome.stderr)
    assert levels(outcome.stderr).count("ERROR") == 1
    assert r"people\n2026-01-01" in outcome.stderr


@pytest.mark.parametrize("unmapped", ["error", "ignore"])
def test_nor_in_an_error(run_target: Run, sandbox: Sandbox, unmapped: str) -> None:
    name = f"people{FORGED}"
    outcome = run_target(
        [schema(name, {"uid": "string"}), record(f"{name}2", uid="u1")],
        api_url=sandbox.url,
        streams={"orders": {"kind": "events"}},
        unmapped_streams=unmapped,
    )
    check(outcome.stderr)
    assert levels(outcome.stderr).count("ERROR") == 1


def test_debugging_tells_how_a_stream_is_mapped(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "debug")
    lines = [USERS, user(1, email="jane.doe@example.com"), state(at=1)]
    outcome = run_target(lines, api_url=sandbox.url, stream_maps={"users": {"seats": "1"}})
    assert outcome.code == 0
    assert api.user("u1")["email"] == "jane.doe@example.com"
    check(outcome.stderr)
    assert outcome.stderr.count("Stream users is mapped by") > 3


def test_with_handlers_of_ones_own(run_target: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `SINGER_SDK_LOG_CONFIG` sets them up: as JSON, into a file, at any logger."""
    log, config = tmp_path / "log.jsonl", tmp_path / "logging.yaml"
    handler = {"class": "logging.FileHandler", "filename": str(log), "formatter": "json"}
    config.write_text(
        json.dumps(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"json": {"()": "singer_sdk.logging.StructuredFormatter"}},
                "handlers": {"file": handler},
                "loggers": {"urllib3": {"level": "DEBUG", "handlers": ["file"]}},
                "root": {"level": "DEBUG", "handlers": ["file"]},
            }
        )
    )
    monkeypatch.setenv("SINGER_SDK_LOG_CONFIG", str(config))
    with RawServer(malformed) as server:
        outcome = run_target([USERS, user(1), state(at=1)], api_url=server.url, delivery="single")
    assert outcome.code == 0, outcome.stderr
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["logger_name"].partition(".")[0] for line in found} <= {"target-fullstory", "singer_sdk"}
    for secret in (KEY, "traceback", "X-Echo"):
        assert secret not in log.read_text()


# The filter itself


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler behind the filter; the lines that came through."""
    for module, hook in ((threading, "excepthook"), (sys, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    path = tmp_path / "log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logs.guard_logs()
    yield lambda: path.read_text().splitlines()
    root.setLevel(before)
    root.removeHandler(handler)
    logging.captureWarnings(capture=False)
    for other in root.handlers:
        other.filters.clear()


@pytest.mark.parametrize(
    "library",
    [
        *("urllib3.connection", "requests", "charset_normalizer", "fsspec", "asyncio", "uvicorn.access"),
        *("singer_sdk", "singer_sdk.singerlib.encoding.simple", "py.warnings", "concurrent.futures", "any"),
    ],
)
def test_no_library_is_heard(guarded: Callable[[], list[str]], library: str) -> None:
    logging.getLogger(library).critical("https://example.com/?key=k3y", exc_info=ValueError("k3y"))
    assert guarded() == []


def test_values_of_stream_maps_are_not_heard(guarded: Callable[[], list[str]]) -> None:
    logging.getLogger("singer_sdk.mapper").debug("Stream eval result: jane.doe")
    logging.getLogger("singer_sdk.mapper").info("Set null transform as default for '%s'", "a\nb")
    assert guarded() == [r"singer_sdk.mapper Set null transform as default for 'a\nb'"]


def test_an_error_is_told_by_its_kind_and_place(guarded: Callable[[], list[str]]) -> None:
    try:
        int("jane.doe")
    except ValueError:
        logs.logger.debug("Unexpected", exc_info=True)
    (line,) = guarded()
    assert re.fullmatch(r"target-fullstory Unexpected \| ValueError test_logs\.py:\d+", line)


def test_what_nobody_catches_is_told_by_its_kind_and_place(
    guarded: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Thread(target=int, args=("jane.doe",))
    thread.start()
    thread.join()
    try:
        int("jane.doe")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)

    class Odd:
        def __del__(self) -> None:
            raise ValueError("jane.doe")

    Odd()
    in_a_thread, in_main, ignored = guarded()
    told = r"target-fullstory An unexpected error \(ValueError\); please report this \| ValueError .*\.py:\d+"
    assert re.fullmatch(told, in_a_thread)
    assert re.fullmatch(told, in_main)
    assert re.fullmatch(r"target-fullstory An error was ignored \| ValueError test_logs\.py:\d+", ignored)
    assert capsys.readouterr().err == ""


def test_an_error_of_the_sandbox_is_heard_without_its_text(guarded: Callable[[], list[str]]) -> None:
    logging.getLogger("uvicorn.error").error(
        "Exception in ASGI application\n", exc_info=ValueError("jane.doe")
    )
    assert guarded() == [r"uvicorn.error Exception in ASGI application\n | ValueError"]


def test_a_metric_keeps_its_arguments(guarded: Callable[[], list[str]]) -> None:
    seen: list[Any] = []
    logging.getLogger().handlers[-1].addFilter(lambda record: bool(seen.append(record.args)) or True)
    logging.getLogger("singer_sdk.metrics").info("METRIC: %s", {"stream": "a"})
    assert seen == [{"stream": "a"}]
    assert guarded() == ["singer_sdk.metrics METRIC: {'stream': 'a'}"]
