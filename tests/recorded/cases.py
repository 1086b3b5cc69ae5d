"""All cases, each in the family that its name begins with."""

from __future__ import annotations

from functools import cache

from tests.recorded import (
    generated,
    refused,
    written_clean,
    written_conversions,
    written_json,
    written_kinds,
    written_loads,
    written_mappings,
    written_properties,
)
from tests.recorded.case import Case

FAMILIES = (
    "mapping",
    "json",
    "linking",
    "kinds",
    "clean",
    "loads",
    "delivery",
    "sdk",
    "refused",
    "generated",
)


@cache
def all_cases() -> tuple[Case, ...]:
    """All of them, in the order they are played."""
    makers = (
        written_mappings,
        written_properties,
        written_conversions,
        written_json,
        written_kinds,
        written_clean,
        written_loads,
        refused,
        generated,
    )
    made = tuple(case for maker in makers for case in maker.cases())
    names = [case.name for case in made]
    assert len(set(names)) == len(names), "two cases of one name"
    return made
