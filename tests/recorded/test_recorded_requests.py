"""The requests of a wide set of inputs are those that were recorded, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.recorded.cases import FAMILIES, all_cases
from tests.recorded.corpus import difference, load, wordings
from tests.recorded.fullstory import FakeFullstory
from tests.recorded.replay import play

_SHOWN = 5


@pytest.fixture(scope="module")
def recorded() -> Any:
    return load()


@pytest.fixture(scope="module")
def fullstory() -> Iterator[FakeFullstory]:
    with FakeFullstory() as running:
        yield running


@pytest.mark.parametrize("family", FAMILIES)
def test_requests_are_those_recorded(
    family: str, recorded: Any, fullstory: FakeFullstory, tmp_path: Path
) -> None:
    same = recorded["wordings"] == wordings()
    found = []
    for case in all_cases():
        if case.name.startswith(f"{family}/"):
            entry = recorded["cases"].get(case.name)
            told = difference(case, entry, play(case, fullstory, tmp_path), same_wordings=same)
            found += [told] if told else []
    if found:
        rest = f"\n\nand {len(found) - _SHOWN} more cases" if len(found) > _SHOWN else ""
        pytest.fail("\n\n".join(found[:_SHOWN]) + rest, pytrace=False)


def test_every_case_recorded_is_still_played(recorded: Any) -> None:
    assert sorted(recorded["cases"]) == sorted(case.name for case in all_cases())
