"""The limits of vanished and changed users, and the ids of plans beyond them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_fullstory.errors import BeyondLimitError, ConfigurationError
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.change_limits import ChangeLimits, UserSet, read_plan_id

SETTINGS = Settings(api_url="sandbox", max_vanished_percent=10.0, max_changed_percent=25.0)


def users(*numbers: int) -> list[bytes]:
    return [number.to_bytes(8, "big") for number in numbers]


def plan_id(vanished: dict[str, list[bytes]], known: int) -> str:
    limits = ChangeLimits(SETTINGS, stops=False)
    for stream, keys in vanished.items():
        limits.check_vanished(stream, known, keys)
    told = limits.plan_id
    assert told is not None
    return told


@given(st.sets(st.binary(min_size=8, max_size=8)), st.sets(st.binary(min_size=8, max_size=8)), st.randoms())
def test_a_set_is_known_whatever_its_order(one: set[bytes], other: set[bytes], rng: random.Random) -> None:
    def digest(of: set[bytes]) -> str:
        made, shuffled = UserSet(), list(of)
        rng.shuffle(shuffled)
        for user in shuffled:
            made.add(user)
        assert made.count == len(of)
        return made.digest

    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize(
    ("known", "vanished", "stops"),
    [(1000, 100, False), (1000, 101, True), (20, 2, False), (20, 3, True), (19, 19, False), (0, 0, False)],
)
def test_vanished_users_beyond_the_limit(known: int, vanished: int, stops: bool) -> None:
    limits = ChangeLimits(SETTINGS)
    if not stops:
        limits.check_vanished("people", known, users(*range(vanished)))
        assert limits.plan_id is None
        return
    with pytest.raises(BeyondLimitError) as raised:
        limits.check_vanished("people", known, users(*range(vanished)))
    told = str(raised.value)
    assert f"'people': {vanished} of {known} known users vanished" in told
    assert "max_vanished_percent (10)" in told
    assert f"--approve {limits.plan_id}, " in told
    assert limits.plan_id == plan_id({"people": users(*reversed(range(vanished)))}, known)


def test_without_a_limit_nothing_stops() -> None:
    limits = ChangeLimits(Settings(api_url="sandbox", max_vanished_percent=None))
    limits.check_vanished("people", 100, users(*range(100)))
    assert limits.changes_of("people", 100) is None
    assert limits.plan_id is None


def test_an_approval_is_of_exactly_these_vanished_users() -> None:
    approved = plan_id({"people": users(*range(500))}, 1000)
    ChangeLimits(SETTINGS, approved).check_vanished("people", 1000, users(*range(500)))
    # Nobody vanished any more, after the approved run.
    ChangeLimits(SETTINGS, approved).check_vanished("people", 500, [])
    for others in (users(*range(501)), users(*range(499)), users(*range(1, 501)), users(1)):
        with pytest.raises(BeyondLimitError, match="not those of the plan"):
            ChangeLimits(SETTINGS, approved).check_vanished("people", 1000, others)
    with pytest.raises(BeyondLimitError, match="max_vanished_percent"):
        ChangeLimits(SETTINGS, approved).check_vanished("others", 1000, users(*range(500)))


def test_a_plan_of_several_streams() -> None:
    approved = plan_id({"people": users(*range(500)), "staff": users(*range(30)), "few": users(1)}, 100)
    assert len(read_plan_id(approved)) == 2, "of `few`, not more than the limit vanished"
    limits = ChangeLimits(SETTINGS, approved)
    limits.check_vanished("staff", 100, users(*range(30)))
    limits.check_vanished("people", 100, users(*range(500)))
    limits.check_vanished("few", 100, users(1))


def changed(limits: ChangeLimits, count: int, known: int = 100, request: bytes = b"request") -> None:
    changes = limits.changes_of("people", known)
    assert changes is not None
    for key in users(*range(count)):
        changes.users.add(key + request)


def test_changed_users_beyond_the_limit() -> None:
    limits = ChangeLimits(SETTINGS)
    changed(limits, 25)
    limits.check_changed(all_read=True)
    changed(limits, 1, request=b"another")
    with pytest.raises(BeyondLimitError) as raised:
        limits.check_changed()
    told = str(raised.value)
    assert "'people': 26 of 100 known users changed" in told
    assert "max_changed_percent (25)" in told
    assert "--approve" in told
    assert limits.changes_of("few", 19) is None


def test_an_approval_of_changed_users() -> None:
    planned = ChangeLimits(SETTINGS, stops=False)
    changed(planned, 50)
    planned.check_changed(all_read=True)
    assert planned.plan_id is not None

    def approved() -> ChangeLimits:
        return ChangeLimits(SETTINGS, planned.plan_id)

    same = approved()
    changed(same, 50)
    same.check_changed()
    same.check_changed(all_read=True)
    more = approved()
    changed(more, 51)
    with pytest.raises(BeyondLimitError, match="more than the 50 of the plan"):
        more.check_changed()
    for count, request in ((50, b"others"), (40, b"request")):
        other = approved()
        changed(other, count, request=request)
        other.check_changed()
        with pytest.raises(BeyondLimitError, match="not those of the plan"):
            other.check_changed(all_read=True)
    within = approved()
    changed(within, 25)
    within.check_changed(all_read=True)


VANISHED, CHANGED = "v012345" + 6 * "ab", "c012345" + 6 * "ab"


@pytest.mark.parametrize("text", ["", "yes", "v12", f"{VANISHED}-", CHANGED, f"{VANISHED}.7", f"{CHANGED}.x"])
def test_what_is_no_plan_id(text: str) -> None:
    assert len(read_plan_id(f"{VANISHED}-{CHANGED}.7")) == 2
    with pytest.raises(ConfigurationError, match="is not a plan id"):
        read_plan_id(text)
