"""The examples of docs/response-webhook.md, each with a receiver on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ecosystem.project import Project, loader
from tests.ecosystem.test_docs_examples import BLOCKS, Block, load, shape
from tests.scripted import Reply, Request, ScriptedServer

OWN = [block for block in BLOCKS if block.document.name == "response-webhook.md"]
SECRET = "a-secret-of-the-webhook"
USER = [
    {"type": "SCHEMA", "stream": "users", "schema": {"properties": {"uid": {}}}},
    {"type": "RECORD", "stream": "users", "record": {"uid": "user_1", "plan": "team"}},
    {"type": "STATE", "value": {}},
]


def in_language(language: str) -> list[Block]:
    return [block for block in OWN if block.language == language]


def settings(block: Block, receiver: ScriptedServer) -> dict[str, Any]:
    """An example's settings, variables replaced as Meltano does, at a receiver's address."""
    text = re.sub(r"\$\w+", SECRET, block.text)
    text = re.sub(r"https://\w+\.example\.com", receiver.url, text)
    value: dict[str, Any] = yaml.safe_load(text)
    return value


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    """Takes everything, and issues tokens."""

    def answer(request: Request, number: int) -> Reply:
        token = {"access_token": SECRET, "expires_in": 60}
        return Reply(200, token if request.path == "/oauth/token" else {})

    with ScriptedServer(answer) as server:
        yield server


def test_every_example_is_looked_at() -> None:
    assert {block.language for block in OWN} == {"yaml", "json", "python"}


@pytest.mark.parametrize("block", in_language("yaml"), ids=lambda block: str(block.line))
def test_settings(block: Block, receiver: ScriptedServer, tmp_path: Path) -> None:
    config = settings(block, receiver)
    load(tmp_path, config, USER)
    (report,) = tmp_path.glob("output/target-fullstory/run-*.json")
    written = json.loads(report.read_text())
    webhook = config["response_webhook"]
    only_errors = webhook.get("include") == "errors"
    assert written["response_webhook"]["delivered"] == (0 if only_errors else 1)
    assert written["response_webhook"]["failed"] == 0
    assert SECRET not in report.read_text()
    for request in receiver.requests:
        assert (request.method, request.path) == (webhook.get("method", "POST"), "/fullstory")


@pytest.mark.parametrize(
    ("whole", "variable"), [(True, "WEBHOOK_TOKEN"), (False, "TARGET_FULLSTORY_RESPONSE_WEBHOOK_AUTH_TOKEN")]
)
def test_a_secret_in_the_environment_through_meltano(
    receiver: ScriptedServer, tmp_path: Path, whole: bool, variable: str
) -> None:
    block = in_language("yaml")[0]
    text = block.text.replace("https://hooks.example.com", receiver.url)
    config = yaml.safe_load(text if whole else re.sub(r"\n.*token: .*", "", text))
    # Without a pip_url Meltano takes the executable from the path.
    plugin = {k: v for k, v in loader().items() if k != "pip_url"}
    head = {"project_id": "docs", "send_anonymous_usage_stats": False}
    plugins = {"loaders": [{**plugin, "config": config | {"api_url": "sandbox"}}]}
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump({**head, "plugins": plugins}))
    (tmp_path / "input.jsonl").write_text("".join(json.dumps(line) + "\n" for line in USER))
    project = Project(tmp_path)
    done = project.run(
        *("meltano", "invoke", "target-fullstory", "--input", "input.jsonl"), **{variable: SECRET}
    )
    (request,) = receiver.requests
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in done.stdout + done.stderr
    if not whole:
        return
    printed = project.run("meltano", "config", "print", "target-fullstory", **{variable: SECRET})
    assert "response_webhook" in printed.stdout
    assert SECRET not in printed.stdout


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A message of each kind, by event."""
    with ScriptedServer(lambda request, number: Reply()) as server:
        for delivery in ("single", "batch"):
            config = {"response_webhook": {"url": server.url}, "delivery": delivery}
            load(tmp_path_factory.mktemp("messages"), config, USER)
        return {request.json["event"]: request.json for request in server.requests}


@pytest.mark.parametrize("block", in_language("json"), ids=lambda block: str(block.line))
def test_what_is_shown_is_what_is_sent(block: Block, messages: dict[str, Any]) -> None:
    shown = json.loads(block.text)
    if "event" in shown:
        assert shape(shown) == shape(messages[shown["event"]])
        assert list(shown) == list(messages[shown["event"]])


def test_the_report_shown_is_what_is_written(tmp_path: Path) -> None:
    (block,) = (block for block in in_language("json") if "event" not in block.text)
    with ScriptedServer(lambda request, number: Reply(401)) as server:
        load(tmp_path, {"response_webhook": {"url": server.url}}, USER)
    (report,) = tmp_path.glob("output/target-fullstory/run-*.json")
    shown = json.loads(block.text)
    assert json.loads(report.read_text())["response_webhook"] == shown["response_webhook"]


def test_verifying_a_signature(receiver: ScriptedServer, tmp_path: Path) -> None:
    (code,) = in_language("python")
    names: dict[str, Any] = {}
    exec(code.text, names)
    (example,) = (block for block in in_language("yaml") if "type: hmac" in block.text)
    load(tmp_path, settings(example, receiver), USER)
    (request,) = receiver.requests
    signature = request.headers["x-signature"]
    assert names["verify"](request.body, signature, SECRET)
    assert not names["verify"](request.body + b" ", signature, SECRET)
    assert not names["verify"](request.body, signature, "another")
