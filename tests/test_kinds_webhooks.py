"""Kind `webhook_endpoints`: create, update and delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import Outcome, record, schema, state
from tests.scripted import Reply, Request, ScriptedServer

HOOKS = schema(
    "hooks",
    {
        "action": "string",
        "id": "string",
        "url": "string",
        "event_types": {},
        "secret": "string",
        "disabled": "boolean",
    },
)
STREAMS = {"hooks": {"kind": "webhook_endpoints"}}
SECRET = 's3cr"et-0123456789'
URL = "https://hooks.example.com/a"


def hook(action: Any, **columns: Any) -> str:
    return record("hooks", action=action, **columns)


def architect(script: Callable[[Request], Reply]) -> Callable[[Request, int], Reply]:
    answer = Reply(200, {"email": "a@b.c", "orgId": "O", "role": "ARCHITECT"})
    return lambda request, _: answer if request.path == "/me" else script(request)


def calls(server: ScriptedServer) -> list[Request]:
    return [one for one in server.requests if one.path != "/me"]


def responses(outcome: Outcome) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = outcome.block["responses"]
    return found


def test_the_life_of_an_endpoint(sandbox: Sandbox, run_target: Callable[..., Outcome]) -> None:
    def run(*lines: str) -> dict[str, Any]:
        outcome = run_target([HOOKS, *lines, state(done=True)], api_url=sandbox.url, streams=STREAMS)
        assert outcome.code == 0, outcome.stderr
        (response,) = responses(outcome)
        return response

    created = run(hook("create", url=URL, event_types=["note.created"], secret=SECRET))
    first = created.pop("id")
    assert created == {"stream": "hooks", "kind": "webhook_endpoints", "status": 200, "action": "create"}
    same = run(hook("update", id=first, disabled=True))
    assert (same["id"], "previous_id" in same) == (first, False)
    moved = run(hook("update", id=first, url=f"{URL}/b"))
    assert moved["previous_id"] == first != moved["id"]
    deleted = run(hook("delete", id=moved["id"]))
    assert (deleted["action"], deleted["id"], deleted["status"]) == ("delete", moved["id"], 200)


def test_a_new_id_is_told(sandbox: Sandbox, run_target: Callable[..., Outcome]) -> None:
    settings: dict[str, Any] = {"api_url": sandbox.url, "streams": STREAMS}
    made = hook("create", url=URL, event_types=["note.created"])
    (created,) = responses(run_target([HOOKS, made, state(at=1)], **settings))
    moved = run_target([HOOKS, hook("update", id=created["id"], url=f"{URL}/b"), state(at=2)], **settings)
    (response,) = responses(moved)
    (line,) = (line for line in moved.stderr.splitlines() if created["id"] in line)
    assert response["id"] in line
    assert "INFO" in line


@pytest.mark.parametrize(
    ("columns", "method", "path", "body"),
    [
        (
            {"action": "Create", "url": URL, "event_types": '["note.created"]', "id": "ignored"},
            "POST",
            "/webhooks/v1/endpoints",
            {"url": URL, "event_types": [{"event_name": "note.created"}]},
        ),
        (
            {
                "action": "update",
                "id": "a?b c",
                "event_types": [{"event_name": "segment.trend.alert", "subcategory": "x"}],
                "disabled": False,
                "secret": SECRET,
                "url": None,
            },
            "POST",
            "/webhooks/v1/endpoints/a%3Fb%20c",
            {
                "event_types": [{"event_name": "segment.trend.alert", "subcategory": "x"}],
                "secret": SECRET,
                "disabled": False,
            },
        ),
        ({"action": "update", "id": "e1"}, "POST", "/webhooks/v1/endpoints/e1", {}),
        ({"action": "delete", "id": "e1", "url": URL}, "DELETE", "/webhooks/v1/endpoints/e1", None),
    ],
)
def test_what_is_sent(
    columns: dict[str, Any], method: str, path: str, body: Any, run_target: Callable[..., Outcome]
) -> None:
    with ScriptedServer(architect(lambda _: Reply(200, {"id": "e1"}))) as server:
        outcome = run_target(
            [HOOKS, record("hooks", **columns), state(done=True)], api_url=server.url, streams=STREAMS
        )
    assert outcome.code == 0, outcome.stderr
    (call,) = calls(server)
    assert (call.method, call.path) == (method, path)
    assert (call.json if call.body else None) == body
    assert (call.key is not None) == (method == "POST")


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"action": "remove", "id": "e"}, "invalid_action"),
        ({"action": None, "id": "e"}, "invalid_action"),
        ({"action": "create"}, "missing_url"),
        ({"action": "update", "url": URL}, "missing_id"),
        ({"action": "delete"}, "missing_id"),
        ({"action": "delete", "id": ".."}, "invalid_path"),
        ({"action": "update", "id": "a/b"}, "invalid_path"),
        ({"action": "update", "id": "e", "disabled": "maybe"}, "invalid_disabled"),
        ({"action": "update", "id": "e", "event_types": {"a": 1}}, "invalid_event_types"),
        ({"action": "update", "id": "e", "event_types": [{"name": "x"}]}, "invalid_event_types"),
        ({"action": "update", "id": "e", "secret": {"a": SECRET}}, "invalid_secret"),
        ({"action": "update", "id": "e", "secret": "****"}, "masked_secret"),
    ],
)
def test_records_that_cannot_be_sent(
    columns: dict[str, Any], code: str, run_target: Callable[..., Outcome]
) -> None:
    columns = {"secret": SECRET} | columns
    with ScriptedServer(architect(lambda _: Reply(200, {}))) as server:
        outcome = run_target(
            [HOOKS, record("hooks", **columns), hook("update", id="fine"), state(done=True)],
            api_url=server.url,
            streams=STREAMS,
            validate_records=False,
        )
    assert outcome.code == 1
    assert [one.path for one in calls(server)] == ["/webhooks/v1/endpoints/fine"]
    (rejected,) = outcome.rejects
    assert (rejected["code"], rejected["stage"]) == (code, "map")
    assert rejected["record"] == columns | {"secret": "****"}


def test_the_mapping_says_more_than_a_violation_of_the_schema(
    sandbox: Sandbox, run_target: Callable[..., Outcome]
) -> None:
    lines = [
        *(HOOKS, hook("update", id="e", disabled="maybe", secret=SECRET)),
        *(hook("update", id="e", url=7, secret=SECRET), state(done=True)),
    ]
    outcome = run_target(lines, api_url=sandbox.url, streams=STREAMS)
    codes = [one["code"] for one in outcome.rejects]
    assert codes == ["invalid_disabled", "schema_violation"]
    assert SECRET not in str(outcome.rejects)


def test_an_unknown_endpoint_rejects_that_record_alone(
    sandbox: Sandbox, run_target: Callable[..., Outcome]
) -> None:
    outcome = run_target(
        [
            HOOKS,
            hook("update", id="nobody", secret=SECRET),
            hook("delete", id="nobody"),
            hook("create", url="no url", event_types=["note.created"]),
            hook("create", url=URL, event_types=["note.created"]),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams=STREAMS,
        max_rejected_records=3,
    )
    assert outcome.code == 0, outcome.stderr
    counts = outcome.block["streams"]["hooks"]
    assert (counts["delivered"], counts["rejected"]) == (1, 3)
    codes = [one["code"] for one in outcome.rejects]
    assert codes == ["resource_not_found", "resource_not_found", "invalid_url"]
    assert outcome.rejects[0]["request"] == {
        "method": "POST",
        "path": "/webhooks/v1/endpoints/nobody",
        "body": {"secret": "****"},
        "id": "nobody",
        "action": "update",
    }


def test_a_redirect_rejects_that_record_alone(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request) -> Reply:
        elsewhere = Reply(307, b"", {"Location": "http://127.0.0.1:9/"})
        return elsewhere if request.path.endswith("/moved") else Reply(200, {})

    with ScriptedServer(architect(script)) as server:
        outcome = run_target(
            [HOOKS, hook("update", id="moved"), hook("update", id="fine"), state(done=True)],
            api_url=server.url,
            streams=STREAMS,
            max_rejected_records=1,
        )
    assert outcome.code == 0, outcome.stderr
    assert [one["code"] for one in outcome.rejects] == ["http_307"]
    assert outcome.block["streams"]["hooks"]["delivered"] == 1
    assert outcome.states[-1]["bookmarks"] == {"done": True}


def test_a_page_in_place_of_an_endpoint_is_no_answer(run_target: Callable[..., Outcome]) -> None:
    with ScriptedServer(architect(lambda _: Reply(200, b"<html>"))) as server:
        outcome = run_target(
            [HOOKS, hook("update", id="e"), state(done=True)],
            api_url=server.url,
            streams=STREAMS,
            retry_max_seconds=1,
        )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "127.0.0.1 answered 200 with an HTML page" in line
    assert not outcome.stdout


@pytest.mark.parametrize("action", ["delete", "update"])
def test_a_404_after_a_lost_answer(action: str, run_target: Callable[..., Outcome]) -> None:
    """A deletion is done; an update is not."""
    lost: list[Request] = []

    def script(request: Request) -> Reply:
        lost.append(request)
        return Reply(fault="reset") if len(lost) == 1 else Reply(404, {"code": "resource_not_found"})

    with ScriptedServer(architect(script)) as server:
        outcome = run_target(
            [HOOKS, hook(action, id="e"), state(done=True)], api_url=server.url, streams=STREAMS
        )
    counts = outcome.block["streams"]["hooks"]
    assert (counts["delivered"], counts["rejected"]) == ((1, 0) if action == "delete" else (0, 1))


def secrets_left(outcome: Outcome, secret: str) -> list[str]:
    """Where a secret shows in what a run leaves."""
    written = [path for path in outcome.output_dir.rglob("*") if path.is_file()]
    texts = {path.name: path.read_text() for path in written}
    texts |= {"stdout": outcome.stdout, "stderr": outcome.stderr}
    assert texts
    return [name for name, text in texts.items() if secret in text]


@pytest.mark.parametrize(
    "where", ["api", "schema", "message", "escaped", "code", "const", "template", "stream_map"]
)
def test_the_secret_is_nowhere(where: str, run_target: Callable[..., Outcome]) -> None:
    secret = "s3cret-0123456789"
    columns: dict[str, Any] = {"url": URL, "event_types": ["note.created"], "secret": secret}
    mapping: dict[str, Any] = {"kind": "webhook_endpoints"}
    settings: dict[str, Any] = {}
    if where == "const":
        mapping["fields"] = {"secret": {"const": secret}}
        del columns["secret"]
    elif where == "template":
        mapping["fields"] = {"secret": {"template": "x{secret}"}}
    elif where == "schema":
        columns |= {"secret": [secret]}
    elif where == "stream_map":
        settings["stream_maps"] = {"hooks": {"url": "int(record['url'])"}}
    message = f"{secret} is too short" if where == "message" else "no"
    if where == "escaped":
        # As a proxy quotes the body it got.
        message = json.dumps(secret.replace("0", "\\u0030"))
    code = secret if where == "code" else "no"
    with ScriptedServer(architect(lambda _: Reply(400, {"code": code, "message": message}))) as server:
        outcome = run_target(
            [HOOKS, hook("create", **columns), state(done=True)],
            api_url=server.url,
            streams={"hooks": mapping},
            **settings,
        )
    assert outcome.code == 1
    assert len(outcome.rejects) == 1
    if where in {"api", "const"}:
        assert calls(server)[0].json["secret"] == secret
    assert not secrets_left(outcome, secret)
    assert not secrets_left(outcome, "123456789")


def test_without_an_action_nothing_is_created(run_target: Callable[..., Outcome]) -> None:
    """Repeated at every run, each would be another endpoint."""
    lines = [schema("hooks", {"url": "string"}), record("hooks", url=URL), state(done=True)]
    with ScriptedServer(architect(lambda _: Reply(200, {}))) as server:
        outcome = run_target(lines, api_url=server.url, streams=STREAMS)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "streams.hooks.fields.action" in line
    assert not calls(server)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": {"const": "remove"}}, "streams.hooks.fields.action.const"),
        ({"event_types": {"const": [{"name": "x"}]}}, "streams.hooks.fields.event_types.const"),
        ({"ulr": "url"}, "did you mean 'url'?"),
        ({"url": "ulr"}, "did you mean 'url'?"),
    ],
)
def test_mistakes(fields: dict[str, Any], said: str, run_target: Callable[..., Outcome]) -> None:
    outcome = run_target(
        [HOOKS],
        api_url="http://127.0.0.1:9",
        streams={"hooks": {"kind": "webhook_endpoints", "fields": fields}},
        retry_max_seconds=0,
    )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert said in line
