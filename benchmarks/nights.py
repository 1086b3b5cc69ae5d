"""The measures of `sync: changed`: a table of users that is loaded night after night, 1% of it changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import contestants
from benchmarks.compare import alternate, median_of
from benchmarks.contestants import Contestant, Input, Nightly, Result, Work
from benchmarks.inputs import changed_in_night, users_of_night
from benchmarks.runs import FEW, MB, Runs, speeds
from benchmarks.table import Row

_MOST_MEMORY = 250 * MB
_MOST_BYTES = 64
_NIGHTS = 10


class Nights:
    """Measures first loads, and loads of the nights after."""

    def __init__(self, runs: Runs, everything: Contestant, work: Path) -> None:
        """Prepare.

        Args:
            runs: Runs the contestants.
            everything: The target without `sync`.
            work: A directory for snapshots.
        """
        self._runs = runs
        self._everything = everything
        self._work = work
        self._snapshot = work / "snapshot"
        port = contestants.free_port()
        self._first = Nightly("first load, sync: changed", work, port, self._forget)
        self._second = Nightly("second load, 1% changed", work, port, self._know)
        self._next = Nightly("a load more, 1% changed", work, port, lambda _: None)

    def rows(self) -> Iterator[Row]:
        """Every measure, as soon as it is known."""
        pairs = self._runs.pairs((self._first, "users"), (self._everything, "users"))
        yield speeds("users, first load with sync: changed, records/s against all", pairs, 0.8)
        yield from self._second_against_first()
        others = alternate(
            self._second_night, lambda: self._work_of(contestants.bare(), 1), self._runs.sizes.runs
        )
        yield speeds("users, second load, records/s against the bare msgspec loop", others, 0.9)
        yield self._memory("first load", self._first, 0)
        yield self._memory("second load, 1% changed", self._second, 1)
        yield self._store()

    # The measures

    def _second_against_first(self) -> Iterator[Row]:
        pairs = alternate(self._second_night, lambda: self._work_of(self._first, 0), self._runs.sizes.runs)
        records = self._runs.sizes.nightly
        changed = changed_in_night(1, records)
        found = {(work.many.seen.records, work.many.counts["unchanged"]) for work in pairs.ours}
        yield Row(
            f"{records:,} users, then again with 1% changed",
            f"exactly {changed:,} sent, {records - changed:,} unchanged",
            " or ".join(f"{sent:,} sent, {unchanged:,} unchanged" for sent, unchanged in sorted(found)),
            found == {(changed, records - changed)},
        )
        yield speeds("users, second load, records/s against the first", pairs, 2.5)

    def _memory(self, load: str, contestant: Contestant, night: int) -> Row:
        sizes = self._runs.sizes
        few, many = (
            [self._runs.run(contestant, self._night(night, records)) for _ in range(sizes.long_runs)]
            for records in (sizes.records, sizes.many)
        )
        measure = f"{load}: anonymous memory, {sizes.records:,} and {sizes.many:,} users"
        target = "at most 250 MB, within 10%"
        if any(result.usage.anonymous is None for result in few + many):
            return Row(measure, target, "", None)
        peak = max(map(_anonymous, few + many))
        medians = (median_of(few, _anonymous), median_of(many, _anonymous))
        apart = max(medians) / min(medians) - 1
        return Row(
            measure,
            target,
            f"{medians[0] / MB:.0f} MB and {medians[1] / MB:.0f} MB ({apart:.0%} apart), "
            f"never over {peak / MB:.0f} MB",
            peak <= _MOST_MEMORY and apart <= 0.1,
        )

    def _store(self) -> Row:
        """What the snapshot takes on disk: it must grow with the records, not with the runs."""
        records = self._runs.sizes.nightly
        self._runs.run(self._first, self._night(0, records))
        sizes = [self._bytes_a_record(records)]
        for night in range(1, _NIGHTS + 1):
            lines = self._night(night, records)
            self._runs.run(self._next, lines)
            sizes.append(self._bytes_a_record(records))
            if night > 1:
                lines.path.unlink()
        # The first of these nights makes room for pages that are written anew; the later ones use it.
        grows = sizes[-1] / sizes[1] - 1
        return Row(
            f"the store of {records:,} users, bytes a record: after the first load, 1 and {_NIGHTS} nights",
            f"at most {_MOST_BYTES}, nights within 10%",
            f"{sizes[0]:.1f}, {sizes[1]:.1f}, {sizes[-1]:.1f} ({grows:+.0%}), never over {max(sizes):.1f}",
            max(sizes) <= _MOST_BYTES and grows <= 0.1,
        )

    # Runs

    def _night(self, night: int, records: int) -> Input:
        """The table as a night finds it; 0 is that of the first load."""
        if night == 0:
            return self._runs.input("users", records)
        return self._runs.input(f"night{night}", records, users_of_night(night))

    def _work_of(self, contestant: Contestant, night: int) -> Work:
        lines = self._night(night, self._runs.sizes.nightly)
        return self._runs.work_of(contestant, lines, self._night(night, FEW))

    def _second_night(self) -> Work:
        return self._work_of(self._second, 1)

    # Snapshots

    def _forget(self, _: Input) -> None:
        shutil.rmtree(self._snapshot, ignore_errors=True)

    def _know(self, lines: Input) -> None:
        """Put the snapshot of a first load in place, which is made once for each size."""
        kept = self._work / f"snapshot-{lines.records}"
        if not kept.exists():
            self._runs.run(self._first, self._night(0, lines.records))
            self._snapshot.rename(kept)
        shutil.rmtree(self._snapshot, ignore_errors=True)
        shutil.copytree(kept, self._snapshot)

    def _bytes_a_record(self, records: int) -> float:
        return sum(path.stat().st_size for path in self._snapshot.rglob("*") if path.is_file()) / records


def _anonymous(result: Result) -> float:
    return result.usage.anonymous or 0
