"""Alternating runs of two contestants, and the ratios between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

Run = TypeVar("Run")


@dataclass(frozen=True)
class Ratio:
    """Ratios of runs that followed each other: their median, the least and the greatest."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


@dataclass(frozen=True)
class Pairs(Generic[Run]):
    """Runs of two contestants, in pairs that ran one right after the other."""

    ours: list[Run]
    others: list[Run]

    def ratio(self, quantity: Callable[[Run], float]) -> Ratio:
        """Ours to the others', pair by pair: what slows the machine for a while slows both of a pair."""
        ratios = [
            quantity(ours) / quantity(other) for ours, other in zip(self.ours, self.others, strict=True)
        ]
        return Ratio(median(ratios), min(ratios), max(ratios))


def alternate(ours: Callable[[], Run], other: Callable[[], Run], runs: int) -> Pairs[Run]:
    """Run two in turns, after a first run of each that does not count.

    Args:
        ours: Runs the one.
        other: Runs the other.
        runs: How often each counts.
    """
    ours()
    other()
    pairs: Pairs[Run] = Pairs([], [])
    for _ in range(runs):
        pairs.ours.append(ours())
        pairs.others.append(other())
    return pairs


def median_of(runs: list[Run], quantity: Callable[[Run], float]) -> float:
    """The median over runs."""
    return median(map(quantity, runs))
