"""The measures: what is compared, on which input, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from benchmarks import contestants
from benchmarks.compare import Pairs, alternate, median_of
from benchmarks.contestants import Contestant, Input, Result
from benchmarks.inputs import KINDS
from benchmarks.table import Row

_MB = 1_000_000
_MOST_MEMORY = 250 * _MB
_FEW = 10


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        records: Records of most inputs.
        many: Records of the long input.
        runs: Runs that count, for the comparisons with the plain SDK target.
        short_runs: The same for all comparisons that take but seconds.
        long_runs: Runs over the long input, each a round in which shorter ones are run as long.
    """

    records: int = 300_000
    many: int = 3_000_000
    runs: int = 5
    short_runs: int = 15
    long_runs: int = 5


class Bench:
    """Measures everything, one after the other."""

    def __init__(self, sizes: Sizes, work: Path, tell: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            sizes: How much is measured.
            work: A directory for inputs and outputs: inputs take 500 bytes a record or so.
            tell: Takes a line about what is being done.
        """
        self._sizes = sizes
        self._work = work
        self._tell = tell
        self._fullstory = contestants.Fullstory(work)
        self._results: dict[tuple[str, int], list[Result]] = {}

    def rows(self) -> Iterator[Row]:
        """Every measure, as soon as it is known."""
        sizes = self._sizes
        records = f"{sizes.records:,}"
        yield self._speed(
            f"{records} users, records/s against the bare msgspec loop",
            contestants.bare(),
            "users",
            0.5,
            sizes.short_runs,
        )
        yield self._speed(
            f"{records} users, records/s against the plain SDK target",
            contestants.plain_sdk(validate=True),
            "users",
            20,
            sizes.runs,
        )
        yield self._speed(
            f"{records} users, records/s against the same with validate_records: false",
            contestants.plain_sdk(validate=False),
            "users",
            6,
            sizes.runs,
        )
        yield self._speed(
            f"{records} users, records/s against the Node script",
            contestants.node(),
            "users",
            1.5,
            sizes.short_runs,
        )
        yield self._speed(
            f"{records} events with context and nested properties, against the bare loop",
            contestants.bare(),
            "events",
            0.4,
            sizes.short_runs,
        )
        yield self._dirty()
        yield self._start()
        cpu = self._cpu()
        yield self._memory()
        yield cpu

    # The measures

    def _speed(self, measure: str, other: Contestant | None, kind: str, least: float, runs: int) -> Row:
        target = f"at least {least:g}"
        if other is None:
            return Row(measure, target, "", None)
        lines = self._input(kind, self._sizes.records)
        pairs = self._pairs(other, lines, lines, runs)
        self._keep(kind, lines.records, pairs.ours)
        return _speeds(measure, target, pairs, least)

    def _dirty(self) -> Row:
        records = self._sizes.records
        dirty, clean = self._input("dirty", records), self._input("users", records)
        pairs = self._pairs(self._fullstory, dirty, clean, self._sizes.short_runs)
        self._keep("users", records, pairs.others)
        measure = f"{records:,} users, 10% of them dirty, records/s against clean ones"
        return _speeds(measure, "at least 0.5", pairs, 0.5)

    def _start(self) -> Row:
        few = self._input("users", _FEW)
        plain = contestants.plain_sdk(validate=True)
        pairs = self._pairs(plain, few, few, self._sizes.short_runs)
        self._keep("users", _FEW, pairs.ours)
        ratio = pairs.ratio(_first_request)
        return Row(
            f"{_FEW} users, time from start to the first request, against the plain SDK target",
            "at most 1.2",
            f"{ratio}: {median_of(pairs.ours, _first_request):.2f} s against "
            f"{median_of(pairs.others, _first_request):.2f} s",
            ratio.median <= 1.2,
        )

    def _memory(self) -> Row:
        usual = self._fullstory_on("users", self._sizes.records, self._sizes.runs)
        many = self._fullstory_on("users", self._sizes.many, self._sizes.long_runs)
        peak = max(map(_peak, usual + many))
        medians = (median_of(usual, _peak), median_of(many, _peak))
        apart = max(medians) / min(medians) - 1
        return Row(
            f"peak memory, {self._sizes.records:,} and {self._sizes.many:,} users",
            "at most 250 MB, within 10%",
            f"{medians[0] / _MB:.0f} MB and {medians[1] / _MB:.0f} MB ({apart:.0%} apart), "
            f"never over {peak / _MB:.0f} MB",
            peak <= _MOST_MEMORY and apart <= 0.1,
        )

    def _cpu(self) -> Row:
        """CPU time per record; what starting takes is measured with ten records and taken off.

        The sizes are held against each other round by round, as speeds are pair by pair: what slows the
        machine down for a round slows down all of them.
        """
        sizes = self._sizes
        counts = (sizes.records // 3, sizes.records, sizes.many)
        rounds = [self._costs(counts) for _ in range(sizes.long_runs)]
        levels = [mean(costs) for costs in rounds]
        shares = [[cost / level for cost in costs] for costs, level in zip(rounds, levels, strict=True)]
        costs = [median(column) * median(levels) for column in zip(*shares, strict=True)]
        apart = max(costs) / min(costs) - 1
        told = ", ".join(f"{cost * 1e6:.2f}" for cost in costs)
        return Row(
            "CPU time per record beyond the start's, "
            + ", ".join(f"{count:,}" for count in counts)
            + " users",
            "constant within 10%",
            f"{told} µs ({apart:.0%} apart)",
            apart <= 0.1,
        )

    def _costs(self, counts: tuple[int, ...]) -> list[float]:
        """CPU seconds per record by the number of records, over as many records of each size.

        Short runs come before the long one and behind it, in turns: a machine that is slower for a while is
        so for all sizes. The mean is taken, as a long run has the mean of all the speeds that it has met.
        """
        *short, long = counts
        spent = dict.fromkeys((_FEW, *counts), 0.0)
        runs = dict.fromkeys((_FEW, *counts), 0)
        turns = max(2, long // short[-1])
        for turn in range(turns):
            if turn == turns // 2:
                self._spend(long, spent, runs)
            self._spend(_FEW, spent, runs)
            for count in short:
                for _ in range(max(1, short[-1] // count)):
                    self._spend(count, spent, runs)
        start = spent[_FEW] / runs[_FEW]
        return [(spent[count] / runs[count] - start) / (count - _FEW) for count in counts]

    def _spend(self, records: int, spent: dict[int, float], runs: dict[int, int]) -> None:
        result = self._run(self._fullstory, self._input("users", records))
        self._keep("users", records, [result])
        spent[records] += result.usage.cpu
        runs[records] += 1

    # Runs

    def _input(self, kind: str, records: int) -> Input:
        path = self._work / f"{kind}-{records}.jsonl"
        if not path.exists():
            self._tell(f"writing {records:,} records: {kind}")
            KINDS[kind].write(path, records)
        return Input(path, records)

    def _run(self, contestant: Contestant, lines: Input) -> Result:
        result = contestant.run(lines, self._work)
        usage = result.usage
        self._tell(
            f"{lines.path.stem}: {contestant.name}: {usage.wall:.2f} s, CPU {usage.cpu:.2f} s, "
            f"{usage.peak / _MB:.0f} MB"
        )
        return result

    def _pairs(self, other: Contestant, ours: Input, others: Input, runs: int) -> Pairs:
        return alternate(lambda: self._run(self._fullstory, ours), lambda: self._run(other, others), runs)

    def _keep(self, kind: str, records: int, results: list[Result]) -> None:
        self._results.setdefault((kind, records), []).extend(results)

    def _fullstory_on(self, kind: str, records: int, least: int) -> list[Result]:
        """All runs of the target over an input, at least so many; those made already count."""
        results = self._results.setdefault((kind, records), [])
        lines = self._input(kind, records)
        while len(results) < least:
            results.append(self._run(self._fullstory, lines))
        return results


def _speeds(measure: str, target: str, pairs: Pairs, least: float) -> Row:
    ratio = pairs.ratio(_speed)
    return Row(
        measure,
        target,
        f"{ratio}: {median_of(pairs.ours, _speed):,.0f} against {median_of(pairs.others, _speed):,.0f}",
        ratio.median >= least,
    )


def _speed(result: Result) -> float:
    return result.speed


def _first_request(result: Result) -> float:
    return result.first_request_after


def _peak(result: Result) -> float:
    return result.usage.peak
