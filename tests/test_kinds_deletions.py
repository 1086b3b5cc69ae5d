"""Deletions of users: as a kind of their own, and of records that say they are gone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EVENTS, Outcome, SandboxApi, event, record, schema, state
from tests.scripted import Reply, Request, ScriptedServer

deliveries = pytest.mark.parametrize("delivery", ["batch", "single", "auto"])
DELETIONS = schema("user_deletions", {"uid": "string"})
DELETED = {"type": ["null", "string"], "format": "date-time"}
NOW = "2026-01-05T09:12:44Z"
PEOPLE = {"accounts": {"kind": "users"}, "gone": {"kind": "user_deletions"}}


def accounts(**columns: Any) -> str:
    columns = {"uid": "string", "version": "integer", "_sdc_deleted_at": DELETED} | columns
    return schema("accounts", columns, ["uid"])


def found(api: SandboxApi) -> dict[str, Any]:
    users = api.get("/v2/users")["results"]
    return {one["uid"]: one["properties"] for one in users}


def deletions(requests: list[Request]) -> list[str]:
    return [one.path for one in requests if one.method == "DELETE"]


def test_users_are_deleted_without_configuration(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    users = schema("users", {"uid": "string"}, ["uid"])
    names = ["a/b", "c d", "é&x=1", "..", "stays"]
    outcome = run_target(
        [
            *(users, DELETIONS),
            *(record("users", uid=name) for name in names),
            *(record("user_deletions", uid=name) for name in names[:-1]),
            state(done=True),
        ],
        api_url=sandbox.url,
    )
    assert outcome.code == 0, outcome.stderr
    assert set(found(api)) == {"stays"}
    counts = outcome.block["streams"]["user_deletions"]
    assert (counts["kind"], counts["received"], counts["delivered"]) == ("user_deletions", 4, 4)
    responses = [one for one in outcome.block["responses"] if one["kind"] == "user_deletions"]
    assert {one["uid"] for one in responses} == set(names[:-1])
    assert all(one["status"] == 200 and "code" not in one for one in responses)


def test_by_fullstory_id(sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]) -> None:
    users = schema("users", {"uid": "string"}, ["uid"])
    run_target([users, record("users", uid="a"), record("users", uid="b")], api_url=sandbox.url)
    (gone,) = (one["id"] for one in api.get("/v2/users")["results"] if one["uid"] == "a")
    outcome = run_target(
        [
            schema("gone", {"fullstory_id": "string"}),
            record("gone", fullstory_id=gone),
            record("gone", fullstory_id=".."),
            record("gone", fullstory_id=f"{gone}/x"),
            record("gone", fullstory_id=None),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams={"gone": {"kind": "user_deletions", "fields": {"id": "fullstory_id"}}},
        max_rejected_records=None,
    )
    assert outcome.code == 0
    assert set(found(api)) == {"b"}
    assert [one["code"] for one in outcome.rejects] == ["invalid_path"] * 2 + ["missing_uid"]
    (response,) = outcome.block["responses"]
    assert response == {"stream": "gone", "kind": "user_deletions", "status": 200, "id": gone}


@deliveries
@pytest.mark.parametrize("one_stream", [True, False], ids=["one_stream", "two_streams"])
def test_updates_and_deletions_keep_their_order(
    delivery: str, one_stream: bool, run_target: Callable[..., Outcome]
) -> None:
    """Users come, go and come back, in jobs that are still running and in jobs that end in any order."""
    rng = random.Random(11)
    lines = [accounts(), schema("gone", {"uid": "string"})]
    expected: dict[str, dict[str, Any]] = {}
    deleted = 0
    for number in range(110):
        uid = f"u{rng.randrange(9)}"
        if uid in expected and rng.random() < 0.4:
            del expected[uid]
            deleted += 1
            gone = record("accounts", uid=uid, _sdc_deleted_at=NOW)
            lines.append(gone if one_stream else record("gone", uid=uid))
            continue
        columns = {f"p{number}": True}
        lines.append(record("accounts", uid=uid, version=number, _sdc_deleted_at=None, **columns))
        expected[uid] = expected.get(uid, {}) | columns | {"version": number}
    assert deleted > 15
    with Sandbox(SandboxOptions(job_seconds=0.05, shuffle_jobs=True)) as sandbox:
        outcome = run_target(
            [*lines, state(done=True)],
            api_url=sandbox.url,
            streams=PEOPLE,
            hard_delete=True,
            delivery=delivery,
            batch_threshold=3,
            batch_size_rows=12,
            concurrency=8,
            job_poll_interval_seconds=0.02,
        )
        users = found(SandboxApi(sandbox.url))
    assert outcome.code == 0, outcome.stderr
    assert users == expected
    counts = outcome.block["streams"]
    assert sum(one["received"] for one in counts.values()) == 110
    assert sum(one["delivered"] + one["merged"] for one in counts.values()) == 110
    assert counts["gone"]["received"] == (0 if one_stream else deleted)


def test_a_deletion_in_the_midst_of_fast_records_keeps_its_place(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    many = [record("accounts", uid=f"u{n}", version=n) for n in range(400)]
    outcome = run_target(
        [
            accounts(),
            *many,
            record("accounts", uid="u7", _sdc_deleted_at=NOW),
            record("accounts", uid="u8", _sdc_deleted_at=NOW),
            record("accounts", uid="u8", back=True),
            *many[300:],
            state(done=True),
        ],
        api_url=sandbox.url,
        streams=PEOPLE,
        hard_delete=True,
    )
    assert outcome.code == 0, outcome.stderr
    assert "fast path" in outcome.stderr
    assert api.get("/sandbox/stats")["users"] == 399
    assert not api.get("/v2/users", uid="u7")["results"]
    assert api.user("u8")["properties"] == {"back": True}
    counts = outcome.block["streams"]["accounts"]
    assert counts["kind"] == "users"
    assert counts["received"] == 503 == counts["delivered"] + counts["merged"]


@pytest.mark.parametrize("settings", [{}, {"hard_delete": True}])
def test_nothing_is_deleted_unasked(
    settings: dict[str, Any], sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    """Without the setting, without the column in the SCHEMA, with an empty value."""
    columns = {"uid": "string"}
    deleted_at = "" if settings else NOW
    outcome = run_target(
        [
            accounts(_sdc_deleted_at={"type": ["null", "string"]}),
            schema("others", columns, ["uid"]),
            record("accounts", uid="a", _sdc_deleted_at=deleted_at),
            record("others", uid="b", _sdc_deleted_at=NOW),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams={"accounts": {"kind": "users"}, "others": {"kind": "users"}},
        **settings,
    )
    assert outcome.code == 0, outcome.stderr
    assert found(api) == {"a": {}, "b": {}}


def test_an_unknown_user_rejects_that_record_alone(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    outcome = run_target(
        [
            *(accounts(), DELETIONS),
            *(record("accounts", uid="a"), record("accounts", uid="b")),
            *(record("user_deletions", uid=uid) for uid in ("a", "nobody", None, "x" * 257, "b")),
            state(done=True),
        ],
        api_url=sandbox.url,
        streams=PEOPLE,
    )
    assert outcome.code == 1
    assert not found(api)
    assert {one["code"]: one["stage"] for one in outcome.rejects} == {
        "user_not_found": "api",
        "missing_uid": "map",
        "uid_too_long": "map",
    }
    (refused,) = (one for one in outcome.rejects if one["stage"] == "api")
    call = {"method": "DELETE", "path": "/v2/users?uid=nobody", "uid": "nobody"}
    assert refused["request"] == call
    assert outcome.states[-1]["bookmarks"] == {"done": True}
    counts = outcome.block["streams"]["user_deletions"]
    assert (counts["delivered"], counts["rejected"]) == (2, 3)


def test_the_same_deletion_twice_in_a_batch_is_one(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    lines = [accounts(), DELETIONS, record("accounts", uid="a")]
    lines += [record("user_deletions", uid="a")] * 3
    outcome = run_target([*lines, state(done=True)], api_url=sandbox.url, streams=PEOPLE)
    assert outcome.code == 0, outcome.stderr
    counts = outcome.block["streams"]["user_deletions"]
    assert (counts["delivered"], counts["merged"]) == (1, 2)


@pytest.mark.parametrize("fault", ["reset", "truncate", "502"])
def test_a_404_after_a_lost_answer_is_a_deletion_done(fault: str, run_target: Callable[..., Outcome]) -> None:
    unknown = Reply(404, {"code": "user_not_found", "message": "No user has that id or uid"})

    def script(request: Request, number: int) -> Reply:
        if number < 1:
            return Reply(502, b"<html>") if fault == "502" else Reply(fault=fault)
        return unknown

    with ScriptedServer(script) as server:
        outcome = run_target(
            [DELETIONS, record("user_deletions", uid="a"), state(done=True)], api_url=server.url
        )
    assert outcome.code == 0, outcome.stderr
    assert deletions(server.requests) == ["/v2/users?uid=a"] * 2
    assert outcome.block["streams"]["user_deletions"]["delivered"] == 1


def test_a_404_after_a_clear_refusal_is_a_reject(run_target: Callable[..., Outcome]) -> None:
    def script(request: Request, number: int) -> Reply:
        slower = Reply(429, {"code": "too_many_requests"}, {"Retry-After": "0"})
        return slower if number < 1 else Reply(404, {"code": "user_not_found"})

    with ScriptedServer(script) as server:
        outcome = run_target(
            [DELETIONS, record("user_deletions", uid="a"), state(done=True)], api_url=server.url
        )
    assert outcome.code == 1
    assert [one["code"] for one in outcome.rejects] == ["user_not_found"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(307, b"", {"Location": "http://127.0.0.1:9/"}), "redirect (307)"),
        (Reply(404, b"<html>"), "Check the setting api_url"),
        (Reply(403, {"code": "forbidden"}), "an Architect key to delete users"),
    ],
    ids=["307", "404", "403"],
)
def test_an_answer_that_concerns_more_ends_the_run(
    reply: Reply, said: str, run_target: Callable[..., Outcome]
) -> None:
    with ScriptedServer(lambda request, _: reply) as server:
        outcome = run_target(
            [DELETIONS, record("user_deletions", uid="private-7"), state(done=True)], api_url=server.url
        )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert said in line
    assert "private-7" not in outcome.stderr
    assert not outcome.stdout


def test_faults_neither_lose_nor_repeat(run_target: Callable[..., Outcome]) -> None:
    options = SandboxOptions(job_seconds=0.02, fail_rate=0.25, seed=5)
    with Sandbox(options) as sandbox:
        outcome = run_target(
            [
                *(accounts(), DELETIONS),
                *(record("accounts", uid=f"u{n}") for n in range(60)),
                *(record("user_deletions", uid=f"u{n}") for n in range(50)),
                state(done=True),
            ],
            api_url=sandbox.url,
            streams=PEOPLE,
            concurrency=8,
            retry_max_seconds=60,
            timeout=120,
        )
        api = SandboxApi(sandbox.url)
        assert api.get("/sandbox/stats")["faults"]
        assert api.get("/sandbox/stats")["users"] == 10
    assert outcome.code == 0, outcome.stderr
    assert outcome.block["streams"]["user_deletions"]["delivered"] == 50


# Events


def lives(amount: int) -> list[str]:
    """A user, its event, its end; then it comes back with another event."""
    return [
        record("accounts", uid="u1", version=amount),
        event(amount, amount=amount),
        record("user_deletions", uid="u1"),
        record("accounts", uid="u1", version=amount + 1),
        event(amount + 1, amount=amount + 1),
    ]


@deliveries
def test_events_before_a_deletion_go_with_the_user(delivery: str, run_target: Callable[..., Outcome]) -> None:
    lines = [accounts(), EVENTS, DELETIONS, *lives(1), state(at=1), *lives(3), state(at=2)]
    with Sandbox(SandboxOptions(job_seconds=0.1, shuffle_jobs=True)) as sandbox:
        outcome = run_target(lines, api_url=sandbox.url, streams=PEOPLE, delivery=delivery)
        kept = SandboxApi(sandbox.url).events()
    assert outcome.code == 0, outcome.stderr
    assert [one["properties"]["amount"] for one in kept] == [4]


def test_without_the_order_of_events_nothing_waits(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    lines = [EVENTS, accounts(), *(record("accounts", uid=f"g{n}") for n in range(4))]
    lines += [DELETIONS]
    for number in range(4):
        lines += [event(number), record("user_deletions", uid=f"g{number}")]
    outcome = run_target(
        [*lines, state(done=True)],
        api_url=sandbox.url,
        streams=PEOPLE,
        delivery="batch",
        events_wait_for_users=False,
    )
    assert outcome.code == 0, outcome.stderr
    jobs = [one for one in outcome.block["jobs"] if one["kind"] == "events"]
    assert [one["records"] for one in jobs] == [4]


def test_batches_of_events_form_again_between_deletions(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    """A run that starts again from a STATE in their midst sends nothing under a new key."""

    def gone(number: int) -> list[str]:
        return [record("accounts", uid=f"g{number}"), record("user_deletions", uid=f"g{number}")]

    head = [accounts(), EVENTS, DELETIONS]
    first = [event(1), event(2), state(at=1)]
    rest = [event(3), *gone(1), event(4), state(at=2), event(5), *gone(2), event(6), state(at=3)]

    def keys() -> list[str]:
        made = [one for one in api.requests() if one["path"] == "/v2/events/batch"]
        return [one["idempotency_key"] for one in made]

    settings: dict[str, Any] = {"streams": PEOPLE, "delivery": "batch"}
    run_target([*head, *first, *rest], api_url=sandbox.url, **settings)
    before = keys()
    assert run_target([*head, *rest], api_url=sandbox.url, **settings).code == 0
    again = keys()[len(before) :]
    assert again
    assert set(again) <= set(before)
    assert len(api.events()) == 6


def test_the_columns_of_the_default(
    sandbox: Sandbox, api: SandboxApi, run_target: Callable[..., Outcome]
) -> None:
    """As for users: the single key property is the uid, and no column `id` of a table is Fullstory's."""
    lines = [
        schema("users", {"id": "integer"}, ["id"]),
        schema("user_deletions", {"id": "integer"}, ["id"]),
        *(record("users", id=1), record("users", id=2), record("user_deletions", id=2)),
        state(done=True),
    ]
    outcome = run_target(lines, api_url=sandbox.url)
    assert outcome.code == 0, outcome.stderr
    assert set(found(api)) == {"1"}


