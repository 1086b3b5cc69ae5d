"""The block's key: it must not be one where the tap keeps its own state."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, state, user

Run = Callable[..., Outcome]


@pytest.mark.parametrize("key", ["bookmarks", "singer_state", "currently_syncing"])
def test_a_key_of_the_taps_is_refused(run_target: Run, sandbox: Sandbox, api: SandboxApi, key: str) -> None:
    done = run_target([USERS, user(1), state(n=1)], api_url=sandbox.url, state_key=key)
    assert (done.code, done.stdout) == (1, "")
    (error,) = done.error_lines
    assert "state_key" in error
    assert key in error
    assert int(api.get("/v2/users")["total_records"]) == 0


@pytest.mark.parametrize("held", [{"page": 7}, [1], "text", 0, {"version": 1}])
def test_a_tap_whose_state_has_that_key_keeps_it(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, held: object
) -> None:
    """The run ends there, all before it delivered and checkpointed."""
    second = json.dumps({"type": "STATE", "value": {"bookmarks": {"n": 2}, "position": held}})
    done = run_target(
        [USERS, user(1), state(n=1), user(2), second, user(3), state(n=3)],
        api_url=sandbox.url,
        state_key="position",
    )
    assert done.code == 1
    (error,) = done.error_lines
    assert "'position'" in error
    assert "state_key" in error
    assert [one["bookmarks"] for one in done.states][-1] == {"n": 1}
    assert int(api.get("/v2/users")["total_records"]) == 2
    assert done.states[-1]["position"]["streams"]["users"]["delivered"] == 2


def test_a_block_of_an_earlier_run_is_replaced(run_target: Run, sandbox: Sandbox) -> None:
    first = run_target([USERS, user(1), state(n=1)], api_url=sandbox.url)
    for block in (first.block, None, {}):
        echoed = json.dumps({"type": "STATE", "value": {"bookmarks": {"n": 2}, "target_fullstory": block}})
        done = run_target([USERS, user(2), echoed], api_url=sandbox.url)
        assert done.code == 0, done.stderr
        assert done.block["run_id"] != first.block["run_id"]
        assert done.states[-1]["bookmarks"] == {"n": 2}
