"""A name that is not there gets the nearest one that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import executable
from tests.conftest import Outcome, SandboxApi, record, schema

Run = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("stream", "hint"),
    [
        ("order", "did you mean 'orders'?"),
        ("user", "did you mean 'users'?"),
        ("xyz", "; there is 'orders', 'users', 'events', 'user_deletions'. Add it"),
    ],
)
def test_a_stream_without_a_mapping(run_target: Run, api: SandboxApi, stream: str, hint: str) -> None:
    orders = {"kind": "events", "fields": {"name": {"const": "Ordered"}}}
    lines = [schema(stream, {"id": "integer"}), record(stream, id=1)]
    outcome = run_target(lines, api_url=api.url, streams={"orders": orders})
    assert outcome.code == 1
    assert f"{stream!r} has no mapping" in outcome.error_lines[0]
    assert hint in outcome.error_lines[0]


@pytest.mark.parametrize(
    ("written", "hint"), [("prewiew", "did you mean 'preview'?"), ("xyz", "; there is 'check', 'preview', ")]
)
def test_a_command_that_is_not_there(tmp_path: Path, written: str, hint: str) -> None:
    done = executable.fork([written, "--config", "c.json"], directory=tmp_path)
    assert done.returncode == 1
    assert f"There is no command {written!r}{hint if hint[0] == ';' else '; ' + hint}" in done.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Order Placed", "'Order Placed'; there is 'id'. A fixed text is written {const: Order Placed}."),
        ("idd", "no column 'idd'; did you mean 'id'? A fixed text is written {const: idd}."),
    ],
)
def test_a_constant_without_const(run_target: Run, api: SandboxApi, name: str, told: str) -> None:
    lines = [schema("orders", {"id": "integer"}), record("orders", id=1)]
    orders = {"kind": "events", "fields": {"name": name}}
    outcome = run_target(lines, api_url=api.url, streams={"orders": orders})
    assert outcome.code == 1
    assert told in outcome.error_lines[0]
    assert "streams.orders.fields.name" in outcome.error_lines[0]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            {"streams": {"orders": {"kind": "users", "fields": {"email": {"cnst": "x"}}}}},
            "streams.orders.fields.email.cnst: 'cnst' is no key of a source; did you mean 'const'?",
        ),
        (
            {"streams": {"orders": {"kind": "users", "properties": "plan"}}},
            "streams.orders.properties is not valid: Expected `object or list`, got `text`.",
        ),
        ({"streams": [{"name": "orders"}]}, "not valid: streams is to be of type 'object'"),
        ({"delivery": "btach"}, "not valid: delivery 'btach' is not one of ['auto', 'batch', 'single']"),
    ],
)
def test_a_wrong_setting(run_target: Run, api: SandboxApi, written: dict[str, Any], told: str) -> None:
    outcome = run_target([], api_url=api.url, **written)
    assert outcome.code == 1
    assert told in outcome.error_lines[0]
