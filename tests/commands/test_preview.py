"""The command `preview`: what a load would send and reject, without sending or writing anything."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EVENTS, USERS, Outcome, event, record, schema, state, user
from tests.reliability.test_order_kinds import HEAD, STREAMS, mixed
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

Config = dict[str, Any]


def lines(*messages: str) -> str:
    return "".join(f"{message}\n" for message in messages)


def test_requests_as_a_load_would_make_them(tmp_path: Path, config: Config) -> None:
    made: list[Request] = []

    def script(request: Request, number: int) -> Reply:
        made.append(request)
        return Reply(status=500)

    text = lines(USERS, *(user(n, seats=n) for n in range(4)), state(a=1), EVENTS, event(1))
    with ScriptedServer(script) as server:
        config["api_url"] = server.url
        done = command(tmp_path, config, "preview", "--records", "2", text=text)
    assert done.code == 0, done.stderr
    assert not made, "nothing is sent"
    assert not done.output_dir.exists(), "nothing is written"
    users, events = done.stdout.strip().split("\n\n")
    assert users.splitlines()[0] == ("users (users): 4 records, 4 would be sent, 0 rejected, 0 ignored")
    assert users.count("POST /v2/users\n") == 2
    assert "POST /v2/users/batch" in users
    assert "and 2 more requests" in users
    _, _, body = events.partition("POST /v2/events\n")
    assert json.loads(body) == {
        "name": "Ordered",
        "timestamp": "2026-01-01T00:00:01Z",
        "user": {"uid": "u1"},
        "properties": {},
    }


def test_neither_key_nor_sandbox_is_needed(tmp_path: Path) -> None:
    for config in ({}, {"api_url": "sandbox"}):
        done = command(tmp_path, config, "preview", "--records", "0", text=lines(USERS, user(1)))
        assert done.code == 0, done.stderr
        assert "1 would be sent" in done.stdout
        assert not done.output_dir.exists()


def test_what_would_be_rejected_is_told_and_bounded(tmp_path: Path, config: Config) -> None:
    bad = [record("users", uid=None, seats=n) for n in range(15)]
    text = lines(USERS, *bad, user(1), user(2, seats="many"), state(a=1))
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 1
    assert done.error_lines == []
    assert "17 records, 1 would be sent, 16 rejected" in done.stdout
    assert done.stdout.count("rejected: missing_uid: the record has no usable uid") == 10
    assert '{"uid":null,"seats":9}' in done.stdout
    assert "and 6 more; in all 15 missing_uid, 1 schema_violation" in done.stdout
    assert not done.output_dir.exists()


def test_stream_maps_and_ignored_streams_are_as_in_a_load(tmp_path: Path, config: Config) -> None:
    config |= {
        "unmapped_streams": "ignore",
        "stream_maps": {"users": {"seats": "seats * 2", "__filter__": "uid != 'u2'"}},
    }
    other = schema("other", {"a": "integer"})
    text = lines(USERS, user(1, seats=3), user(2, seats=3), other, record("other", a=1))
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 0, done.stderr
    assert '"seats": 6' in done.stdout
    assert "users (users): 2 records, 1 would be sent, 0 rejected, 1 ignored" in done.stdout
    assert "other: ignored, 1 records" in done.stdout


def test_streams_of_a_sync_mode_are_told_of(tmp_path: Path, config: Config) -> None:
    config["streams"] = {"u*": {"kind": "users", "sync": "changed"}}
    done = command(tmp_path, config, "preview", text=lines(USERS, user(1), EVENTS, event(1)))
    assert done.code == 0, done.stderr
    users, events = done.stdout.strip().split("\n\n")
    assert users.splitlines()[0] == "users (users): 1 records, 1 would be sent, 0 rejected, 0 ignored"
    told = "  a load sends what Fullstory has not confirmed yet; `plan` tells how many that are"
    assert users.splitlines()[1] == told
    assert told not in events
    assert not done.output_dir.exists()


def test_the_quota_of_events_counts(tmp_path: Path, config: Config) -> None:
    text = lines(EVENTS, *(event(n) for n in range(3)))
    done = command(tmp_path, config | {"max_events": 2}, "preview", text=text)
    assert done.code == 1
    assert "2 would be sent, 1 rejected" in done.stdout
    assert "event_quota" in done.stdout


def test_a_user_by_id_and_a_property_left_out(tmp_path: Path, config: Config) -> None:
    config["streams"] = {"people": {"kind": "users", "fields": {"id": "fs_id"}}}
    people = schema("people", {"fs_id": "string", "note": "string"})
    text = lines(people, record("people", fs_id="a b", note="x" * 9000))
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 0, done.stderr
    assert "POST /v2/users/a%20b\n" in done.stdout
    assert "does not take them: 1 of note" in done.stdout


def test_calls_are_shown_without_secrets(tmp_path: Path, config: Config) -> None:
    config["streams"] = {
        "hooks": {"kind": "webhook_endpoints", "fields": {"action": {"const": "create"}}},
        "notes": {"kind": "request", "method": "POST", "path": "/v2/users/{id}/notes"},
    }
    types = [{"event_name": "alert"}]
    hook = {"url": "https://hooks.example.com", "secret": "SECRET", "event_types": types}
    kinds = {"url": "string", "secret": "string", "event_types": {"type": "array"}}
    text = lines(
        *(schema("user_deletions", {"uid": "string"}), record("user_deletions", uid="a b")),
        *(schema("hooks", kinds), record("hooks", **hook)),
        *(schema("notes", {"id": "string", "text": "string"}), record("notes", id="7", text="x")),
    )
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 0, done.stderr
    assert "DELETE /v2/users?uid=a%20b\n" in done.stdout
    assert "POST /webhooks/v1/endpoints\n" in done.stdout
    assert "SECRET" not in done.stdout
    assert 'POST /v2/users/7/notes\n  {\n    "text": "x"\n  }\n' in done.stdout


def told_requests(text: str) -> list[tuple[str, Any]]:
    """The paths and bodies of the POST requests that a preview printed."""
    found = []
    for part in text.split("  POST ")[1:]:
        path, _, rest = part.partition("\n")
        body, _, _ = rest.partition("\n  }\n")
        found.append((path, json.loads(body + "}")))
    return found


def test_records_that_share_a_request_are_shown_as_a_load_sends_them(
    tmp_path: Path, config: Config, run_target: Callable[..., Outcome]
) -> None:
    batch = {"size": 3, "key": "requests", "group_by": "team"}
    mapping = {"kind": "request", "method": "POST", "path": "/v2/things", "batch": batch}
    # Batches end at a STATE behind 100 calls, by rows, by bytes, and at the end of the input.
    config |= {"streams": {"things": mapping}, "batch_size_rows": 150, "max_batch_bytes": 12000}
    things = [record("things", id=n, team=f"t{n % 7}", note="x" * (n % 90)) for n in range(400)]
    messages = [schema("things", {"id": "integer", "team": "string", "note": "string"})]
    messages += [*things[:40], state(a=1), *things[40:105], state(a=2), *things[105:], state(a=3)]
    with ScriptedServer(lambda request, number: Reply()) as server:
        assert run_target(messages, api_url=server.url, **config).code == 0
        sent = [(one.path, one.json) for one in server.requests]
    text = lines(*messages)
    done = command(tmp_path, config, "preview", "--records", "999", text=text)
    assert done.code == 0, done.stderr
    assert told_requests(done.stdout) == sent
    assert f"sent in {len(sent)} requests" in done.stdout
    assert "400 records, 400 would be sent" in done.stdout
    assert "more requests" not in done.stdout
    first = command(tmp_path, config, "preview", "--records", "2", text=text)
    assert told_requests(first.stdout) == sent[:2]
    assert f"and {len(sent) - 2} more requests" in first.stdout


def test_calls_before_an_error_are_shown(tmp_path: Path, config: Config) -> None:
    mapping = {"kind": "request", "method": "POST", "path": "/x", "batch": {"size": 9}}
    config["streams"] = {"things": mapping}
    text = lines(schema("things", {"id": "integer"}), *[record("things", id=1)] * 2, "{")
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 1
    assert told_requests(done.stdout) == [("/x", {"requests": [{"id": 1}, {"id": 1}]})]


@pytest.mark.parametrize(("delivery", "count"), [("batch", 2), ("auto", 26)])
def test_items_of_a_batch_job_are_called_so(
    tmp_path: Path, config: Config, delivery: str, count: int
) -> None:
    config |= {"delivery": delivery, "streams": {"users": {"kind": "users", "fields": {"id": "uid"}}}}
    text = lines(USERS, *(user(n) for n in range(count)))
    done = command(tmp_path, config, "preview", "--records", "1", text=text)
    assert done.code == 0, done.stderr
    assert "sent in batch jobs of up to 50000 records, as items of POST /v2/users/batch" in done.stdout
    assert "POST /v2/users\n" not in done.stdout
    assert "POST /v2/users/u0" not in done.stdout
    assert "  item of POST /v2/users/batch\n  {\n" in done.stdout
    assert '"id": "u0"' in done.stdout, "an item names its user itself"
    assert f"and {count - 1} more items" in done.stdout


def test_up_to_the_threshold_requests_are_single(tmp_path: Path, config: Config) -> None:
    done = command(tmp_path, config, "preview", text=lines(USERS, *(user(n) for n in range(25))))
    assert "sent one by one; more than 25 at a flush" in done.stdout
    assert done.stdout.count("POST /v2/users\n") == 3
    assert "item of" not in done.stdout


@pytest.mark.parametrize("max_events", [None, 9])
def test_updates_of_one_user_are_counted(tmp_path: Path, config: Config, max_events: int | None) -> None:
    # A quota of events has records taken one by one.
    config |= {"batch_size_rows": 4, "max_events": max_events}
    # One in the first batch of four; the fifth record begins another.
    text = lines(USERS, *(user(n, seats=1) for n in (1, 2, 1, 3, 1)))
    done = command(tmp_path, config, "preview", text=text)
    assert "5 records, 5 would be sent" in done.stdout
    assert "up to 1 of those sent would be merged into an earlier update of the same user" in done.stdout


@pytest.mark.parametrize("text", ["", "\n", lines(state(a=1))])
def test_an_input_without_a_stream_is_told(tmp_path: Path, config: Config, text: str) -> None:
    done = command(tmp_path, config, "preview", text=text)
    assert (done.code, done.stdout) == (0, "The input has no stream: nothing would be sent.\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (lines(USERS, user(1), "{"), "Line 3 of the input is not JSON"),
        (lines(schema("nowhere", {"a": "string"})), "has no mapping"),
    ],
)
def test_an_error_ends_it_with_what_was_seen_before(
    tmp_path: Path, config: Config, text: str, told: str
) -> None:
    done = command(tmp_path, config, "preview", text=text)
    assert done.code == 1
    (line,) = done.error_lines
    assert told in line
    assert ("1 would be sent" in done.stdout) == ("users" in text)


def test_a_file_that_is_not_there(tmp_path: Path, config: Config) -> None:
    check_refused(command(tmp_path, config, "preview", "--input", "nowhere"), "nowhere")


@pytest.mark.parametrize("delivery", ["single", "batch"])
def test_all_kinds_are_shown_as_a_load_sends_them(
    delivery: str, tmp_path: Path, config: Config, run_target: Callable[..., Outcome]
) -> None:
    """Updates that merge, users that become deletions, events cut at a STATE, calls."""
    config |= {"streams": STREAMS, "hard_delete": True, "delivery": delivery, "batch_size_rows": 9}
    messages = [*HEAD, *mixed(random.Random(5), 150), state(done=True)]

    jobs: dict[str, int] = {}

    def answer(request: Request, number: int) -> Reply:
        if request.method == "GET":
            job = request.path.rsplit("/", 1)[1]
            return Reply(200, {"job": {"status": "COMPLETED"}, "imports": jobs[job]})
        if request.path.endswith("/batch"):
            jobs[f"job-{number}"] = len(request.json["requests"])
        return Reply(200, {"id": "1", "job": {"id": f"job-{number}", "status": "PROCESSING"}})

    with ScriptedServer(answer) as server:
        outcome = run_target(messages, api_url=server.url, concurrency=1, **config)
        assert outcome.code == 0, outcome.stderr
        made = [one for one in server.requests if one.method != "GET"]
    sent = Counter(
        f"{one.method} {one.path} {json.dumps(item)}"
        for one in made
        for item in (one.json["requests"] if one.path.endswith("/batch") else [_body(one)])
    )
    done = command(tmp_path, config, "preview", "--records", "999", text=lines(*messages))
    assert done.code == 0, done.stderr
    shown = Counter[str]()
    for part in re.split(r"\n(?=  (?:item of )?(?:POST|DELETE) )", done.stdout.partition("\n")[2]):
        first, _, rest = part.strip().partition("\n")
        if re.match(r"(item of )?(POST|DELETE) /", first):
            body = json.loads(re.match(r"  \{.*?\n  \}|", rest, re.DOTALL)[0] or "null")  # type: ignore[index]
            shown[f"{first.removeprefix('item of ')} {json.dumps(body)}"] += 1
    assert shown == sent
    for stream, counts in outcome.block["streams"].items():
        assert f"{stream} ({counts['kind']}): {counts['received']} records" in done.stdout
        if counts["merged"]:
            assert f"up to {counts['merged']} of those sent would be merged" in done.stdout


def _body(request: Request) -> Any:
    return request.json if request.body else None
