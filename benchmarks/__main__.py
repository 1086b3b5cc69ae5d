"""`python -m benchmarks`: measures all, prints a table of what is reached."""

from __future__ import annotations

import argparse
import compileall
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measures import Bench
from benchmarks.process import ROOT, BenchmarkError
from benchmarks.runs import Sizes
from benchmarks.table import machine, render

_QUICK = Sizes(seconds=0.3, records=30_000, many=100_000, nightly=100_000, runs=1, long_runs=1)


def main(arguments: list[str] | None = None) -> int:
    """Measure as the command line asks.

    Args:
        arguments: The command line's; None for the process's own.

    Returns:
        The exit code: 0 whatever is reached, with `--check` 1 where a measure misses its target; 2 where
        something could not be run.
    """
    options = _parser().parse_args(arguments)
    sizes = _sizes(options)
    began = time.monotonic()
    about = machine()
    # As an installed package has it: PYTHONDONTWRITEBYTECODE would make every start compile the source.
    for package in ("target_fullstory", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=1)
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as work:
            rows = []
            for row in Bench(sizes, Path(work), _tell).rows():
                _tell(f"=> {row.measure}: {row.reached} ({row.verdict})")
                rows.append(row)
    except BenchmarkError as error:
        _tell(str(error))
        return 2
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(f"{render(rows)}\n\n{about}; {minutes:.0f} minutes, {_runs(sizes)}.\n")
    if options.quick:
        sys.stdout.write("Inputs this small tell whether it works; starting takes most of the time.\n")
    return 1 if options.check and not all(row.met for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    usual = Sizes()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, help=f"work in a run whose rate is measured ({usual.seconds:g})"
    )
    parser.add_argument(
        "--records", type=int, help=f"records of the input for memory and CPU time ({usual.records:,})"
    )
    parser.add_argument("--many", type=int, help=f"records of the long input ({usual.many:,})")
    parser.add_argument(
        "--nightly", type=int, help=f"users of the table that is loaded each night ({usual.nightly:,})"
    )
    parser.add_argument(
        "--runs", type=int, help=f"runs that count ({usual.runs}, {usual.long_runs} of the long input)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small inputs, few runs: whether it works, not how fast"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument(
        "--directory", help="where inputs are kept meanwhile (up to 6 GB; the system's default)"
    )
    return parser


def _sizes(options: argparse.Namespace) -> Sizes:
    usual = _QUICK if options.quick else Sizes()
    runs: int | None = options.runs
    return Sizes(
        seconds=usual.seconds if options.seconds is None else options.seconds,
        records=options.records or usual.records,
        many=options.many or usual.many,
        nightly=options.nightly or usual.nightly,
        runs=runs or usual.runs,
        long_runs=runs or usual.long_runs,
    )


def _runs(sizes: Sizes) -> str:
    return (
        f"medians of {sizes.runs} pairs of runs, {sizes.seconds:g} s of work or more in each, and of "
        f"{sizes.long_runs} runs over {sizes.many:,} records"
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
