"""The command `check`, and the check of the key's role at the start of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from target_fullstory.api.roles import allows, may_read_jobs
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.sandbox import Role, Sandbox, SandboxOptions
from tests.conftest import USERS, Outcome, SandboxApi, record, schema, state, user
from tests.running import check_refused, command
from tests.scripted import Reply, Request, ScriptedServer

AskedServer = partial(ScriptedServer, me=True)

Run = Callable[..., Outcome]
Config = dict[str, Any]
STREAMS = {"people": {"kind": "users"}, "orders": {"kind": "events"}, "gone": {"kind": "user_deletions"}}


def verdicts(done: Outcome) -> dict[str, str]:
    return {finding["subject"]: finding["verdict"] for finding in json.loads(done.stdout)["findings"]}


def check(role: Role, tmp_path: Path, config: Config, *options: str) -> Outcome:
    with Sandbox(SandboxOptions(role=role, job_seconds=0)) as running:
        full = config | {"api_url": running.url}
        return command(tmp_path, full, "check", "--format", "json", *options)


@pytest.mark.parametrize(
    ("role", "code", "expected"),
    [
        ("ARCHITECT", 0, ("ok", "ok", "ok", "ok")),
        ("ADMIN", 1, ("ok", "ok", "failed", "ok")),
        ("USER", 1, ("ok", "ok", "failed", "failed")),
        ("VIEW_ONLY", 1, ("failed", "failed", "failed", "failed")),
    ],
)
def test_every_mapped_kind_is_held_against_the_role(
    tmp_path: Path, config: Config, role: Role, code: int, expected: tuple[str, ...]
) -> None:
    done = check(role, tmp_path, config | {"streams": STREAMS})
    assert done.code == code
    shown = json.loads(done.stdout)
    assert (shown["organization"], shown["role"]) == ("SANDBOX", role)
    subjects = ("stream people", "stream orders", "stream gone", "batch jobs")
    assert verdicts(done) == dict(zip(subjects, expected, strict=True))
    assert len(done.error_lines) == expected.count("failed"), "one line for each"


def test_a_standard_key_will_do_where_no_job_is_read(tmp_path: Path, config: Config) -> None:
    done = check("USER", tmp_path, config | {"delivery": "single"})
    assert (done.code, set(verdicts(done).values())) == (0, {"ok"})
    done = check("USER", tmp_path, config | {"wait_for_jobs": False})
    assert (done.code, verdicts(done)["batch jobs"]) == (0, "unknown")


def test_hard_delete_takes_what_deletions_take(tmp_path: Path, config: Config) -> None:
    streams = {"people": {"kind": "users"}}
    done = check("ADMIN", tmp_path, config | {"streams": streams, "hard_delete": True})
    assert (done.code, verdicts(done)["stream people (hard_delete)"]) == (1, "failed")


def test_so_does_a_mirror_that_deletes(tmp_path: Path, config: Config) -> None:
    mirror = {"kind": "users", "sync": "mirror"}
    streams = {
        "people": mirror | {"vanished": "delete"},
        "leads": mirror | {"vanished": {"mark": {"gone": True}}},
    }
    done = check("ADMIN", tmp_path, config | {"streams": streams})
    assert (done.code, verdicts(done)["stream people (vanished)"]) == (1, "failed")
    assert "stream leads (vanished)" not in verdicts(done)
    assert check("ARCHITECT", tmp_path, config | {"streams": streams}).code == 0


def test_the_table_tells_the_same(sandbox: Sandbox, tmp_path: Path, config: Config) -> None:
    done = command(tmp_path, config | {"api_url": sandbox.url}, "check")
    assert done.code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[:3] == [["organization", "SANDBOX"], ["email", "sandbox@example.com"], ["role", "ARCHITECT"]]
    assert all("ok" in row for row in rows[3:])


def test_samples_harm_nobody(sandbox: Sandbox, api: SandboxApi, tmp_path: Path, config: Config) -> None:
    config |= {"api_url": sandbox.url, "streams": {name: STREAMS[name] for name in STREAMS}}
    with_deletion = command(tmp_path, config, "check", "--send-test", "--format", "json")
    assert with_deletion.code == 0, with_deletion.stderr
    sampled = {k: v for k, v in verdicts(with_deletion).items() if k.startswith("sample")}
    assert sampled == dict.fromkeys(("sample users", "sample events", "sample user_deletions"), "ok")
    assert api.get("/v2/users", uid="target-fullstory-check")["results"] == []
    made = [(one["method"], one["path"]) for one in api.requests()]
    assert [one for one in made if one[0] != "GET"] == [
        ("POST", "/v2/users"),
        ("POST", "/v2/events"),
        ("DELETE", "/v2/users"),
    ]
    del config["streams"]["gone"]
    for _ in range(2):
        assert command(tmp_path, config, "check", "--send-test").code == 0
    assert len(api.get("/v2/users", uid="target-fullstory-check")["results"]) == 1


def test_a_refused_sample_is_exit_code_1(tmp_path: Path, config: Config) -> None:
    def script(request: Request, number: int) -> Reply:
        if request.path == "/me":
            return Reply(body={"role": "ARCHITECT", "orgId": "o", "email": "e"})
        return Reply(status=400, body={"code": "invalid", "message": "no"})

    with AskedServer(script) as server:
        done = command(tmp_path, config | {"api_url": server.url}, "check", "--send-test")
    assert done.code == 1
    assert "refused with 400 (invalid): no" in done.stdout


def test_a_key_that_may_not_write_is_told_with_all_else(tmp_path: Path, config: Config) -> None:
    done = check("VIEW_ONLY", tmp_path, config | {"streams": STREAMS}, "--send-test")
    assert done.code == 1
    shown = json.loads(done.stdout)
    assert (shown["organization"], shown["role"]) == ("SANDBOX", "VIEW_ONLY")
    sampled = {k: v for k, v in verdicts(done).items() if k.startswith("sample")}
    assert sampled == {
        "sample users": "failed",
        "sample events": "failed",
        "sample user_deletions": "skipped",
    }
    assert verdicts(done)["stream people"] == "failed"
    told = {one["subject"]: one["told"] for one in shown["findings"]}
    assert "does not allow POST /v2/events (403)" in told["sample events"]
    assert len(done.error_lines) == list(verdicts(done).values()).count("failed")
    with Sandbox(SandboxOptions(role="VIEW_ONLY")) as running:
        table = command(tmp_path, config | {"api_url": running.url}, "check", "--send-test")
    assert table.code == 1
    rows = [line.split() for line in table.stdout.splitlines()]
    assert ["organization", "SANDBOX"] in rows
    assert [row[:3] for row in rows if row[0] == "sample"] == [
        ["sample", "users", "failed"],
        ["sample", "events", "failed"],
    ]


def test_a_deletion_refused_is_told_beside_the_others(tmp_path: Path, config: Config) -> None:
    def script(request: Request, number: int) -> Reply:
        if request.path == "/me":
            return Reply(body={"role": "UNHEARD_OF", "orgId": "o", "email": "e"})
        return Reply(status=403 if request.method == "DELETE" else 200)

    with AskedServer(script) as server:
        full = config | {"api_url": server.url, "streams": STREAMS}
        done = command(tmp_path, full, "check", "--send-test", "--format", "json")
    assert done.code == 1
    sampled = {k: v for k, v in verdicts(done).items() if k.startswith("sample")}
    assert sampled == {"sample users": "ok", "sample events": "ok", "sample user_deletions": "failed"}


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(status=401), "does not accept the API key"),
        (Reply(status=404), "GET /me was answered with 404"),
        (Reply(body={"email": "e"}), "no role"),
    ],
)
def test_what_is_no_answer_is_one_line(tmp_path: Path, config: Config, reply: Reply, told: str) -> None:
    with AskedServer(lambda request, number: reply) as server:
        check_refused(command(tmp_path, config | {"api_url": server.url}, "check"), told)


def test_an_unreachable_api_is_one_line(tmp_path: Path, config: Config) -> None:
    away = config | {"api_url": "http://127.0.0.1:9", "retry_max_seconds": 0.5}
    check_refused(command(tmp_path, away, "check"), "failed for 0.5 s")


def test_the_roles() -> None:
    assert set(KINDS) == set(get_args(Kind))
    assert allows("USER", "users") is True
    assert allows("VIEW_ONLY", "events") is False
    assert allows("ADMIN", "user_deletions") is False
    assert allows("ADMIN", "webhook_endpoints") is True
    assert allows("ARCHITECT", "user_deletions") is True
    assert allows("UNKNOWN", "users") is None
    assert allows("UMBRELLA_MANAGER", "user_deletions") is None
    assert allows("USER", "request") is None
    assert may_read_jobs("USER") is False
    assert may_read_jobs("UNKNOWN") is None


# At the start of a run

GONE = schema("user_deletions", {"uid": "string"}, ["uid"])


def test_a_run_stops_before_anything_is_sent(run_target: Run, config: Config, tmp_path: Path) -> None:
    with Sandbox(SandboxOptions(role="ADMIN", job_seconds=0)) as running:
        lines = [GONE, record("user_deletions", uid="u1"), state(a=1)]
        done = run_target(lines, api_url=running.url)
        made = SandboxApi(running.url).requests()
    assert done.code == 1
    (line,) = done.error_lines
    for part in ("'user_deletions'", "Architect", "ADMIN"):
        assert part in line
    assert [one["path"] for one in made] == ["/me"]
    assert done.stdout == ""


@pytest.mark.parametrize("reply", [Reply(body={"role": "UNKNOWN"}), Reply(body={"x": 1}), Reply(status=404)])
def test_where_the_role_is_not_known_the_run_goes_on(run_target: Run, reply: Reply) -> None:
    def script(request: Request, number: int) -> Reply:
        return reply if request.path == "/me" else Reply()

    lines = [GONE, *(record("user_deletions", uid=f"u{n}") for n in range(2)), state(a=1)]
    with AskedServer(script) as server:
        done = run_target(lines, api_url=server.url)
    assert done.code == 0, done.stderr
    assert [one.path for one in server.requests].count("/me") == 1


def test_a_run_of_users_and_events_asks_once_and_needs_no_answer(run_target: Run) -> None:
    def script(request: Request, number: int) -> Reply:
        # Later than all else: nothing waits for it but the end.
        return Reply(403, {}, delay=1) if request.path == "/me" else Reply(200, {"id": "1"})

    with AskedServer(script) as server:
        done = run_target([USERS, *(user(n) for n in range(5)), state(a=1)], api_url=server.url)
        at = {one.path: one.at for one in server.requests}
    assert done.code == 0, done.stderr
    assert [one.path for one in server.requests].count("/me") == 1
    assert at["/v2/users"] - at["/me"] < 0.9
    assert done.block["organization"].startswith("key:")
