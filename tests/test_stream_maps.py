"""Stream maps are held against the SCHEMA, and are lenient with records that lack a column."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Outcome, SandboxApi, record, schema, state

Run = Callable[..., Outcome]

PEOPLE = schema("people", {"id": "integer", "email": "string", "plan": "string", "contact": "object"}, ["id"])
STREAMS = {"*": {"kind": "users", "fields": {"uid": "id"}}}


@pytest.mark.parametrize(
    ("stream_maps", "told"),
    [
        ({"people": {"a": "emial"}}, ".a: the SCHEMA of stream 'people' has no column 'emial'; did you mean"),
        ({"people": {"a": "emial"}}, "'emial'; did you mean 'email'?"),
        ({"people": {"a": "email.lower(plam)"}}, "stream_maps.people.a: .*'plam'; did you mean 'plan'?"),
        ({"people": {"a": "record['emial']"}}, "stream_maps.people.a: .*'emial'; did you mean 'email'?"),
        ({"people": {"a": "_.emial"}}, "stream_maps.people.a: .*'emial'; did you mean 'email'?"),
        ({"people": {"hash": "md6(email)"}}, "stream_maps.people.hash: .*'md6'; did you mean 'md5'?"),
        ({"people": {"new": "self"}}, "stream_maps.people.new: .*'self'"),
        ({"people": {"new": "config['slat']"}}, "stream_map_config has no 'slat'; did you mean 'salt'?"),
        ({"people": {"new": "fake.name()"}}, "stream_maps.people.new: `fake` needs the Python package faker"),
        ({"people": {"emial": None}}, "stream_maps.people.emial: .*'emial'; did you mean 'email'?"),
        ({"people": {"__filter__": "plam == 'x'"}}, "people.__filter__: .*'plam'; did you mean 'plan'?"),
        ({"people": {"__key_properties__": ["emial"]}}, "__key_properties__: .*; did you mean 'email'?"),
        ({"peo*": {"a": "emial"}}, "stream_maps.peo*.a: the SCHEMA of stream 'people' has no column"),
        ({"copy": {"__source__": "people", "a": "emial"}}, "copy.a: the SCHEMA of stream 'people'"),
    ],
)
def test_a_column_that_is_not_there(
    run_target: Run, api: SandboxApi, stream_maps: dict[str, Any], told: str
) -> None:
    """The run ends at the SCHEMA, with what came before delivered."""
    first = [schema("first", {"id": "string"}), record("first", id="before"), state(n=1)]
    outcome = run_target(
        [*first, PEOPLE, record("people", id=1)],
        api_url=api.url,
        streams=STREAMS,
        stream_maps=stream_maps,
        stream_map_config={"salt": "x"},
    )
    assert outcome.code == 1
    (line,) = outcome.error_lines
    for part in told.split(".*"):
        assert part in line, line
    assert api.user("before")
    assert outcome.states[-1]["bookmarks"] == {"n": 1}


@pytest.mark.parametrize(
    ("stream_map", "told"),
    [
        ({"mail": "email.lower("}, "stream_maps.people.mail: 'email.lower(' is no expression: "),
        ({"mail": "x = 1"}, "stream_maps.people.mail: 'x = 1' is no expression: "),
        ({"mail": ""}, "stream_maps.people.mail: '' is no expression: "),
        ({"mail": "a\0"}, "stream_maps.people.mail: "),
        (
            {"mail": "lambda: 1"},
            "stream_maps.people.mail: 'lambda: 1': Lambda is not available in a stream map",
        ),
        ({"__filter__": "plan =="}, "stream_maps.people.__filter__: 'plan ==' is no expression: "),
        ({"__fliter__": "plan"}, "no option of a stream map; did you mean '__filter__'?"),
    ],
)
def test_what_cannot_be_read_ends_the_run_at_its_start(
    run_target: Run, api: SandboxApi, stream_map: dict[str, str], told: str
) -> None:
    lines = [schema("first", {"id": "string"}), record("first", id="before"), state(n=1), PEOPLE]
    outcome = run_target(lines, api_url=api.url, streams=STREAMS, stream_maps={"people": stream_map})
    assert outcome.code == 1
    assert told in outcome.error_lines[0]
    assert api.requests() == []


@pytest.mark.parametrize(
    ("alias", "told"),
    [
        ("two words", "stream_maps.people.__alias__: 'two words' is no expression: "),
        ("2026", "The __alias__ of stream 'people' is not text"),
        ("'a' + 1", "The stream map of stream 'people' cannot be applied (TypeError)"),
    ],
)
def test_an_alias_that_is_none(run_target: Run, api: SandboxApi, alias: str, told: str) -> None:
    outcome = run_target(
        [PEOPLE, record("people", id=1)],
        api_url=api.url,
        streams=STREAMS,
        stream_maps={"people": {"__alias__": alias}},
    )
    assert outcome.code == 1
    assert told in outcome.error_lines[0]


@pytest.mark.parametrize("alias", ["my-people", "public.people", "'two words'", "'all_' + __stream_name__"])
def test_aliases_in_all_forms(run_target: Run, api: SandboxApi, alias: str) -> None:
    outcome = run_target(
        [PEOPLE, record("people", id=1)],
        api_url=api.url,
        streams=STREAMS,
        stream_maps={"people": {"__alias__": alias}},
    )
    assert outcome.code == 0, outcome.stderr
    assert len(outcome.report["streams"]) == 1
    assert api.user("1")


def test_what_singer_sdk_offers_stays(run_target: Run, api: SandboxApi) -> None:
    made = {
        "__alias__": "persons",
        "__filter__": "bool(id) and __original_stream_name__ == 'people'",
        "__key_properties__": ["uid"],
        "__else__": None,
        "uid": "str(_['id'])",
        "mail": "md5(config['salt'] + record.email)",
        "plan": "self.upper() if self else 'none'",
        "words": "' '.join([word for word in [plan, __stream_name__]])",
        "year": "datetime.date.fromisoformat('2026-01-31').year",
        "city": "record.get('contact', {}).get('city')",
        "sequence": "_sdc_sequence",
        "json": "json.dumps(contact)",
        "both": "f'{id}-{plan}'",
    }
    sent = {"id": 1, "email": "e", "plan": "pro", "contact": {"city": "Ulm"}, "_sdc_sequence": 7}
    outcome = run_target(
        [PEOPLE, record("people", **sent), record("people", id=0)],
        api_url=api.url,
        streams={"persons": {"kind": "users"}},
        stream_maps={"people": made},
        stream_map_config={"salt": "x"},
        validate_records=False,
    )
    assert outcome.code == 0, outcome.stderr
    assert api.user("1")["properties"] == {
        "mail": hashlib.md5(b"xe").hexdigest(),
        "plan": "PRO",
        "words": "pro persons",
        "year": 2026,
        "city": "Ulm",
        "sequence": 7,
        "json": '{"city": "Ulm"}',
        "both": "1-pro",
    }


def test_a_column_that_a_record_lacks_is_null(run_target: Run, api: SandboxApi) -> None:
    """To each form of expression; a record that lacks it does not get it."""
    made = {
        "__filter__": "plan != 'free'",
        "a": "email or 'none'",
        "b": "_['email'] or 'none'",
        "c": "record['email'] or 'none'",
        "d": "record.email or 'none'",
        "email": "self or 'none'",
    }
    outcome = run_target(
        [
            PEOPLE,
            record("people", id=1),
            record("people", id=2, plan="free"),
            record("people", id=3, email="x"),
        ],
        api_url=api.url,
        streams=STREAMS,
        stream_maps={"people": made},
        null_values="send",
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.report["streams"]["people"]["ignored"] == 1
    assert api.user("1")["properties"] == dict.fromkeys("abcd", "none")
    assert api.user("1")["email"] == "none"
    assert api.user("3")["properties"] == dict.fromkeys("abcd", "x")


def test_an_expression_that_fails_tells_no_value(run_target: Run, api: SandboxApi) -> None:
    outcome = run_target(
        [PEOPLE, record("people", id=1, email="secret"), record("people", id=2, plan="secret")],
        api_url=api.url,
        streams=STREAMS,
        stream_maps={
            "people": {"number": "int(email) if email else 1", "__filter__": "plan != 'x' or plan + 1"}
        },
        max_rejected_records=None,
    )
    (reject,) = outcome.rejects
    assert (reject["code"], reject["column"]) == ("stream_map_error", "number")
    assert reject["message"] == "column number: its stream map fails (ValueError)"
    assert "secret" not in outcome.stderr


def test_a_stream_that_is_ignored_needs_no_column(run_target: Run, api: SandboxApi) -> None:
    lines = [
        PEOPLE,
        record("people", id=1, email="e"),
        schema("logs", {"id": "integer"}),
        record("logs", id=1),
    ]
    outcome = run_target(
        lines,
        api_url=api.url,
        streams={"people": STREAMS["*"]},
        stream_maps={"*": {"hash": "md5(email)"}},
        unmapped_streams="ignore",
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.report["streams"]["logs"]["ignored"] == 1
    assert api.user("1")["properties"] == {"hash": hashlib.md5(b"e").hexdigest()}


def test_a_stream_map_for_a_stream_without_a_mapping_ends_the_run_at_its_start(
    run_target: Run, api: SandboxApi
) -> None:
    """A mistyped name would send the columns that the stream map takes out."""
    settings = {"streams": {"people": STREAMS["*"]}, "stream_maps": {"peple": {"email": None}}}
    lines = [PEOPLE, record("people", id=1, email="e"), state(n=1)]
    outcome = run_target(lines, api_url=api.url, **settings)
    assert outcome.code == 1
    (line,) = outcome.error_lines
    assert "stream_maps.peple: no stream 'peple' has a mapping; did you mean 'people'?" in line
    assert api.get("/v2/users")["results"] == []
    assert run_target(lines, api_url=api.url, **settings, unmapped_streams="ignore").code == 0


def test_a_stream_map_for_no_stream_is_told_at_the_end(run_target: Run, api: SandboxApi) -> None:
    outcome = run_target(
        [PEOPLE, record("people", id=1)],
        api_url=api.url,
        streams=STREAMS,
        stream_maps={"peple": {"mail": "email"}, "peop*": {"nosuch": None}, "copy": {"__source__": "person"}},
    )
    assert outcome.code == 0, outcome.stderr
    told = [line for line in outcome.stderr.splitlines() if "| WARNING" in line]
    assert len(told) == 2
    assert (
        "stream_maps.peple has no effect: the tap sent no stream 'peple'; did you mean 'people'?" in told[0]
    )
    assert (
        "stream_maps.copy has no effect: the tap sent no stream 'person'; did you mean 'people'?" in told[1]
    )
