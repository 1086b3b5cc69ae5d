"""When a read is complete, message by message."""

from __future__ import annotations

import pytest

from target_fullstory.snapshot.complete_reads import CompleteReads, version_of

ACTIVATE = (
    "no ACTIVATE_VERSION after its last record. If it reads the whole table each time, set full_table: true "
    "in the mapping"
)


def read(messages: str, *, full_table: bool = False, ended: bool = True) -> str:
    """Messages: `r` a record, `a` ACTIVATE_VERSION, `b` one of another version, `s` a STATE."""
    reads, unfinished = CompleteReads(), dict[str, str]()
    for message in messages:
        if message == "r" and reads.has_begun("users"):
            reads.record("users")
        elif message == "r":
            assert reads.begin("users", "1", unfinished)
        elif message == "s":
            reads.state()
        else:
            reads.activate("users", "1" if message == "a" else "2")
    reads.ended = ended
    found = reads.why_incomplete("users", full_table=full_table)
    begun = bool(unfinished)
    reads.finish("users", unfinished, full_table=full_table)
    assert bool(unfinished) == (begun and found != "")
    return found


@pytest.mark.parametrize("messages", ["ra", "ras", "rsra", "arra", "rara", "raa"])
def test_activate_version_behind_the_last_record(messages: str) -> None:
    assert read(messages) == read(messages, full_table=True) == ""
    assert "did not end in order" in read(messages, ended=False)


@pytest.mark.parametrize("messages", ["r", "ar", "arsr", "rar", "rb", "rs", "rars"])
def test_records_behind_it_or_another_version(messages: str) -> None:
    assert ACTIVATE in read(messages)


@pytest.mark.parametrize(
    ("messages", "complete"), [("rs", True), ("rsr", False), ("r", False), ("arrs", True)]
)
def test_a_full_table_ends_with_a_state(messages: str, complete: bool) -> None:
    assert ("" if complete else "as if it was killed") in read(messages, full_table=True)
    assert bool(read(messages, full_table=True)) != complete


@pytest.mark.parametrize("messages", ["", "a", "s", "as"])
def test_without_a_record_there_was_no_read(messages: str) -> None:
    assert read(messages, full_table=True) == "the tap sent no record of it"


def test_a_resumed_read_is_not_complete_and_the_next_one_is() -> None:
    unfinished: dict[str, str] = {}
    found = []
    for version, messages in (("1", "r"), ("1", "ra"), ("1", "ra"), ("2", "r"), ("3", "ra"), ("3", "ra")):
        reads = CompleteReads()
        reads.begin("users", version, unfinished)
        if "a" in messages:
            reads.activate("users", version)
        reads.ended = True
        found.append(reads.why_incomplete("users", full_table=False))
        reads.finish("users", unfinished, full_table=False)
    resumed = "the tap resumed a read that an earlier run began"
    assert found == [f"the tap sent {ACTIVATE}", resumed, "", f"the tap sent {ACTIVATE}", "", ""]


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (b'{"type":"RECORD","stream":"a","record":{"version":3},"version":1526}', "1526"),
        (b'{"type":"RECORD","version":"v1"}', "v1"),
        (b'{"type":"RECORD","record":{"version":3}}', ""),
        (b'{"type":"RECORD","version":null}', ""),
        (b'{"type":"RECORD","version":{}}', ""),
        (b"no JSON", ""),
    ],
)
def test_the_version_of_a_record(line: bytes, version: str) -> None:
    assert version_of(line) == version
