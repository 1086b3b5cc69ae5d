"""The one form of an address, and of the place that a run sends to."""

from __future__ import annotations

import pytest

from target_fullstory.accounting.destination import Destination
from target_fullstory.settings.addresses import normalized


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
