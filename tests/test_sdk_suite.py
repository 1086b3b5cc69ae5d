"""singer-sdk's own tests of a target."""

from __future__ import annotations

from typing import Any

import pytest
from singer_sdk.testing import get_target_test_class

from target_fullstory.target import TargetFullstory


def suite(streams: dict[str, Any]) -> type[Any]:
    config = {"api_url": "sandbox", "streams": streams, "job_poll_interval_seconds": 0.05}
    tests: type[Any] = get_target_test_class(TargetFullstory, config=config)
    return tests


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestAsEvents(
    suite({"*": {"kind": "events", "fields": {"name": {"const": "Row"}, "user.uid": {"const": "someone"}}}})
):  # type: ignore[misc]
    """Every stream as events."""


class TestAsEventsOfNobody(suite({"*": {"kind": "events", "fields": {"name": {"const": "Row"}}}})):  # type: ignore[misc]
    """Every stream as events that name neither user nor session."""


class TestAsUsers(suite({"*": {"kind": "users", "fields": {"uid": {"const": "someone"}}}})):  # type: ignore[misc]
    """Every stream as users."""