def test_a_schema_without_users_is_a_mistake(run_target: Callable[..., Outcome]) -> None:
    outcome = run_target([schema("user_deletions", {"name": "string"}, [])], api_url="http://127.0.0.1:9")
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "streams.user_deletions.fields.uid" in line


def test_no_id_is_logged_even_for_debugging(
    sandbox: Sandbox, run_target: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_FULLSTORY_LOGLEVEL", "DEBUG")
    outcome = run_target(
        [DELETIONS, record("user_deletions", uid="somebody"), state(done=True)], api_url=sandbox.url
    )
    assert "DEBUG" in outcome.stderr
    assert "somebody" not in outcome.stderr


# The key's role


@pytest.mark.parametrize(
    ("streams", "settings", "said"),
    [
        ({"gone": {"kind": "user_deletions"}}, {}, ("'gone'", "user_deletions", "Architect")),
        ({"hooks_*": {"kind": "webhook_endpoints"}}, {}, ("'hooks_*'", "Admin or Architect")),
        ({"people": {"kind": "users"}}, {"hard_delete": True}, ("'people'", "user_deletions")),
    ],
    ids=["name", "glob", "hard_delete"],
)
def test_a_role_is_missed_before_an_earlier_stream_is_sent(
    streams: dict[str, Any],
    settings: dict[str, Any],
    said: tuple[str, ...],
    run_target: Callable[..., Outcome],
) -> None:
    """The mapping tells of streams that are still to come."""
    with Sandbox(SandboxOptions(role="USER")) as sandbox:
        outcome = run_target(
            [EVENTS, event(1), state(done=True)],
            api_url=sandbox.url,
            streams=streams,
            delivery="single",
            **settings,
        )
        made = [one["path"] for one in SandboxApi(sandbox.url).requests()]
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert [one for one in (*said, "USER") if one not in line] == []
    assert made == ["/me"]
    assert not outcome.stdout


def test_a_role_is_no_matter_for_what_every_writer_may_do(run_target: Callable[..., Outcome]) -> None:
    streams = {"people": {"kind": "users"}, "calls_*": {"kind": "request", "method": "POST"}}
    with Sandbox(SandboxOptions(role="USER")) as sandbox:
        outcome = run_target(
            [EVENTS, event(1), state(done=True)], api_url=sandbox.url, streams=streams, delivery="single"
        )
        made = [one["path"] for one in SandboxApi(sandbox.url).requests()]
    assert outcome.code == 0, outcome.stderr
    assert sorted(made) == ["/me", "/v2/events"]
