"""Injected faults: each kind, its effect, and that a seed repeats them."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
import requests

from target_fullstory.sandbox.http import fault_injection
from target_fullstory.sandbox.http.fault_injection import Fault

NOT_CARRIED_OUT = {
    "reset_before", "error_429", "error_500", "error_500_kept",
    "error_502_html", "error_503_seconds", "error_503_date",
}  # fmt: skip
NO_ANSWER = {"reset_before", "reset_after", "truncated"}


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(fault_injection, "SLOW_SECONDS", 0.01)


def attempt(api, number):
    """Creates a user; the response, or None where there was none."""
    try:
        response = api.call("POST", "/v2/users", f"key-{number}", json={"uid": f"u{number}"})
        response.content  # noqa: B018 (reads it)
    except requests.RequestException:
        return None
    return response


def faults_met(api):
    return [entry["fault"] for entry in api.get("/sandbox/requests")["results"]]


def test_every_kind_of_fault_does_what_it_says(start):
    with start(fail_rate=1.0, seed=7) as api:
        responses = [attempt(api, number) for number in range(80)]
        met = faults_met(api)
        assert set(met) == {fault.value for fault in Fault}
        stats = api.get("/sandbox/stats")
        assert stats["faults"] == {kind: met.count(kind) for kind in sorted(set(met))}
        assert stats["users"] == sum(1 for kind in met if kind not in NOT_CARRIED_OUT)
    for kind, response in zip(met, responses, strict=True):
        assert (response is None) is (kind in NO_ANSWER), kind
        if response is None:
            continue
        if kind == "slow":
            assert response.status_code == 200
            assert response.json()["id"]
        elif kind == "error_502_html":
            assert response.status_code == 502
            assert response.headers["Content-Type"] == "text/html"
            assert "<html>" in response.text
        else:
            assert str(response.status_code) in kind
            assert set(response.json()) == {"message", "code"}
        if kind in {"error_429", "error_503_seconds"}:
            assert int(response.headers["Retry-After"]) >= 1
        if kind == "error_503_date":
            assert parsedate_to_datetime(response.headers["Retry-After"])


def test_a_seed_repeats_the_faults(start):
    met = []
    for seed in (1, 1, 2):
        with start(fail_rate=0.5, seed=seed) as api:
            for number in range(40):
                attempt(api, number)
            met.append(faults_met(api))
    assert met[0] == met[1] != met[2]
    assert 8 < sum(1 for kind in met[0] if kind) < 32


def test_a_client_that_retries_with_the_same_key_gets_everything_in_once(start):
    with start(fail_rate=0.4, seed=5) as api:
        kept_500 = 0
        for number in range(40):
            key = f"key-{number}"
            for _ in range(50):
                try:
                    response = api.call("POST", "/v2/users", key, json={"display_name": str(number)})
                    if response.status_code == 200 and response.json()["id"]:
                        break
                except requests.RequestException:
                    continue
                if response.status_code == 500:
                    # It may be kept: then only another key gets through, and nothing was done under this one.
                    key += "-again"
                    kept_500 += 1
        stats = api.get("/sandbox/stats")
        assert stats["users"] == 40
        assert kept_500 > 0


def test_a_kept_500_is_given_again_and_nothing_was_carried_out(start):
    with start(fail_rate=0.3, seed=11) as api:
        number = 0
        while "error_500_kept" not in (met := faults_met(api)):
            attempt(api, number)
            number += 1
            assert number < 300
        key_number = len(met) - 1
        for _ in range(50):
            response = attempt(api, key_number)
            last = api.get("/sandbox/requests")["results"][-1]
            if last["fault"] is None:
                break
        assert response.status_code == 500
        assert last["replayed"] is True
        deadline = range(50)
        users = None
        for _ in deadline:
            try:
                found = api.call("GET", "/v2/users", params={"uid": f"u{key_number}"})
                if found.status_code == 200:
                    users = found.json()["total_records"]
                    break
            except (requests.RequestException, ValueError):
                continue
        assert users == "0"


def test_only_the_calls_of_version_2_meet_faults(start):
    with start(fail_rate=1.0) as api:
        for _ in range(10):
            assert api.get("/me")
            assert api.get("/webhooks/v1/event_types")
            assert api.get("/sandbox/stats")
