"""Secrets in texts from outside, in the forms in which servers and proxies repeat them."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.settings.masking import Mask
from target_fullstory.settings.model import Settings
from tests.conftest import Outcome, record, schema, state
from tests.running import command
from tests.scripted import Reply, Request, ScriptedServer

KEY = "na1.k3y/Abc+d=e"
BASE64 = base64.b64encode(f"{KEY}:".encode()).decode()


def unicode_escapes(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def percent_escapes(text: str) -> str:
    return "".join(f"%{ord(char):02x}" for char in text)


def character_references(text: str) -> str:
    return "".join(f"&#{ord(char)};" if char.isdigit() else f"&#x{ord(char):X};" for char in text)


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "slashes escaped": lambda text: text.replace("/", "\\/"),
    "slashes escaped twice": lambda text: text.replace("/", "\\\\\\/"),
    "unicode escapes": unicode_escapes,
    "unicode escapes twice": lambda text: json.dumps(unicode_escapes(text))[1:-1],
    "in capitals": lambda text: unicode_escapes(text).upper().replace("\\U", "\\u"),
    "some escaped": lambda text: text[:5] + unicode_escapes(text[5:7]) + text[7:].replace("/", "\\/"),
    "percent": lambda text: quote(text, safe=""),
    "percent, all": percent_escapes,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "html": html.escape,
    "html references": character_references,
}
"""How a text is written."""


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("secret", [KEY, BASE64], ids=["key", "base64"])
def test_every_form_is_masked(secret: str, form: Callable[[str], str]) -> None:
    mask = Mask(Settings(api_key=KEY).secrets)
    text = f"before {form(secret)} after"
    assert mask.text(text) == "before **** after"
    assert mask.may_be_in(text.encode())


_AROUND = st.text("ABC \n\u00fc{}", max_size=20)


@given(
    st.text("abc019/+=.-_", min_size=4, max_size=40), st.sampled_from(list(FORMS.values())), _AROUND, _AROUND
)
def test_any_secret_is_masked_and_nothing_else(
    secret: str, form: Callable[[str], str], before: str, after: str
) -> None:
    assert Mask([secret]).text(before + form(secret) + after) == f"{before}****{after}"


def test_keys_and_nested_values_are_masked() -> None:
    mask = Mask(["s3cret"])
    assert mask.data({"s3cret": [{"a": "x s3cret"}, 7, None, True]}) == {
        "****": [{"a": "x ****"}, 7, None, True]
    }
    assert not Mask([""]).may_be_in(b"\\ %")
    assert Mask([]).text("a \\ b") == "a \\ b"


# Whole runs against servers that repeat what they got

ESCAPED = [
    str,
    lambda text: text.replace("/", "\\/"),
    unicode_escapes,
    lambda text: json.dumps(unicode_escapes(text))[1:-1],
]


def echo(request: Request, form: Callable[[str], str]) -> str:
    return form(request.headers["authorization"].removeprefix("Basic "))


def parts(value: Any) -> str:
    return json.dumps(value) + json.dumps(value, ensure_ascii=False)


def no_key(outcome: Outcome) -> None:
    """The key is in nothing that a run wrote, in no form that decodes to it."""
    written = [path.read_text() for path in outcome.output_dir.rglob("*") if path.is_file()]
    for text in (outcome.stdout, outcome.stderr, *written):
        for form in FORMS.values():
            for secret in (KEY, BASE64):
                assert form(secret) not in text


@pytest.mark.parametrize("form", ESCAPED, ids=["plain", "slash", "unicode", "twice"])
@pytest.mark.parametrize("encoding", ["none", "base64"])
def test_a_key_that_is_echoed_is_in_no_file(
    run_target: Callable[..., Outcome], form: Callable[[str], str], encoding: str
) -> None:
    """In an error's message and code, as a member's name, in a job's refused items, and by /me."""

    def script(request: Request, number: int) -> Reply:
        said = echo(request, form)
        if request.path == "/me":
            return Reply(200, f'{{"role":"{said}","email":"{said}","orgId":"{said}"}}'.encode())
        if request.path.endswith("/errors"):
            item = f'{{"code":"{said}","message":"no {said}","event":{{"{said}":"{said}"}}}}'
            return Reply(200, f'{{"results":[{item}],"total_records":"1"}}'.encode())
        if request.method == "GET":
            job = f'{{"id":"job","status":"FAILED","{said}":"{said}"}}'
            return Reply(200, f'{{"job":{job},"imports":0,"errors":1}}'.encode())
        if request.path.endswith("/batch"):
            return Reply(200, {"job": {"id": "job", "status": "PROCESSING"}})
        return Reply(400, f'{{"code":"{said}","message":"{said} is not for me"}}'.encode())

    events = schema("events", {"name": "string", "n": "integer"})
    with ScriptedServer(script) as server:
        for delivery, code in (("single", 1), ("batch", 1)):
            outcome = run_target(
                [events, record("events", name="Ordered", n=1), state(at=1)],
                api_key=KEY,
                api_key_encoding=encoding,
                api_url=server.url,
                delivery=delivery,
            )
            assert outcome.code == code
            no_key(outcome)
    assert outcome.rejects
    assert "****" in outcome.rejects[0]["message"]


@pytest.mark.parametrize("form", ESCAPED, ids=["plain", "slash", "unicode", "twice"])
def test_a_key_that_is_echoed_to_a_command_is_not_shown(
    tmp_path: Any, config: dict[str, Any], form: Callable[[str], str]
) -> None:
    def script(request: Request, number: int) -> Reply:
        said = echo(request, form)
        return Reply(200, f'{{"role":"USER {said}","email":"{said}","orgId":"{said}"}}'.encode())

    with ScriptedServer(script, me=True) as server:
        full = config | {"api_key": KEY, "api_url": server.url, "retry_max_seconds": 1}
        for options in ((), ("--format", "json"), ("--send-test",)):
            done = command(tmp_path, full, "check", *options)
            assert "****" in done.stdout
            no_key(done)
