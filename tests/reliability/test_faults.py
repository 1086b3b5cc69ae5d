"""The faults and lies of the crash test are what they say, and its checks notice what they are for."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from target_fullstory.api.client import Client
from target_fullstory.errors import DeliveryError
from target_fullstory.sandbox import Sandbox
from target_fullstory.settings.model import Settings
from tests.conftest import KEY, SandboxApi
from tests.reliability.crash_checks import Checks, Rejects, secrets_in
from tests.reliability.crash_input import Input, make_input
from tests.reliability.crash_tally import Tally
from tests.reliability.fault_proxy import Attacks, FaultProxy, Organization
from tests.reliability.faults import FAULTS
from tests.reliability.lying_jobs import LIES, draw_lie


@pytest.mark.parametrize("name", [*FAULTS, "late"])
def test_a_fault_is_no_success_of_what_was_not_carried_out(
    name: str, sandbox: Sandbox, api: SandboxApi
) -> None:
    """Where the client believes an answer, the sandbox has the user; and a fault ends within its time."""
    organizations = {f"Basic {KEY}": Organization("o-1", sandbox.url)}
    path = "/v2/users/batch" if name == "200 without a job" else "/v2/users"
    body = {"requests": [{"uid": "u1"}]} if path.endswith("batch") else {"uid": "u1"}
    with FaultProxy(1, Attacks(faults=(name,), rate=1), organizations) as proxy:
        proxy.endless_seconds, proxy.late_seconds = 0.4, 0.2
        settings = Settings(
            api_key=KEY, api_url=proxy.url, retry_max_seconds=0.5, request_timeout_seconds=0.2
        )
        client = Client(settings, proxy.url)
        try:
            response = client.call("POST", path, json.dumps(body).encode())
        except DeliveryError:
            pass
        else:
            believed = response.ok and "job" not in response.data and "ok" not in response.data
            assert not believed or api.get("/v2/users", uid="u1")["results"]
        finally:
            client.close()
        proxy.wait_until_idle()
    assert proxy.seen.faults[name]
    assert proxy.seen.faults.keys() == {name}
    assert not proxy.seen.strangers


@pytest.mark.parametrize(
    "name", [name for name, fault in FAULTS.items() if not fault.success | fault.ends_runs]
)
def test_what_looks_like_a_success_is_known(
    name: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that takes any answer would believe it, so that the proxy must carry the call out."""
    monkeypatch.setitem(FAULTS, name, replace(FAULTS[name], carried_out=False))
    organizations = {f"Basic {KEY}": Organization("o-1", sandbox.url)}
    with FaultProxy(1, Attacks(faults=(name,), rate=1), organizations) as proxy:
        proxy.endless_seconds = 0.4
        settings = Settings(
            api_key=KEY, api_url=proxy.url, retry_max_seconds=0.2, request_timeout_seconds=0.2
        )
        client = Client(settings, proxy.url)
        with suppress(DeliveryError):
            body = b'{"name": "called", "properties": {"number": 1}}'
            response = client.call("POST", "/v2/events", body, content="any", redirects=True)
            assert not response.ok
        client.close()
    assert proxy.seen.faults[name]
    assert not proxy.seen.carried_out


def test_without_faults_the_proxy_is_not_noticed(sandbox: Sandbox, api: SandboxApi) -> None:
    other = Organization("o-2", sandbox.url, refused_with=403)
    organizations = {f"Basic {KEY}": Organization("o-1", sandbox.url), "Basic other": other}
    with FaultProxy(1, Attacks(rate=0), organizations) as proxy:
        through = SandboxApi(proxy.url)
        assert through.get("/me")["orgId"] == "o-1"
        assert through.get("/v2/users") == api.get("/v2/users")
        for key, code in (("other", 403), ("unknown", 401)):
            with pytest.raises(OSError, match=str(code)):
                SandboxApi(proxy.url, key).get("/me")


