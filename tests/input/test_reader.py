"""The reader: lines in, events out, and errors behind the events of the lines before them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from target_fullstory.errors import InputError
from target_fullstory.input.reader import Event, Idle, Reader, Records, Schema, State
from tests.conftest import USERS, record, state, user


class User(msgspec.Struct):
    uid: str


class _Line(msgspec.Struct, tag_field="type", tag="RECORD"):
    stream: str
    record: User


class Typed:
    """A decoder of `users` alone, as those that mapping makes."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Line)
        self.of_records: msgspec.json.Decoder[Any] = msgspec.json.Decoder(User)

    def _record(self, line: _Line) -> User:
        if line.stream != "users":
            raise msgspec.ValidationError
        return line.record

    def decode_lines(self, chunk: bytes) -> list[Any]:
        return [self._record(line) for line in self._decoder.decode_lines(chunk)]

    def decode_each(self, lines: Iterable[bytes]) -> Iterator[Any]:
        return map(self._record, map(self._decoder.decode, lines))


def chunk(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def events(reader: Reader) -> Iterator[Event]:
    return (event for event in reader if not isinstance(event, Idle))


def told(event: Event) -> Any:
    """What an event says, with records as their stream and ids, typed ones with an asterisk."""
    if isinstance(event, Records):
        assert len(event.lines()) == len(event.records)
        for line, one in zip(event.lines(), event.records, strict=True):
            uid = one.uid if isinstance(one, User) else one.get("uid")
            assert json.loads(line)["record"].get("uid") == uid
        ids = (f"{r.uid}*" if isinstance(r, User) else r.get("uid") for r in event.records)
        return f"{event.stream}: {' '.join(map(str, ids))}"
    return type(event).__name__


def test_records_that_follow_each_other_come_together() -> None:
    lines = [USERS, user(1), "", user(2), record("orders", uid="o1"), user(3), state(n=1), user(4)]
    seen = [told(event) for event in events(Reader([chunk(*lines)]))]
    assert seen == ["Schema", "users: u1 u2", "orders: o1", "users: u3", "State", "users: u4"]


def test_a_line_that_the_decoder_refuses_is_a_dictionary_in_its_place() -> None:
    first, whole = chunk(USERS, user(1)), chunk(user(2), user(3))
    mixed = chunk(user(4), record("users", uid=5), user(6), record("users", a=1))
    reader, seen = Reader([first, whole, mixed]), []
    for event in events(reader):
        seen.append(told(event))
        if isinstance(event, Schema):
            reader.decode_with("users", Typed())
    assert seen == ["Schema", "users: u1*", "users: u2* u3*", "users: u4* 5 u6* None"]
    assert reader.counts == {"SCHEMA": 1, "RECORD": 7}


def test_the_lines_of_records_are_made_once() -> None:
    """Each rejected record asks for them: made anew each time, a rejected stream would take minutes."""
    reader = Reader([chunk(USERS), chunk(user(1)), chunk(user(2), user(3))])
    for event in events(reader):
        if isinstance(event, Schema):
            reader.decode_with("users", Typed())
        elif isinstance(event, Records):
            assert event.lines() is event.lines()


def test_a_decoder_can_be_taken_back() -> None:
    reader, seen = Reader([chunk(user(1)), chunk(user(2)), chunk(user(3))]), []
    reader.decode_with("users", Typed())
    for event in events(reader):
        seen.append(told(event))
        if len(seen) == 2:
            reader.decode_with("users", None)
    assert seen == ["users: u1*", "users: u2*", "users: u3"]


@pytest.mark.parametrize("decoder", [None, Typed()])
@pytest.mark.parametrize("broken", ["oops", '{"type": "RECORD", "stream": "users"}', "[]"])
def test_what_came_before_a_broken_line_comes_first(decoder: Typed | None, broken: str) -> None:
    reader = Reader([chunk(user(1), "", user(2)), chunk(user(3), " ", broken, user(5))])
    reader.decode_with("users", decoder)
    found = events(reader)
    assert [told(next(found))[:6], told(next(found))[:6]] == ["users:", "users:"]
    with pytest.raises(InputError, match="Line 6 of the input"):
        next(found)


def test_what_only_python_writes_is_read_in_order() -> None:
    odd = '{"type": "RECORD", "stream": "users", "record": {"uid": "u2", "a": NaN}}'
    reader = Reader([chunk(user(1), odd, user(3))])
    reader.decode_with("users", Typed())
    records = [one for event in events(reader) if isinstance(event, Records) for one in event.records]
    assert [getattr(one, "uid", None) or one["uid"] for one in records] == ["u1", "u2", "u3"]


def test_a_state_is_as_the_tap_wrote_it() -> None:
    (event,) = events(Reader([b'{"type":"STATE", "value": {"b":1 , "a": 1.0}}\n']))
    assert event == State(b'{"b":1 , "a": 1.0}')


def test_files_are_read_by_the_same_decoder(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text('{"uid": "u1"}\n\n{"uid": 2}\n')
    message = {
        "type": "BATCH",
        "stream": "users",
        "encoding": {"format": "jsonl"},
        "manifest": [path.as_uri()],
    }
    reader = Reader([chunk(json.dumps(message), user(3))])
    reader.decode_with("users", Typed())
    assert [told(event) for event in events(reader)] == ["users: u1* 2", "users: u3*"]
    assert reader.counts == {"BATCH": 1, "RECORD": 3}


def test_there_is_time_for_other_work_between_chunks_and_in_silence() -> None:
    reader = Reader([chunk(user(1)), None, chunk(user(2))])
    assert [event.bytes_read for event in reader if isinstance(event, Idle)] == [
        len(chunk(user(1))),
        0,
        len(chunk(user(2))),
    ]
