"""Any input: the target ends, with one clear line where it fails, and loses no valid record before that."""

from __future__ import annotations

import json
import random
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from singer_sdk.exceptions import SingerSDKError
from singer_sdk.singerlib.exceptions import SingerError

from target_fullstory import load as load_module
from target_fullstory.errors import TargetFullstoryError
from target_fullstory.sandbox import Sandbox
from target_fullstory.target import TargetFullstory
from tests.conftest import EVENTS, USERS, Outcome, SandboxApi, event, state, user
from tests.reliability.fake import FakeFullstory

CLEAR_ERRORS = (TargetFullstoryError, SingerSDKError, SingerError)
"""What the command line reports in one line; anything else would be a defect."""

Line = tuple[str, bytes]
"""`user`, `event`, `state` or `odd`, and its bytes; the numbers are filled in by the test."""


# Lines

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "\x00", "2026-01-01T00:00:00Z", "9" * 400, "e" * 9000, "İ", "\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_columns = st.sampled_from(
    ["uid", "email", "seats", "name", "timestamp", "user", "amount", "properties", "schema", "id", "ü"]
)
_odd_record = st.builds(
    lambda stream, columns: json.dumps({"type": "RECORD", "stream": stream, "record": columns}).encode(),
    st.sampled_from(["users", "events", "users ", "nobody", ""]),
    st.dictionaries(_columns, _json, max_size=5),
)
_odd_message = st.builds(
    lambda message: json.dumps(message).encode(),
    st.dictionaries(
        st.sampled_from(["type", "stream", "record", "value", "version", "time_extracted"]),
        st.sampled_from(
            ["RECORD", "STATE", "SCHEMA", "BATCH", "ACTIVATE_VERSION", "LOG", "users", "events", 1, None, {}]
        )
        | _json,
        max_size=4,
    ),
)


def _deep(levels: int, *, where: str) -> bytes:
    nested = "[" * levels + "]" * levels
    if where == "record":
        return f'{{"type":"RECORD","stream":"users","record":{{"uid":"deep","seats":{nested}}}}}'.encode()
    if where == "state":
        return f'{{"type":"STATE","value":{{"deep":{nested}}}}}'.encode()
    return nested.encode()


def _cut(line: str, at: float) -> bytes:
    encoded = line.encode()
    return encoded[: int(len(encoded) * at)]


NASTY = [
    b"",
    b"   \t",
    b"\r",
    b"null",
    b"[]",
    b"{}",
    b'"RECORD"',
    b"12",
    b"{",
    b"\xff\xfe",
    b"\x00",
    b"\xef\xbb\xbf" + user(90001).encode(),
    user(90002).encode() + user(90003).encode(),
    b'{"type":"RECORD","stream":"users","record":{"uid":"x","uid":"y"}}',
    b'{"type":"RECORD","stream":"users","record":null}',
    b'{"type":"RECORD","stream":"users"}',
    b'{"type":"RECORD","stream":"users","record":{"uid":"\\ud800"}}',
    b'{"type":"RECORD","stream":"users","record":{"uid":"x","seats":NaN}}',
    b'{"type":"RECORD","stream":"users","record":{"uid":"x","seats":1e999}}',
    b'{"type":"RECORD","stream":"users","record":{"uid":"x","seats":' + b"9" * 5000 + b"}}",
    b'{"type":"RECORD","stream":"nobody","record":{}}',
    b'{"type":"STATE"}',
    b'{"type":"STATE","value":null}',
    b'{"type":"STATE","value":[]}',
    b'{"type":"STATE","value":{"a":NaN}}',
    b'{"type":"STATE","value":{"a":' + b"9" * 5000 + b"}}",
    b'{"type":"SCHEMA","stream":"users"}',
    b'{"type":"SCHEMA","stream":"users","schema":{},"key_properties":["uid"]}',
    b'{"type":"SCHEMA","stream":"users","schema":{"properties":{"uid":7}},"key_properties":["uid"]}',
    b'{"type":"SCHEMA","stream":"users","schema":{"properties":{}},"key_properties":"uid"}',
    b'{"type":"SCHEMA","stream":"users","schema":{"properties":{"a":{"pattern":"("}}},"key_properties":[]}',
    b'{"type":"BATCH","stream":"users"}',
    b'{"type":"BATCH","stream":"users","encoding":{"format":"jsonl"},"manifest":["file:///nowhere"]}',
    b'{"type":"ACTIVATE_VERSION","stream":"users","version":1}',
    b'{"type":"ACTIVATE_VERSION"}',
    b'{"type":1}',
    b'{"type":"NONSENSE"}',
    *(_deep(levels, where=where) for levels in (600, 5000) for where in ("record", "state", "line")),
]

_odd = st.one_of(
    st.sampled_from(NASTY),
    _odd_record,
    _odd_message,
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")),
    st.builds(_cut, st.sampled_from([USERS, user(1), event(1), state(a=1)]), st.floats(0, 0.99)),
)
_lines = st.lists(
    st.one_of(
        st.sampled_from(["user", "user", "event", "event", "state"]).map(lambda kind: (kind, b"")),
        _odd.map(lambda line: ("odd", line)),
    ),
    max_size=30,
)


# Running

BEGINNING = f"{USERS}\n{EVENTS}\n".encode()


@dataclass
class Fed:
    """An input, and where its valid records are."""

    data: bytes
    valid: list[tuple[int, str]]
    odd: list[int]
    states: set[int]


