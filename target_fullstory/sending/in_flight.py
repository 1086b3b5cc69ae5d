"""What is in flight: unfinished requests and jobs, and the first error that ends the run.

The order rules look here: a batch of users or deletions waits while one of its users is in an unfinished
request or job; events wait while any user is, deletions while any event is. So do the limits: bytes of a
body, bytes and requests in flight, jobs and operations in progress.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from target_fullstory.batching.batch import Keys
from target_fullstory.batching.memory_limits import batch_bytes, in_flight_bytes
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.logs import logger
from target_fullstory.settings.model import Settings


class StopWaiting(Exception):  # noqa: N818 - not an error, the end of the grace after a signal
    """Waiting was given up because the run is to end."""


@dataclass(eq=False)
class Reservation:
    """An unfinished batch request, or an unfinished job."""

    kind: Kind
    rows: int  # requests in it
    # Users in it; None where that is not known, so that it may be anybody.
    keys: Keys | None = field(repr=False)
    job: bool  # whether it is a job (or the request that creates one)
    size: int = 0  # bytes that it keeps in memory
    responses: int = 0  # how many of its single requests have their response

    def concerns(self, users: set[int]) -> bool:
        """Whether one of these users, by their hashes, is in it."""
        if self.keys is None:
            return KINDS[self.kind].changes_users
        return not users.isdisjoint(self.keys)


class InFlight:
    """Reservations and free request slots; the one place that several threads wait on."""

    def __init__(self, settings: Settings) -> None:
        self._changed = threading.Condition()
        self._reservations: set[Reservation] = set()
        self._concurrency = self._slots = settings.concurrency
        self._max_jobs = settings.max_jobs_in_progress
        self._max_operations = settings.max_operations_in_progress
        self._max_bytes = in_flight_bytes(settings)
        self._events_wait_for_users = settings.events_wait_for_users
        self.max_body_bytes = batch_bytes(settings)  # read without the lock
        # Called, perhaps repeatedly, where something waits for a job; set by what polls the jobs.
        self.on_wait_for_jobs: Callable[[], None] = lambda: None
        self._error: Exception | None = None
        self._give_up_at: float | None = None

    # Waiting

    def wait_until(self, ready: Callable[[], bool], *, for_jobs: bool = False) -> None:
        """Wait until a condition over this object's state holds; it is called with the lock held.

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
                if for_jobs:
                    self.on_wait_for_jobs()
                # The limit lets a signal's handler run, and its deadline be seen.
                self._changed.wait(0.5)

    def wait_for_turn(self, kind: Kind, keys: Keys) -> None:
        """Wait for what a batch of this kind and of these users must not overtake."""
        if keys:
            self.wait_for_order(keys)
        if self._events_wait_for_users and (kinds := KINDS[kind].waits_for):
            self.wait_for_kinds(kinds)

    def wait_for_kinds(self, kinds: Collection[Kind]) -> None:
        """Wait until nothing of these kinds is in an unfinished request or job."""
        self.wait_until(lambda: not any(one.kind in kinds for one in self._reservations), for_jobs=True)

    def wait_for_order(self, keys: Keys) -> None:
        """Wait until none of these users is in an unfinished request or job."""
        users = set(keys)
        self.wait_until(lambda: not any(one.concerns(users) for one in self._reservations), for_jobs=True)

    def wait_until_idle(self) -> None:
        """Wait until nothing is in flight, jobs included."""
        self.wait_until(lambda: not self._reservations)

    def wait_for_responses(self) -> None:
        """Wait until every request has its response."""
        self.wait_until(lambda: self._slots == self._concurrency)

    def wait_for_requests(self) -> None:
        """Wait until no request is in flight; an error does not cut this short, the grace's end does."""
        with self._changed:
            while self._slots < self._concurrency and not self._grace_over():
                self._changed.wait(0.5)

    def _grace_over(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    # Changing

    def reserve(self, new: Reservation, *, part_of: Reservation | None = None) -> Reservation:
        """Wait until a batch fits within the limits, and enter it; one that is larger goes alone.

        The batch that it is `part_of` does not count.
        """
        with self._changed:
            self.wait_until(lambda: self._has_room(new))
            if new.job:
                self.wait_until(lambda: self._is_in_window(new, part_of), for_jobs=True)
            return self.enter(new)

    def _has_room(self, new: Reservation) -> bool:
        size = sum(one.size for one in self._reservations)
        return not size or not new.size or size + new.size <= self._max_bytes

    def _is_in_window(self, new: Reservation, part_of: Reservation | None) -> bool:
        jobs = [one.rows for one in self._reservations if one.job and one is not part_of]
        if not jobs:
            return True
        return len(jobs) < self._max_jobs and sum(jobs) + new.rows <= self._max_operations

    def enter(self, new: Reservation) -> Reservation:
        """Enter what is in flight whatever the limits are."""
        with self._changed:
            self._reservations.add(new)
        return new

    def count_response(self, reservation: Reservation) -> bool:
        """Count a response to one of its single requests; returns whether it was the last."""
        with self._changed:
            reservation.responses += 1
            return reservation.responses == reservation.rows

    def release(self, reservation: Reservation) -> None:
        """Remove what has ended."""
        with self._changed:
            self._reservations.discard(reservation)
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

    def halve_body_limit(self, size: int) -> None:
        """Halve the request body limit where Fullstory refused so many bytes, within it, with 413."""
        with self._changed:
            if size <= self.max_body_bytes:
                self.max_body_bytes = max(self.max_body_bytes // 2, 1)
                text = "Fullstory refused a body of %d bytes; the limit is %d bytes for this run"
                logger.warning(text, size, self.max_body_bytes)

    def fail(self, error: Exception) -> None:
        """Remember the first error; it is raised in every thread that waits."""
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
