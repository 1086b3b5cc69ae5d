"""How much a load would send, in how many requests and jobs, and how long the jobs would take."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from target_fullstory.batching.batch import Batch
from target_fullstory.sending.in_flight import InFlight, Reservation
from target_fullstory.settings.model import Settings

_API_JOBS_THAT_RUN: Final = 100
"""Batch jobs of an organization that run at a time; further ones wait."""

_API_OPERATIONS: Final = 500_000
"""Operations of an organization in progress; a job beyond them is refused until some have ended."""


@dataclass
class StreamRequests:
    """In how many requests and batch jobs a stream would be sent."""

    requests: int = 0  # single ones
    jobs: int = 0


class JobRounds(InFlight):
    """Batch jobs by the rules of a load, where each takes the same time: a round.

    What is not a job takes no time. It waits all the same for the jobs that it must not overtake.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin, within the limits of the API as well as those of the settings."""
        jobs = min(settings.max_jobs_in_progress, _API_JOBS_THAT_RUN)
        operations = min(settings.max_operations_in_progress, _API_OPERATIONS)
        super().__init__(replace(settings, max_jobs_in_progress=jobs, max_operations_in_progress=operations))
        self._now = 0
        # The jobs in progress, each with the round in which it ends.
        self._running: deque[tuple[int, Reservation]] = deque()
        self.count = 0  # rounds until all jobs have ended

    def wait_until(self, ready: Callable[[], bool], *, for_jobs: bool = False) -> None:  # noqa: ARG002
        """Let rounds pass until a condition holds."""
        while not ready():
            self._now = self._running[0][0]
            while self._running and self._running[0][0] == self._now:
                self.release(self._running.popleft()[1])

    def take(self, batch: Batch, *, job: bool) -> None:
        """Take a batch in its turn."""
        self.wait_for_turn(batch.kind, batch.keys)
        if job:
            entered = self.reserve(Reservation(batch.kind, batch.rows, batch.keys, job=True))
            self.count = self._now + 1
            self._running.append((self.count, entered))


class PlannedRequests:
    """Counts what is sent."""

    def __init__(self, settings: Settings) -> None:
        self.streams: defaultdict[str, StreamRequests] = defaultdict(StreamRequests)
        self._rounds = JobRounds(settings)

    def take_batch(self, batch: Batch, requests: list[bytes], job: bool) -> None:
        """Take a batch as it would be sent."""
        self._rounds.take(batch, job=job)
        stream = self.streams[batch.stream]
        if job:
            stream.jobs += 1
        else:
            stream.requests += len(requests)

    @property
    def rounds(self) -> int:
        """How many rounds of jobs there are, each as long as a job takes."""
        return self._rounds.count


def duration(seconds: float) -> str:
    """A time as people tell it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{number:g} {unit}" for number, unit in parts if number) or "0 s"
