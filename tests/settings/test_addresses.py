"""The one form of an address, and of the place that a run sends to."""

from __future__ import annotations

from typing import Any

import pytest

from target_fullstory.accounting.destination import Destination
from target_fullstory.errors import ConfigurationError
from target_fullstory.settings.addresses import normalized
from target_fullstory.settings.load_settings import load_settings


@pytest.mark.parametrize(
    "address",
    ["https://API.fullstory.com/", "https://api.fullstory.com:443", " HTTPS://api.fullstory.com.// "],
)
def test_one_place_has_one_address(address: str) -> None:
    assert normalized(address) == "https://api.fullstory.com"


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("http://[::1]:8765/", "http://[::1]:8765"),
        ("https://proxy.example.com/Fullstory/", "https://proxy.example.com/Fullstory"),
        ("https://api.fullstory.com:444", "https://api.fullstory.com:444"),
        ("sandbox", "sandbox"),
    ],
)
def test_what_tells_places_apart_stays(address: str, form: str) -> None:
    assert normalized(address) == form


def test_an_unknown_organization_may_be_any() -> None:
    ours = Destination("https://api.fullstory.com", "ours")
    assert ours.is_surely_not(Destination("https://api.fullstory.com", "theirs"))
    assert ours.is_surely_not(Destination("https://api.eu1.fullstory.com", "ours"))
    # Another key may be of the same organization.
    for organization in ("ours", "key:0123456789ab"):
        one, other = Destination(ours.address, organization), Destination(ours.address, "key:ba9876543210")
        assert not one.is_surely_not(other)
        assert not other.is_surely_not(one)
    assert not ours.is_surely_not(Destination("https://api.fullstory.com"))


@pytest.mark.parametrize(
    "host",
    [
        "a" * 64 + ".example.com",
        ".".join(["a" * 60] * 5),
        "api..example.com",
        ".example.com",
        "*.example.com",
        "\u00fc" * 64 + ".example.com",
        "\u2603\u200d.example.com",
    ],
    ids=lambda host: host[:12].encode("unicode_escape").decode(),
)
@pytest.mark.parametrize("setting", ["api_url", "response_webhook.url", "response_webhook.auth.token_url"])
def test_a_host_that_cannot_be_is_an_error_of_configuration(host: str, setting: str) -> None:
    good, bad = "https://example.com", f"https://{host}/s3cret"
    config: dict[str, Any] = {"api_key": "key", "api_url": bad if setting == "api_url" else good}
    if setting != "api_url":
        auth = {"type": "oauth2", "token_url": bad, "client_id": "me", "client_secret": "s"}
        config["response_webhook"] = {"url": bad} if setting.endswith(".url") else {"url": good, "auth": auth}
    with pytest.raises(ConfigurationError, match=f"^Setting {setting} ") as error:
        load_settings(config)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "host", ["b\u00fccher.example", "example.com.", "my_host.example.com", "[::1]", "10.0.0.1"]
)
def test_a_host_that_can_be_is_taken(host: str) -> None:
    assert load_settings({"api_key": "key", "api_url": f"https://{host}"}).api_url == f"https://{host}"
