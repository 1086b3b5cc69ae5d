"""Objects that Meltano has flattened on their way through the environment."""

from __future__ import annotations

from typing import Any

import pytest

from target_fullstory.settings.environment import unflatten


@pytest.mark.parametrize(
    ("members", "whole"),
    [
        ({}, {}),
        ({"a.b": 1, "a.c.d": [2]}, {"a": {"b": 1, "c": {"d": [2]}}}),
        ({r"public\.orders.kind": "events"}, {"public.orders": {"kind": "events"}}),
        ({"public.orders": {"kind": "events"}}, {"public.orders": {"kind": "events"}}),
        ({"a": "x", "b": None}, {"a": "x", "b": None}),
        ({"public.orders": None}, {"public.orders": None}),
        ({"a": 1, "a.b": 2}, {"a": 1, "a.b": 2}),
    ],
)
def test_levels_come_back(members: dict[str, Any], whole: dict[str, Any]) -> None:
    assert unflatten(members) == whole
