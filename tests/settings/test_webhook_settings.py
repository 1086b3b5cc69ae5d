"""The setting `response_webhook`: its forms, and the words of its errors."""

from __future__ import annotations

from typing import Any

import pytest

from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.environment import from_environment
from target_fullstory.settings.load_settings import load_settings
from target_fullstory.settings.webhook_settings import OAuth2Auth, WebhookSettings

URL = "https://hooks.example.com/fullstory"
OAUTH2 = {"type": "oauth2", "token_url": URL, "client_id": "me", "client_secret": "s3cret"}
VARIABLE = "TARGET_FULLSTORY_RESPONSE_WEBHOOK"


def load(webhook: Any) -> WebhookSettings | None:
    return load_settings({"api_key": "key", "response_webhook": webhook}).response_webhook


def test_the_defaults() -> None:
    webhook = load({"url": URL})
    assert webhook is not None
    assert (webhook.method, webhook.auth, webhook.include) == ("POST", None, "all")
    assert webhook.headers == {}


@pytest.mark.parametrize("value", [None, {}])
def test_forms_of_none(value: Any) -> None:
    # Meltano gives an empty object where nothing is configured.
    assert load(value) is None


@pytest.mark.parametrize("scopes", ["read write", ["read", "write"]])
def test_scopes_are_a_list_or_as_oauth_writes_them(scopes: Any) -> None:
    webhook = load({"url": URL, "auth": OAUTH2 | {"scopes": scopes}})
    assert webhook is not None
    assert isinstance(webhook.auth, OAuth2Auth)
    assert webhook.auth.scopes == ("read", "write")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]:2/x"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert load({"url": url, "auth": OAUTH2 | {"token_url": url}}) is not None


def bearer(**members: Any) -> dict[str, Any]:
    return {"auth": {"type": "bearer", "token": "s3cret"} | members}


def api_key(**members: Any) -> dict[str, Any]:
    return {"auth": {"type": "api_key", "name": "X-Key", "value": "s3cret"} | members}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"url": ""}, r"response_webhook\.url is missing"),
        ({"url": 5}, r"response_webhook\.url is not valid: Expected `str`, got `int`"),
        ({"url": "http://example.com"}, r"\.url uses plain http for example\.com"),
        ({"url": "https://me:s3cret@example.com"}, r"\.url is to be an https address"),
        ({"url": "https://[::1"}, r"\.url is to be"),
        ({"url": "https://h:99999"}, r"\.url is to be"),
        ({"url": "https://h/a b"}, r"\.url is to be"),
        ({"url": "hooks.example.com"}, r"\.url is to be"),
        ({"method": "GET"}, r"\.method is not valid; "),
        ({"method": "post"}, r"\.method is not valid; did you mean 'POST'"),
        ({"include": "error"}, r"\.include is not valid; did you mean 'errors'"),
        ({"header": {}}, r"\.header is not known; did you mean 'headers'"),
        ({"headers": {"X-A": "s3cr\u00e9t"}}, r"\.headers\.X-A has a character"),
        ({"headers": {"X-A": "s3cret\n"}}, r"\.headers\.X-A has a character"),
        ({"headers": {"X A": "s3cret"}}, r"\.headers\.X A has a name"),
        ({"headers": {"Content-Length": "1"}}, r"\.headers\.Content-Length names a header"),
        ({"headers": "s3cret"}, r"\.headers is not valid"),
        ({"auth": "s3cret"}, r"\.auth is to be an object with a `type`"),
        ({"auth": {"token": "s3cret"}}, r"\.auth\.type is missing or unknown; there is 'basic'"),
        ({"auth": {"type": "baerer"}}, r"\.auth\.type is .*; did you mean 'bearer'"),
        ({"auth": {"type": ["bearer"]}}, r"\.auth\.type is missing or unknown"),
        (bearer(token=None), r"\.auth\.token is missing"),
        (bearer(token=" \n"), r"\.auth\.token is missing"),
        (bearer(token=12345), r"\.auth\.token is not valid: Expected `str`.*quotes"),
        (bearer(token="s3cr\u00e9t"), r"\.auth\.token has a character"),
        (bearer(tokn="s3cret"), r"\.auth\.tokn is not known; did you mean 'token'"),
        ({"auth": {"type": "basic", "username": "me"}}, r"\.auth\.password is missing"),
        (
            {"auth": {"type": "basic", "username": "m:e", "password": "s3cret"}},
            r"\.auth\.username has a colon",
        ),
        (api_key(**{"in": "qeury"}), r"\.auth\.in is not valid; did you mean 'query'"),
        (api_key(name="X Key"), r"\.auth\.name has a name"),
        (api_key(value="s3cr\u00e9t"), r"\.auth\.value has a character"),
        ({"auth": {"type": "hmac", "header": "Host", "secret": "s3cret"}}, r"\.auth\.header names a header"),
        ({"auth": OAUTH2 | {"token_url": "http://example.com"}}, r"token_url uses plain http"),
        ({"auth": OAUTH2 | {"scopes": [1]}}, r"\.auth\.scopes"),
    ],
)
def test_a_mistake_is_named(members: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        load({"url": URL} | members)
    assert "s3cr" not in str(error.value)


def test_what_a_query_takes_that_a_header_does_not() -> None:
    assert load({"url": URL} | api_key(**{"in": "query"}, name="a key", value="sch\u00f6n"))


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f'{{"url": "{URL}", "auth": {{"type": "bearer", "token": "t"}}}}')
    assert load(from_environment({"properties": {}})["response_webhook"]) == load(
        {"url": URL} | bearer(token="t")
    )
    monkeypatch.setenv(VARIABLE, "null")
    assert from_environment({"properties": {}})["response_webhook"] is None
    monkeypatch.setenv(VARIABLE, "s3cret")
    with pytest.raises(ConfigurationError, match=f"{VARIABLE} .* not JSON") as error:
        from_environment({"properties": {}})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "basic", "username": "me", "password": "s3cret"},
        {"type": "bearer", "token": "s3cret"},
        {"type": "api_key", "name": "key", "value": "s3cret", "in": "query"},
        {"type": "hmac", "header": "X-Signature", "secret": "s3cret"},
        OAUTH2,
    ],
    ids=lambda auth: auth["type"],
)
def test_what_a_file_may_show(auth: dict[str, Any]) -> None:
    url = "https://hooks.example.com:8443/s3cret?key=s3cret"
    config = {"api_key": "key", "response_webhook": {"url": url, "auth": auth, "headers": {"X-A": "s3cret"}}}
    seen = load_settings(config).redacted(config)["response_webhook"]
    assert "s3cret" not in str(seen)
    assert seen["url"] == "https://hooks.example.com:8443/****"
    assert seen["headers"] == {"X-A": "****"}
    assert seen["auth"]["type"] == auth["type"]


def test_an_address_of_tokens_is_shown_by_its_host() -> None:
    token_url = "https://login.example.com:8443/t3nant/token?key=s3cret"
    config = {"api_key": "key", "response_webhook": {"url": URL, "auth": OAUTH2 | {"token_url": token_url}}}
    seen = load_settings(config).redacted(config)["response_webhook"]
    assert seen["auth"]["token_url"] == "https://login.example.com:8443/****"
    assert "s3cret" not in str(seen)
