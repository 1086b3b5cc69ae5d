"""Runs of the contestants over inputs of a known length, written when they are first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare import Pairs, alternate, median_of
from benchmarks.contestants import Contestant, Input, Result, Work
from benchmarks.inputs import KINDS, Kind
from benchmarks.table import Row

MB = 1_000_000
FEW = 10
_ROUND = 10_000


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        seconds: Work in a run whose rate is measured, beyond the start: inputs are as long as that takes.
        most: The most records of such an input.
        records: Records of the input whose memory and CPU time are measured.
        many: Records of the long input.
        nightly: Users of a table that is loaded night after night.
        runs: Runs that count.
        long_runs: Runs over the long input, each a round in which shorter ones are run as long.
    """

    seconds: float = 5.0
    most: int = 6_000_000
    records: int = 300_000
    many: int = 3_000_000
    nightly: int = 1_000_000
    runs: int = 7
    long_runs: int = 5


class Runs:
    """Runs contestants, and tells of each run."""

    def __init__(self, sizes: Sizes, work: Path, tell: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            sizes: How much is measured.
            work: A directory for inputs and outputs.
            tell: Takes a line about what is being done.
        """
        self.sizes = sizes
        self._work = work
        self._tell = tell

    def input(self, kind: str, records: int, make: Kind | None = None) -> Input:
        """An input of a kind that has a name in KINDS, or is given with a name of its own."""
        path = self._work / f"{kind}-{records}.jsonl"
        if not path.exists():
            self._tell(f"writing {records:,} records: {kind}")
            (make or KINDS[kind]).write(path, records)
        return Input(path, records)

    def run(self, contestant: Contestant, lines: Input) -> Result:
        """Run a contestant once."""
        result = contestant.run(lines, self._work)
        usage = result.usage
        self._tell(
            f"{lines.path.stem}: {contestant.name}: {usage.wall:.2f} s, CPU {usage.cpu:.2f} s, "
            f"{usage.peak / MB:.0f} MB"
        )
        return result

    def work_of(self, contestant: Contestant, lines: Input, few: Input) -> Work:
        """A run over an input, and one over a few records before it."""
        start = self.run(contestant, few)
        return Work(self.run(contestant, lines), start)

    def pairs(self, ours: tuple[Contestant, str], other: tuple[Contestant, str]) -> Pairs[Work]:
        """Runs of two contestants in turns, each over an input of its kind that keeps it busy for long."""
        long, others_long = self.long_input(*ours), self.long_input(*other)
        return alternate(
            lambda: self.work_of(ours[0], long, self.input(ours[1], FEW)),
            lambda: self.work_of(other[0], others_long, self.input(other[1], FEW)),
            self.sizes.runs,
        )

    def long_input(self, contestant: Contestant, kind: str) -> Input:
        """An input that takes a contestant a fifth longer than asked for, found in two attempts."""
        sizes = self.sizes
        records = max(sizes.records // 10, 2 * FEW)
        for _ in range(2):
            work = self.work_of(contestant, self.input(kind, records), self.input(kind, FEW))
            wanted = int(sizes.seconds * 1.2 * work.speed)
            records = min(max(wanted // _ROUND * _ROUND, records), sizes.most)
        return self.input(kind, records)


def speeds(measure: str, pairs: Pairs[Work], least: float) -> Row:
    """How fast ours is against the other, and whether that is enough."""
    ratio = pairs.ratio(_speed)
    return Row(
        measure,
        f"at least {least:g}",
        f"{ratio}: {median_of(pairs.ours, _speed):,.0f} against {median_of(pairs.others, _speed):,.0f}",
        ratio.median >= least,
    )


def _speed(work: Work) -> float:
    return work.speed
