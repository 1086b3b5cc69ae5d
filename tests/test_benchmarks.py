"""The benchmarks measure what they say: same input, same requests, right arithmetic."""

import itertools
import json
import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks import contestants
from benchmarks.__main__ import main
from benchmarks.compare import alternate
from benchmarks.contestants import Contestant, Input, Result, Work
from benchmarks.inputs import KINDS, OVERSIZE_BYTES, changed_in_night, users_of_night
from benchmarks.nights import Nights
from benchmarks.process import BenchmarkError, Seen, Usage, measure
from benchmarks.runs import Runs, Sizes

RECORDS = 60


def written(kind: str, records: int, directory: Path) -> Input:
    return Input(KINDS[kind].write(directory / f"{kind}.jsonl", records), records)


def sent(contestant: Contestant, lines: Input, work: Path) -> list[dict]:
    """The requests that a contestant sends, by uid or in order."""
    keep = work / re.sub(r"\W+", "-", contestant.name)
    keep.mkdir()
    result = contestant.run(lines, work, keep)
    bodies = [path.read_bytes() for path in sorted(keep.iterdir())]
    assert result.seen.posts == len(bodies)
    assert result.seen.body_bytes == sum(map(len, bodies))
    assert 0 < result.first_request_after < result.usage.wall
    assert result.usage.cpu > 0
    assert result.usage.peak > 10_000_000
    return [request for body in bodies for request in json.loads(body)["requests"]]


def test_all_send_the_same_users(tmp_path):
    lines = written("users", RECORDS, tmp_path)
    ours = sent(contestants.Fullstory(tmp_path), lines, tmp_path)
    assert [request["uid"] for request in ours] == [str(n + 1) for n in range(RECORDS)]
    others = [contestants.plain_sdk(validate=True), contestants.node()]
    for other in filter(None, others):
        requests = sent(other, lines, tmp_path)
        for request in requests:
            # The SDK's parser makes moments of the texts.
            properties = request["properties"]
            properties["created_at"] = properties["created_at"].replace("+00:00", "Z")
        assert requests == ours, other.name


def test_the_bare_loop_reads_it_all(tmp_path):
    lines = written("users", RECORDS, tmp_path)
    result = contestants.bare().run(lines, tmp_path)
    expected = sum(
        len(json.dumps(json.loads(line), separators=(",", ":")))
        for line in lines.path.read_bytes().splitlines()
    )
    assert int(result.usage.last_line) == expected


def test_the_steps_of_the_mapping_are_timed(tmp_path):
    for kind in ("users", "events"):
        result = contestants.mapping_share().run(written(kind, RECORDS, tmp_path), tmp_path)
        seconds = json.loads(result.usage.last_line)
        assert seconds.keys() == {"decode", "map", "encode", "bare"}
        assert min(seconds.values()) > 0


def test_dirty_records_are_sanitised_or_rejected(tmp_path):
    lines = written("dirty", RECORDS, tmp_path)
    ours = sent(contestants.Fullstory(tmp_path), lines, tmp_path)
    assert len(ours) == RECORDS - 2, "every thirtieth is invalid"
    assert {"plan_tier_", "tags"} <= {name for request in ours for name in request["properties"]}
    assert sum("notes" not in request["properties"] for request in ours) == 2


def test_events_have_context_and_nested_properties(tmp_path):
    ours = sent(contestants.Fullstory(tmp_path), written("events", RECORDS, tmp_path), tmp_path)
    assert len(ours) == RECORDS
    assert ours[0]["context"].keys() == {"browser", "location"}
    assert ours[0]["properties"]["order"]["shipping"] == {"method": "express", "days": 1}


@pytest.mark.parametrize(("kind", "size"), [("users", 400), ("dirty", 400), ("events", 600)])
def test_inputs_are_as_described(kind, size):
    lines = list(KINDS[kind].lines(10_500))
    assert lines == list(KINDS[kind].lines(10_500))
    messages = [json.loads(line) for line in lines]
    assert messages[0]["type"] == "SCHEMA"
    states = [at for at, message in enumerate(messages) if message["type"] == "STATE"]
    assert states == [10_001, 10_502]
    records = [line for line in lines if line.startswith(b'{"type": "RECORD"')]
    sizes = {size, size + OVERSIZE_BYTES} if kind == "dirty" else {size}
    assert {len(line) for line in records} == sizes
    ids = [message["record"]["id"] for message in messages if message["type"] == "RECORD"]
    assert len(set(ids)) == len(ids) == 10_500


def test_each_night_another_hundredth_changes():
    nights = [list(KINDS["users"].lines(1_000)), *(list(users_of_night(n).lines(1_000)) for n in (1, 2))]
    for night, (before, after) in enumerate(itertools.pairwise(nights), 1):
        changed = [json.loads(new) for old, new in zip(before, after, strict=True) if old != new]
        assert len(changed) == changed_in_night(night, 1_000) == 10
        assert {len(line) for line in after if b"RECORD" in line} == {400}
        assert len({message["record"]["id"] for message in changed}) == 10
    assert changed_in_night(0, 1_000) == 1_000
    assert changed_in_night(1, 10) == 1


def test_few_records_are_answered_as_the_api_does(tmp_path):
    """They are sent one by one, and a user's answer has an id."""
    result = contestants.Fullstory(tmp_path).run(written("users", 10, tmp_path), tmp_path)
    assert result.counts["delivered"] == result.seen.records == result.seen.posts == 10
    assert result.usage.wall < 30


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_anonymous_memory_is_looked_at(tmp_path):
    few = measure([sys.executable, "-c", _WITH_MEMORY, "0"], Path(os.devnull), tmp_path)
    many = measure([sys.executable, "-c", _WITH_MEMORY, "50"], Path(os.devnull), tmp_path)
    assert few.anonymous
    assert many.anonymous
    assert 45_000_000 < many.anonymous - few.anonymous < 60_000_000


