"""Batches: merging, cutting at a STATE, keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from target_fullstory.accounting.checkpoints import Position, Ticket
from target_fullstory.batching.batch import BatchBody, OpenBatch
from target_fullstory.batching.merge import merge_updates
from target_fullstory.sending.idempotency_keys import content_key


def ticket() -> Ticket:
    return Ticket(Position(0, b""))


def add_update(batch: OpenBatch, uid: str, **properties: Any) -> None:
    body = json.dumps({"uid": uid, "properties": properties}).encode()
    batch.add(body, 1, [uid], timed=False, covered_by=1)


def add_event(batch: OpenBatch, number: int, *, timed: bool = True) -> None:
    batch.add(json.dumps({"name": str(number)}).encode(), 1, [], timed=timed, covered_by=1)


def merged(*updates: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(item) for item in merge_updates([json.dumps(u).encode() for u in updates])]


def test_later_values_win_and_others_stay() -> None:
    assert merged(
        {"uid": "a", "email": "old", "properties": {"plan": "free", "seats": 1}},
        {"uid": "b", "properties": {}},
        {"uid": "a", "display_name": "A", "properties": {"plan": "pro"}},
    ) == [
        {"uid": "a", "email": "old", "properties": {"plan": "pro", "seats": 1}, "display_name": "A"},
        {"uid": "b", "properties": {}},
    ]


def test_nested_properties_merge_name_by_name() -> None:
    (user,) = merged(
        {"uid": "a", "properties": {"address": {"city": "Utrecht", "zip": "1"}}},
        {"uid": "a", "properties": {"address": {"city": "Delft"}}},
    )
    assert user["properties"] == {"address": {"city": "Delft", "zip": "1"}}


def test_a_declaration_goes_with_its_value() -> None:
    (user,) = merged(
        {
            "uid": "a",
            "properties": {"seats": 1, "since": "2026-01-01"},
            "schema": {"properties": {"seats": "int", "since": "date"}},
        },
        {"uid": "a", "properties": {"seats": 1.5}},
    )
    assert user["schema"] == {"properties": {"since": "date"}}


def test_users_that_appear_once_are_not_touched() -> None:
    item = b'{"uid":"a",   "properties":{"n":1.10}}'
    assert merge_updates([item, b'{"uid":"b"},{"uid":"b"}'])[0] == item


def test_a_closed_batch_counts_requests_and_records() -> None:
    batch = OpenBatch("users", "users", ticket())
    for uid in "abab":
        add_update(batch, uid)
    closed = batch.close()
    assert (closed.rows, closed.records, len(closed.requests())) == (2, 4, 2)
    assert set(closed.keys) == {hash("a"), hash("b")}


def test_runs_and_single_records_mix() -> None:
    batch = OpenBatch("users", "users", ticket())
    batch.add(b'{"uid":"a"},{"uid":"b"}', 2, ["a", "b"], timed=False, covered_by=1)
    add_update(batch, "a", plan="pro")
    closed = batch.close()
    assert (closed.rows, closed.records) == (2, 3)
    assert json.loads(b"".join(BatchBody(closed.items)))["requests"][0]["properties"] == {"plan": "pro"}


def test_a_batch_of_events_is_cut_at_the_last_state() -> None:
    batch = OpenBatch("events", "events", ticket())
    add_event(batch, 1)
    batch.mark_state()
    add_event(batch, 2)
    batch.mark_state()
    add_event(batch, 3, timed=False)
    part, rest = batch.cut(ticket)
    assert [json.loads(item)["name"] for item in part.items] == ["1", "2"]
    assert part.timed, "an event behind the cut without a timestamp does not concern the part"
    assert rest is not None
    assert (rest.rows, rest.marked, rest.close().timed) == (1, False, False)


def test_nothing_remains_where_a_state_ends_the_batch() -> None:
    batch = OpenBatch("events", "events", ticket())
    add_event(batch, 1)
    batch.mark_state()
    part, rest = batch.cut(lambda: pytest.fail("no ticket is needed"))
    assert (part.rows, rest) == (1, None)


def test_a_body_has_one_key_and_equal_events_of_a_batch_have_different_ones() -> None:
    assert content_key([b"{}"]) == content_key([b"{}"])
    assert content_key([b"{}"]) != content_key([b"{}"], 1)


@pytest.mark.parametrize("sizes", [[], [1], [2_000_000], [1, 2_000_000, 1], [700_000] * 6, [100] * 20_000])
def test_a_body_is_sent_in_parts_of_some_size(sizes: list[int]) -> None:
    items = [b'"' + b"x" * size + b'"' for size in sizes]
    body = BatchBody(items)
    parts = list(body)
    assert b"".join(parts) == b'{"requests":[' + b",".join(items) + b"]}"
    assert len(body) == sum(map(len, parts))
    assert b"".join(body) == b"".join(parts), "an attempt that fails is followed by another"
    assert all(len(part) >= 1 << 20 for part in parts[:-1])
    assert all(len(part) < 1.02 * (1 << 20) + max(sizes, default=0) for part in parts), "commas included"
    assert body.requests() == items
    assert content_key(body) == content_key([b"".join(parts)]), "however it is cut"