@pytest.mark.parametrize("name", LIES)
def test_a_lying_job_does_what_its_name_says(name: str) -> None:
    requests = [{"uid": f"u{number}"} for number in range(10)]
    for seed in range(20):
        lie = draw_lie(random.Random(seed), (name,), len(requests))
        passed_on = json.loads(lie.passed_on(json.dumps({"requests": requests}).encode()))["requests"]
        assert passed_on
        assert len(passed_on) == len(requests) - len(lie.dropped)
        told: dict[str, Any] = {"job": {"status": "COMPLETED"}, "imports": len(passed_on), "errors": 0}
        lie.status(told)
        item = {"code": "c", "message": "m", "user": requests[0]}
        listing: dict[str, Any] = {"results": [item], "total_records": "1"}
        lie.listing(listing, "errors")
        honest = told["imports"] + told["errors"] == len(requests) and told["errors"] == 0
        assert not honest or not lie.dropped
        assert ("next_page_token" in listing) == (name == "same page token")
        assert (listing["results"] == [item]) == (name not in {"fails without errors", "does not say which"})


# The checks

Change = Callable[[dict[str, Any]], object]


def _held(wanted: Input) -> dict[str, Any]:
    """What a sandbox and the rejects files hold where all went well."""
    rejects = [
        {"kind": "events", "code": "missing_name", "record": {"number": number}} for number in wanted.rejects
    ]
    rejects += [
        {"kind": "user_deletions", "code": "user_not_found", "request": {"uid": uid}}
        for uid in wanted.unknown
    ]
    return {
        "users": {uid: dict(values) for uid, values in wanted.users.items()},
        "events": [*wanted.events, *wanted.loose],
        "calls": list(wanted.calls),
        "rejects": rejects,
    }


def _problems(held: dict[str, Any], wanted: Input, *, lies: bool = False) -> list[str]:
    tally = Tally()
    checks = Checks(wanted, Rejects.read(map(json.dumps, held["rejects"]), wanted), tally, lies=lies)
    checks.users(held["users"])
    checks.events([{"properties": {"number": number}} for number in held["events"]], set())
    checks.calls([{"properties": {"number": number}} for number in held["calls"]], 0)
    checks.rejects(faulty_deletions=set(), restarts=0)
    counted = tally.users_wrong + tally.events_lost + tally.events_twice + tally.calls_lost
    assert bool(counted + tally.rejects_lost) <= bool(checks.problems)
    return checks.problems


@pytest.mark.parametrize(
    "change",
    [
        lambda held: held["users"].popitem(),
        lambda held: held["users"]["u1"].update(version=-1),
        lambda held: held["users"].update(somebody={}),
        lambda held: held["events"].pop(),
        lambda held: held["events"].append(held["events"][0]),
        lambda held: held["calls"].pop(),
        lambda held: held["calls"].pop(0),
        lambda held: held["calls"].insert(0, held["calls"][0]),
        lambda held: held["rejects"].pop(0),
        lambda held: held["rejects"].pop(),
        lambda held: held["rejects"].append(held["rejects"][0] | {"record": {"number": held["events"][0]}}),
    ],
)
def test_the_checks_notice(change: Change) -> None:
    wanted = make_input(random.Random(1), 400, 0.05)
    held = _held(wanted)
    assert _problems(held, wanted) == []
    change(held)
    assert len(_problems(held, wanted)) == 1


def test_what_a_lying_job_has_not_imported_is_to_be_in_the_rejects() -> None:
    wanted = make_input(random.Random(1), 400, 0)
    held = _held(wanted)
    lost, (uid, values) = held["events"].pop(), held["users"].popitem()
    assert len(_problems(held, wanted, lies=True)) == 2
    event = {"properties": {"number": lost}}
    held["rejects"] += [
        {"kind": "events", "code": "job_incomplete", "request": event},
        {"kind": "users", "code": "job_incomplete", "request": {"uid": uid, "properties": values}},
    ]
    assert _problems(held, wanted, lies=True) == []
    assert _problems(held, wanted)


def test_a_secret_is_found_in_any_way_of_writing_it() -> None:
    secret = "na1.key/of+1"
    digits = "".join(f"\\u{ord(letter):04x}" for letter in secret)
    ways = [secret, secret.replace("/", "\\/"), digits, json.dumps({"message": f'{{"x": "{digits}"}}'})]
    for text in ways:
        assert secrets_in(f'{{"message": "no {text}"}}', [secret]) == {secret}
    assert not secrets_in(base64.b64encode(secret.encode()).decode(), [secret])