def feed(lines: list[Line]) -> Fed:
    parts, valid, odd, states = [], [], [], set()
    for number, (kind, given_line) in enumerate(lines):
        if kind == "user":
            parts.append(user(number, seats=number).encode())
            valid.append((number, f"u{number}"))
        elif kind == "event":
            parts.append(event(number, amount=number).encode())
            valid.append((number, f"e{number}"))
        elif kind == "state":
            parts.append(state(line=number).encode())
            states.add(number)
        else:
            parts.append(given_line)
            odd.append(number)
    return Fed(BEGINNING + b"".join(part + b"\n" for part in parts), valid, odd, states)


class InPieces:
    """A source of lines that arrive as they please."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data = data
        self._piece = piece

    def read(self, size: int) -> bytes:
        head, self._data = self._data[: self._piece], self._data[self._piece :]
        return head


@contextmanager
def _own_signals() -> Iterator[None]:
    """A target takes over the process's signals; the test gives them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load(fed: Fed, piece: int, **config: Any) -> tuple[Exception | None, FakeFullstory, list[int]]:
    """Runs the target in this process, before a fake Fullstory."""
    fullstory = FakeFullstory()
    written: list[int] = []

    class Output:
        def write(self, line: str) -> None:
            written.append(json.loads(line).get("bookmarks", {}).get("line", -1))

        def flush(self) -> None:
            pass

    error: Exception | None = None
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch, _own_signals():
        patch.setattr(load_module, "Client", fullstory)
        patch.setattr("sys.stdout", Output())
        target = TargetFullstory(
            config={
                "api_key": "k",
                "output_dir": directory,
                "max_rejected_records": None,
                "job_poll_interval_seconds": 0.001,
            }
            | config
        )
        try:
            target.listen(InPieces(fed.data, piece))  # type: ignore[arg-type]
        except Exception as raised:  # noqa: BLE001 - which one it is, is the question
            error = raised
    return error, fullstory, written


def held(fullstory: FakeFullstory) -> set[str]:
    numbers = {json.loads(text)["properties"].get("amount") for text in fullstory.events}
    return set(fullstory.users) | {f"e{int(n)}" for n in numbers if isinstance(n, int | float)}


_any_input = given(
    lines=_lines,
    piece=st.sampled_from([1 << 20, 100, 7000]),
    delivery=st.sampled_from(["batch", "single"]),
    rows=st.sampled_from([1, 3, 50]),
)


def check(lines: list[Line], piece: int, delivery: str, rows: int) -> None:
    fed = feed(lines)
    error, fullstory, written = load(fed, piece, delivery=delivery, batch_size_rows=rows)
    found = held(fullstory)
    if error is None:
        assert {name for _, name in fed.valid} <= found
    else:
        assert isinstance(error, CLEAR_ERRORS), repr(error)
        assert str(error).strip()
        # It ended at an odd line: what came before it is in, what came behind it is not.
        ends = [
            odd
            for odd in fed.odd
            if {name for at, name in fed.valid if at < odd} <= found
            and not {name for at, name in fed.valid if at > odd} & found
        ]
        assert ends, f"{error}: found {sorted(found)}"
    for place in written:
        if place in fed.states:
            assert {name for at, name in fed.valid if at < place} <= found


@settings(max_examples=150, deadline=None)
@_any_input
@example(lines=[("user", b""), ("odd", b"{"), ("user", b"")], piece=100, delivery="batch", rows=50)
def test_no_input_loses_a_valid_record(lines: list[Line], piece: int, delivery: str, rows: int) -> None:
    check(lines, piece, delivery, rows)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None)
@_any_input
def test_none_of_many_inputs_loses_a_valid_record(
    lines: list[Line], piece: int, delivery: str, rows: int
) -> None:
    check(lines, piece, delivery, rows)


@pytest.mark.parametrize("number", range(len(NASTY)), ids=lambda number: repr(NASTY[number][:40]))
def test_each_nasty_line(number: int) -> None:
    odd: Line = ("odd", NASTY[number])
    fed = feed([("user", b""), ("event", b""), ("state", b""), odd, ("user", b"")])
    error, fullstory, written = load(fed, 1 << 20)
    assert {"u0", "e1"} <= held(fullstory)
    # Its STATE, or the odd line's, was one.
    assert {2, -1} & set(written)
    if error is None:
        assert "u4" in fullstory.users
    else:
        assert isinstance(error, CLEAR_ERRORS), repr(error)


@pytest.mark.parametrize("number", range(len(NASTY)), ids=lambda number: repr(NASTY[number][:40]))
@pytest.mark.parametrize("kind", ["user", "event"])
def test_each_nasty_line_right_behind_records(kind: str, number: int) -> None:
    """Records that are gathered to go on together when the odd line comes."""
    fed = feed([(kind, b""), (kind, b""), ("odd", NASTY[number])])
    _, fullstory, _ = load(fed, 1 << 20)
    assert {name for _, name in fed.valid} <= held(fullstory)


@pytest.mark.parametrize("seed", range(4))
def test_the_executable_ends_whatever_it_reads(
    seed: int, run_target: Callable[..., Outcome], sandbox: Sandbox
) -> None:
    """Valid lines with a few broken at random: no hang, no traceback, one line for the error."""
    rng = random.Random(seed)
    lines = [f"{line}\n".encode() for number in range(40) for line in (user(number), event(number))]
    for _ in range(seed):
        at = rng.randrange(len(lines))
        line = bytearray(lines[at])
        for _ in range(rng.randint(1, 4)):
            line[rng.randrange(len(line))] = rng.randrange(256)
        lines[at] = bytes(line)
    outcome = run_target(
        BEGINNING + b"".join(lines) + state(a=1).encode(),
        api_url=sandbox.url,
        max_rejected_records=None,
        timeout=30,
    )
    assert outcome.code in {0, 1}
    assert len(outcome.error_lines) == outcome.code
    if seed == 0:
        assert outcome.code == 0
        assert len(SandboxApi(sandbox.url).events()) == 40
