"""Which requests of a job stand in none of its lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from target_fullstory.kinds import Kind
from target_fullstory.sending.missing_requests import missing_requests, refused_requests


def ordered(number: int, **fields: Any) -> dict[str, Any]:
    at = f"2026-01-01T00:00:{number:02}Z"
    return {"name": "Ordered", "timestamp": at, "user": {"uid": "u"}, "properties": {"n": number}} | fields


def missing(
    sent: list[dict[str, Any]], refused: list[Any], imported: list[Any], kind: Kind = "events"
) -> tuple[list[dict[str, Any]], list[int]]:
    bodies = [json.dumps(one).encode() for one in sent]
    listed = [None if one is None else json.dumps(one).encode() for one in refused]
    left, known, _ = missing_requests(kind, bodies, listed, imported)
    return [json.loads(one) for one in left], known


def test_users_are_known_by_uid_or_id() -> None:
    sent = [{"uid": "a", "email": "x"}, {"id": "7"}, {"uid": "b", "id": "8"}, {"uid": "c"}]
    imported = [{"id": "7", "display_name": "added"}, {"uid": "b", "id": "9"}, {"uid": "z"}, "odd"]
    assert missing(sent, [{"uid": "a"}], imported, "users") == ([sent[3]], [0])


def test_equal_events_are_counted() -> None:
    sent = [ordered(1)] * 3
    assert missing(sent, [ordered(1)], [ordered(1)]) == ([ordered(1)], [0])
    assert missing(sent, [], [ordered(1)] * 5) == ([], [])


def test_what_the_list_of_imports_leaves_out_makes_no_difference() -> None:
    schema = {"properties": {"n": "int"}}
    sent = [ordered(1, schema=schema, session={"use_most_recent": True}, context={})]
    assert missing(sent, [], [ordered(1, session={})]) == ([], [])


@pytest.mark.parametrize("item", [None, {}, [], 7, {"name": ["a"], "timestamp": {"x": 1}, "user": 3}])
def test_what_was_not_sent_is_no_request(item: Any) -> None:
    assert missing([ordered(1)], [item], [item]) == ([ordered(1)], [])


def test_an_error_that_is_listed_twice_does_not_pass_for_another_event() -> None:
    """The two differ in what is looked at first alone; the second is nowhere."""
    sent = [ordered(1, properties={"n": 1}), ordered(1, properties={"n": 2})]
    assert missing(sent, [sent[0], sent[0]], []) == ([sent[1]], [0])
    altered = ordered(1, properties={"n": "one"})
    assert missing(sent, [altered, altered], []) == (sent, [])


def test_of_events_that_are_alike_all_are_missing_unless_all_are_listed() -> None:
    sent = [ordered(1, properties={"n": n}) for n in range(3)]
    shown = [ordered(1, properties={"n": str(n)}) for n in range(3)]
    assert missing(sent, [], shown[:2]) == (sent, [])
    assert missing(sent, [shown[0]], shown[1:]) == ([], [0])


def compared(sent: list[Any], refused: list[Any], imported: list[Any]) -> tuple[set[int] | None, set[int]]:
    bodies = [json.dumps(one).encode() for one in sent]
    listed = [None if one is None else json.dumps(one).encode() for one in refused]
    return (
        refused_requests("events", bodies, listed),
        missing_requests("events", bodies, listed, imported).imported,
    )


def test_refused_requests_are_those_that_are_listed_as_they_were_sent() -> None:
    sent = [ordered(1), ordered(2), ordered(1), ordered(3)]
    assert compared(sent, [ordered(1), ordered(3)], []) == ({0, 3}, set())
    assert compared(sent, [ordered(1), ordered(1)], [ordered(2)]) == ({0, 2}, {1})


@pytest.mark.parametrize("item", [None, ordered(2, name="Odd"), ordered(2, properties={"n": "2"})])
def test_a_refused_item_that_is_none_of_the_requests_leaves_it_open(item: Any) -> None:
    sent = [ordered(1), ordered(2)]
    assert compared(sent, [item], [ordered(1)]) == (None, {0})
    assert compared(sent, [ordered(1), ordered(1)], [])[0] is None


def test_of_events_that_are_alike_none_is_surely_imported_where_one_was_refused() -> None:
    sent = [ordered(1, properties={"n": n}) for n in range(3)]
    shown = [ordered(1, properties={"n": str(n)}) for n in range(3)]
    assert compared(sent, [shown[0]], shown[1:])[1] == set()
    assert compared(sent, [], shown)[1] == {0, 1, 2}
    assert compared(sent, [sent[0]], shown[1:]) == ({0}, {1, 2})
