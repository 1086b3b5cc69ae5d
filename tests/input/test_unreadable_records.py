"""A record that no decoder takes is rejected as text; what is no record ends the run as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.input.unreadable_records import unreadable_object, unreadable_record
from target_fullstory.sandbox import Sandbox
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, record, schema, state, user
from tests.running import command

Run = Callable[..., Outcome]

DEEP = '{"uid": "u2", "tags": ' + "[" * 1000 + "]" * 1000 + "}"
LONG = '{"uid": "u2", "seats": ' + "7" * 5000 + "}"
MAPPED = {
    "a typed SCHEMA": {},
    "a stream map": {"stream_maps": {"users": {"plan": "'pro'"}}},
    "metadata": {"add_record_metadata": True},
    "flattening": {"flattening_enabled": True, "flattening_max_depth": 2},
    "a quota": {"max_events": 10},
}


def line_of(stream: str, text: str) -> str:
    return f'{{"type": "RECORD", "stream": "{stream}", "record": {text}}}'


@pytest.mark.parametrize("settings", MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize(("text", "says"), [(DEEP, "nested too deeply"), (LONG, "thousands of digits")])
def test_it_is_rejected_as_text_and_the_rest_goes_on(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, settings: dict[str, Any], text: str, says: str
) -> None:
    lines = [USERS, user(1), line_of("users", text), user(3), state(n=1)]
    done = run_target(lines, api_url=sandbox.url, **settings)
    assert done.code == 1
    (reject,) = done.rejects
    assert (reject["code"], reject["stage"], reject["record"]) == ("unreadable_record", "map", text)
    assert reject["message"].startswith("Line 3 of the input")
    assert says in reject["message"]
    counts = done.block["streams"]["users"]
    assert (counts["received"], counts["delivered"], counts["rejected"]) == (3, 2, 1)
    assert done.states[-1]["bookmarks"] == {"n": 1}
    assert int(api.get("/v2/users")["total_records"]) == 2


def test_it_counts_to_each_alias_of_its_stream(run_target: Run, sandbox: Sandbox) -> None:
    lines = [USERS, EVENTS, line_of("users", DEEP), event(1), line_of("others", DEEP), state(n=1)]
    done = run_target(
        [schema("others", {"uid": "string"}), *lines],
        api_url=sandbox.url,
        unmapped_streams="ignore",
        streams={"people": {"kind": "users"}},
        stream_maps={"users": {"__alias__": "people"}, "events": None},
    )
    streams = done.block["streams"]
    assert streams["people"]["rejected"] == streams["people"]["received"] == 1
    assert streams["others"]["ignored"] == streams["others"]["received"] == 1


def test_a_webhook_endpoint_is_not_kept_as_text(run_target: Run, sandbox: Sandbox) -> None:
    """Its secret could not be masked there."""
    text = '{"url": "https://example.com", "secret": "hush-hush", "x": ' + "[" * 2000 + "]" * 2000 + "}"
    lines = [schema("hooks", {"url": "string", "secret": "string"}), line_of("hooks", text), state(n=1)]
    mapping = {"kind": "webhook_endpoints", "fields": {"action": {"const": "create"}}}
    done = run_target(lines, api_url=sandbox.url, streams={"hooks": mapping})
    assert [(one["code"], "record" in one) for one in done.rejects] == [("unreadable_record", False)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (line_of("users", DEEP)[:-1], "nested"),
        (line_of("users", DEEP) + "]", "nested"),
        (line_of("users", DEEP[:-2]), "nested"),
        (line_of("users", DEEP.replace('"u2"', "u2")), "not JSON"),
        (line_of("users", DEEP.replace("]]", "],]", 1)), "nested"),
        (line_of("users", "[" * 1000 + "]" * 1000), "nested"),
        (line_of("strangers", DEEP), "'strangers' came before"),
        ('{"type": "STATE", "value": ' + DEEP + "}", "nested"),
        ('{"type": "STATE", "value": ' + LONG + "}", "thousands of digits"),
    ],
)
def test_what_is_no_record_of_a_known_stream_ends_the_run(
    run_target: Run, sandbox: Sandbox, line: str, says: str
) -> None:
    done = run_target([USERS, user(1), state(n=1), line, user(3), state(n=2)], api_url=sandbox.url)
    assert done.code == 1
    (error,) = done.error_lines
    assert says in error
    assert done.states[-1]["bookmarks"] == {"n": 1}


def test_a_replay_leaves_it_rejected(run_target: Run, sandbox: Sandbox, config: Any, tmp_path: Any) -> None:
    settings = config | {"api_url": sandbox.url}
    run_target([USERS, line_of("users", DEEP), record("users", uid=None), state(n=1)], **settings)
    (path,) = (tmp_path / "output").glob("rejects-*.jsonl")
    again = settings | {"output_dir": str(tmp_path / "again")}
    done = command(tmp_path, again, "replay", str(path))
    assert done.code == 1
    assert [(one["code"], type(one["record"])) for one in done.rejects] == [
        ("unreadable_record", str),
        ("missing_uid", dict),
    ]
    assert done.rejects[0]["record"] == DEEP


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_the_record_is_found_as_it_is_written(value: Any) -> None:
    made = json.dumps({"a": value, "": {"x": 1}})
    line = f' {{"time": [{{"record": 1}}], "record": {made} , "stream":"s\\u00fc","type":"RECORD"}}\n'
    found = unreadable_record(line.encode())
    assert found is not None
    assert (found.stream, found.text) == ("sü", made)
    assert unreadable_object(made.encode()) == made
    for broken in (line.replace("RECORD", "STATE"), line[:-3], line + "}", f"[{line}]", line * 2):
        assert unreadable_record(broken.encode()) is None
