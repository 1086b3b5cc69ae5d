"""What is on its way: requests and jobs without an end yet, and the first error that ends the run.

The order rules read off here: a batch of users or deletions waits while one of its users is in an unfinished
request or job; events wait while any user is, deletions while any event is. The windows too: requests, jobs
and operations in progress.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from target_fullstory.kinds import Kind


class StopWaiting(Exception):  # noqa: N818 - not an error, the end of the grace after a signal
    """Waiting was given up because the run is to end."""


@dataclass(eq=False)
class Hold:
    """An unfinished batch request, or an unfinished job.

    Attributes:
        kind: What it carries.
        rows: Requests in it.
        keys: Users in it; None where that is not known, so that it may be anybody.
        job: Whether it is a job (or the request that creates one).
    """

    kind: Kind
    rows: int
    keys: AbstractSet[str] | None = field(repr=False)
    job: bool

    def concerns(self, keys: AbstractSet[str]) -> bool:
        """Whether one of these users is in it."""
        if self.keys is None:
            return self.kind == "users"
        return not keys.isdisjoint(self.keys)


class InFlight:
    """Follows holds and free request slots; the one place that several threads wait on."""

    def __init__(self, concurrency: int) -> None:
        """Start with nothing on its way.

        Args:
            concurrency: Requests that may be on their way at a time.
        """
        self._changed = threading.Condition()
        self._holds: set[Hold] = set()
        self._slots = concurrency
        self._concurrency = concurrency
        self._error: Exception | None = None
        self._give_up_at: float | None = None

    # Waiting

    def wait_until(
        self, ready: Callable[[], bool], before_waiting: Callable[[], None] | None = None
    ) -> None:
        """Wait until a condition over this object's state holds.

        Args:
            ready: The condition; called with the lock held, whenever something changed.
            before_waiting: Called once where there is something to wait for.

        Raises:
            Exception: The error that a request met in the meantime.
            StopWaiting: The run was asked to stop and the grace is over.
        """
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if ready():
                    return
                if self._grace_over():
                    raise StopWaiting
                if before_waiting is not None:
                    before_waiting()
                    before_waiting = None
                # The limit lets a signal's handler run, and its deadline be seen.
                self._changed.wait(0.5)

    def wait_for_kinds(self, kinds: Collection[Kind], before_waiting: Callable[[], None]) -> None:
        """Wait until nothing of these kinds is in an unfinished request or job."""
        self.wait_until(lambda: not any(hold.kind in kinds for hold in self._holds), before_waiting)

    def wait_for_order(self, keys: AbstractSet[str], before_waiting: Callable[[], None]) -> None:
        """Wait until none of these users is in an unfinished request or job."""
        self.wait_until(
            lambda: not any(hold.concerns(keys) for hold in self._holds), before_waiting
        )

    def hold_job(
        self,
        batch: tuple[Kind, int, AbstractSet[str]],
        window: tuple[int, int],
        before_waiting: Callable[[], None],
        *,
        part_of: Hold | None = None,
    ) -> Hold:
        """Wait until another job fits, and enter it.

        Args:
            batch: The job's kind, rows and users.
            window: Jobs that may be in progress, and records in them; a larger job goes alone.
            before_waiting: Called once where there is something to wait for.
            part_of: The batch that this job is a part of, which does not stand in its own way.
        """
        kind, rows, keys = batch
        jobs, operations = window

        def fits() -> bool:
            running = [hold for hold in self._holds if hold.job and hold is not part_of]
            if not running:
                return True
            in_progress = sum(hold.rows for hold in running)
            return len(running) < jobs and in_progress + rows <= operations

        with self._changed:
            self.wait_until(fits, before_waiting)
            return self.hold(kind, rows, keys, job=True)

    def wait_until_idle(self) -> None:
        """Wait until nothing is on its way, jobs included."""
        self.wait_until(lambda: not self._holds)

    def wait_for_answers(self) -> None:
        """Wait until every request has its answer."""
        self.wait_until(lambda: self._slots == self._concurrency)

    def wait_for_requests(self) -> None:
        """Wait until no request is on its way; an error does not cut this short, the grace's end does."""
        with self._changed:
            while self._slots < self._concurrency and not self._grace_over():
                self._changed.wait(0.5)

    def _grace_over(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    # Changing

    def hold(self, kind: Kind, rows: int, keys: AbstractSet[str], *, job: bool) -> Hold:
        """Enter something that is on its way."""
        hold = Hold(kind, rows, keys, job)
        with self._changed:
            self._holds.add(hold)
        return hold

    def hold_everybody(self, kind: Kind) -> Hold:
        """Enter a job whose users are not known."""
        hold = Hold(kind, 0, None, job=True)
        with self._changed:
            self._holds.add(hold)
        return hold

    def release(self, hold: Hold) -> None:
        """It has an end."""
        with self._changed:
            self._holds.discard(hold)
            self._changed.notify_all()

    def take_slot(self) -> None:
        """Wait for a free request slot and take it."""
        with self._changed:
            self.wait_until(lambda: self._slots > 0)
            self._slots -= 1

    def free_slot(self) -> None:
        """Give a request slot back."""
        with self._changed:
            self._slots += 1
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Remember the first error; whoever waits gets it."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def give_up_in(self, seconds: float) -> None:
        """Let all waiting end so long from now. Called by a signal's handler: takes no lock."""
        self._give_up_at = time.monotonic() + seconds

    @property
    def ending(self) -> bool:
        """Whether nothing further is to be sent: a request failed for good, or the time to end has come."""
        return self._error is not None or self._grace_over()

    @property
    def error(self) -> Exception | None:
        """The first error met, None while all is well."""
        return self._error
