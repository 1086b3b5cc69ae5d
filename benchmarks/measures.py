"""The measures: what is compared, on which input, and what is to be reached."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median

from benchmarks import contestants
from benchmarks.compare import alternate, median_of
from benchmarks.contestants import Contestant, Result
from benchmarks.nights import Nights
from benchmarks.runs import FEW, MB, Runs, Sizes, speeds
from benchmarks.table import Row

_MOST_MEMORY = 150 * MB


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
        self._runs = Runs(sizes, work, tell)
        self._fullstory = contestants.Fullstory(work)
        self._results: dict[tuple[str, int], list[Result]] = {}

    def rows(self) -> Iterator[Row]:
        """Every measure, as soon as it is known."""
        plain, unchecked = (contestants.plain_sdk(validate=True), contestants.plain_sdk(validate=False))
        yield self._against("users", "the bare msgspec loop", contestants.bare(), 0.65)
        yield self._against("users", "the plain SDK target", plain, 20)
        yield self._against("users", "the same with validate_records: false", unchecked, 6)
        yield self._against("users", "the Node script", contestants.node(), 1.5)
        yield self._against("events", "the bare msgspec loop", contestants.bare(), 0.65)
        yield self._dirty()
        yield self._share("users")
        yield self._share("events")
        yield self._start()
        cpu = self._cpu()
        yield self._memory()
        yield cpu
        yield from Nights(self._runs, self._fullstory, self._work).rows()

    # The measures

    def _against(self, kind: str, whom: str, other: Contestant | None, least: float) -> Row:
        measure = f"{kind}, records/s against {whom}"
        if other is None:
            return Row(measure, f"at least {least:g}", "", None)
        return speeds(measure, self._runs.pairs((self._fullstory, kind), (other, kind)), least)

    def _dirty(self) -> Row:
        pairs = self._runs.pairs((self._fullstory, "dirty"), (self._fullstory, "users"))
        return speeds("users, 10% of them dirty, records/s against clean ones", pairs, 0.65)

    def _share(self, kind: str) -> Row:
        """What the mapping's generated function takes; there is no target, it tells where to look."""
        lines = self._runs.input(kind, self._sizes.records)
        seconds = json.loads(contestants.mapping_share().run(lines, self._work).usage.last_line)
        ours = seconds["decode"] + seconds["map"] + seconds["encode"]
        share = seconds["map"] / ours
        return Row(
            f"{kind}, the one generated function's share of decoding, mapping and encoding",
            "",
            f"{share:.0%}: {seconds['map'] / lines.records * 1e6:.2f} of {ours / lines.records * 1e6:.2f} µs "
            f"a record; the bare loop takes {seconds['bare'] / lines.records * 1e6:.2f}",
            True,
        )

    def _start(self) -> Row:
        few = self._runs.input("users", FEW)
        plain = contestants.plain_sdk(validate=True)
        pairs = alternate(
            lambda: self._runs.run(self._fullstory, few),
            lambda: self._runs.run(plain, few),
            2 * self._sizes.runs,
        )
        ratio = pairs.ratio(_first_request)
        return Row(
            f"{FEW} users, time from start to the first request, against the plain SDK target",
            "at most 1",
            f"{ratio}: {median_of(pairs.ours, _first_request):.2f} s against "
            f"{median_of(pairs.others, _first_request):.2f} s",
            ratio.median <= 1,
        )

    def _memory(self) -> Row:
        usual = self._fullstory_on("users", self._sizes.records, self._sizes.long_runs)
        many = self._fullstory_on("users", self._sizes.many, self._sizes.long_runs)
        peak = max(map(_peak, usual + many))
        medians = (median_of(usual, _peak), median_of(many, _peak))
        apart = max(medians) / min(medians) - 1
        return Row(
            f"peak memory, {self._sizes.records:,} and {self._sizes.many:,} users",
            "at most 150 MB, within 10%",
            f"{medians[0] / MB:.0f} MB and {medians[1] / MB:.0f} MB ({apart:.0%} apart), "
            f"never over {peak / MB:.0f} MB",
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
        spent = dict.fromkeys((FEW, *counts), 0.0)
        runs = dict.fromkeys((FEW, *counts), 0)
        turns = max(2, long // short[-1])
        for turn in range(turns):
            if turn == turns // 2:
                self._spend(long, spent, runs)
            self._spend(FEW, spent, runs)
            for count in short:
                for _ in range(max(1, short[-1] // count)):
                    self._spend(count, spent, runs)
        start = spent[FEW] / runs[FEW]
        return [(spent[count] / runs[count] - start) / (count - FEW) for count in counts]

    def _spend(self, records: int, spent: dict[int, float], runs: dict[int, int]) -> None:
        result = self._runs.run(self._fullstory, self._runs.input("users", records))
        self._keep("users", records, [result])
        spent[records] += result.usage.cpu
        runs[records] += 1

    # Runs

    def _keep(self, kind: str, records: int, results: list[Result]) -> None:
        self._results.setdefault((kind, records), []).extend(results)

    def _fullstory_on(self, kind: str, records: int, least: int) -> list[Result]:
        """All runs of the target over an input, at least so many; those made already count."""
        results = self._results.setdefault((kind, records), [])
        lines = self._runs.input(kind, records)
        while len(results) < least:
            results.append(self._runs.run(self._fullstory, lines))
        return results


def _first_request(result: Result) -> float:
    return result.first_request_after


def _peak(result: Result) -> float:
    return result.usage.peak