_WITH_MEMORY = """
import mmap, sys, tempfile, time
size = int(sys.argv[1]) * 1_000_000
held = b"x" * size
with tempfile.TemporaryFile() as file:
    file.truncate(size + 1)
    pages = mmap.mmap(file.fileno(), 0)
    pages[:] = bytes(len(pages))
    time.sleep(0.2)
"""


def state(**counts: int) -> bytes:
    counts = dict.fromkeys(("received", "delivered", "rejected", "merged", "unchanged"), 0) | counts
    return json.dumps({"target_fullstory": {"streams": {"users": counts}}}).encode()


def made_up(wall: float, records: int = 1000, cpu: float = 1.0, line: bytes = b"", sent: int = 0) -> Result:
    usage = Usage(wall=wall, cpu=cpu, peak=100_000_000, started=10.0, last_line=line, anonymous=100_000_000)
    seen = Seen("", posts=1, body_bytes=1, records=sent, first_request=10.0 + wall / 2)
    return Result(usage, seen, records)


def test_ratios_are_taken_pair_by_pair_after_a_warm_up():
    walls = iter([9.0, 9.0, 1.0, 2.0, 2.0, 8.0, 1.0, 3.0])
    pairs = alternate(lambda: next(walls), lambda: next(walls), runs=3)
    ratio = pairs.ratio(lambda wall: 1 / wall)
    assert (ratio.median, ratio.least, ratio.greatest) == (3.0, 2.0, 4.0)


def test_a_rate_leaves_out_the_start():
    work = Work(many=made_up(7.0, 100_010), few=made_up(2.0, 10))
    assert work.seconds == 5.0
    assert work.speed == 20_000


@pytest.mark.parametrize(("cost", "code"), [(1e-6, 0), (1e-4, 1)])
def test_check_fails_where_a_target_is_missed(cost, code, monkeypatch, capsys, tmp_path):
    def run(self, lines, work, keep=None):
        ours = isinstance(self, contestants.Fullstory)
        start, each = (0.5, cost) if ours else (0.6, 3e-5)
        cpu = 0.5 + lines.records * 4e-6
        sent = lines.records
        said = b'{"decode":1,"map":1,"encode":1,"bare":2}'
        night = re.search(r"night(\d+)", lines.path.name)
        if isinstance(self, contestants.Nightly):
            (work / "snapshot").mkdir(exist_ok=True)
            (work / "snapshot" / "store").write_bytes(b"0" * 64)
            changed = changed_in_night(int(night[1]) if night else 0, lines.records)
            said = state(delivered=changed, unchanged=lines.records - changed)
            sent = changed
            each /= 4 if night else 1
        return made_up(start + lines.records * each, lines.records, cpu, said, sent)

    monkeypatch.setattr(Contestant, "run", run)
    monkeypatch.setattr(contestants, "node", lambda: Contestant("Node script", []))
    sizes = [
        "--records",
        "30000",
        "--many",
        "60000",
        "--nightly",
        "20000",
        "--runs",
        "1",
        "--seconds",
        "0.02",
    ]
    arguments = [*sizes, "--directory", str(tmp_path)]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert table.count("\n| ") == 18
    assert ("MISSED" in table) == bool(code)
    assert main([*arguments, "--check"]) == code


def test_inputs_are_as_long_as_the_work_asked_for(monkeypatch, tmp_path):
    def run(self, lines, work, keep=None):
        return made_up(0.5 + lines.records * 1e-5, lines.records)

    monkeypatch.setattr(Contestant, "run", run)
    runs = Runs(Sizes(seconds=0.5, records=1_000, runs=1), tmp_path, lambda line: None)
    assert runs.long_input(contestants.bare(), "users").records == 60_000


def test_a_failing_process_is_told(tmp_path):
    target = contestants.Target("broken", "benchmarks.plain_sdk", {"api_key": 7})
    with pytest.raises(BenchmarkError, match="ended with 1"):
        target.run(written("users", 1, tmp_path), tmp_path)


def test_lost_records_are_told():
    lost = made_up(1.0, RECORDS, line=state(received=60, delivered=58, unchanged=1))
    with pytest.raises(BenchmarkError, match="does not account"):
        contestants.Fullstory(Path()).check(lost)


def test_users_that_are_sent_and_count_as_unchanged_are_told():
    more = made_up(1.0, RECORDS, line=state(received=60, delivered=1, unchanged=59), sent=60)
    with pytest.raises(BenchmarkError, match="sent 60 records, not 1"):
        contestants.Nightly("nightly", Path(), 0, lambda _: None).check(more)


def test_nights_are_measured_on_what_an_earlier_load_has_left(tmp_path):
    """The first load sends all, the second what has changed, the third what has changed again."""
    runs = Runs(Sizes(nightly=300), tmp_path, lambda _: None)
    nights = Nights(runs, contestants.Fullstory(tmp_path), tmp_path)
    first = runs.run(nights._first, nights._night(0, 300))
    assert (first.counts["delivered"], first.counts["unchanged"]) == (300, 0)
    for contestant, night in ((nights._second, 1), (nights._next, 2), (nights._second, 1)):
        result = runs.run(contestant, nights._night(night, 300))
        assert (result.seen.records, result.counts["unchanged"]) == (3, 297)
    assert nights._bytes_a_record(300) > 8
