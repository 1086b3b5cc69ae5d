"""Sends batches: as single requests or as a job, in order, within the limits."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.responses import CONCERNS_RECORDS, UNKNOWN_USER, unexpected
from target_fullstory.batching.batch import Batch, BatchBody
from target_fullstory.batching.encoded_requests import deleted_with, has_timestamp, identity, single_request
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.kinds import KINDS
from target_fullstory.logs import logger
from target_fullstory.sending.apart_events import ApartEvents
from target_fullstory.sending.call_dispatcher import CallDispatcher, refusal
from target_fullstory.sending.idempotency_keys import content_key
from target_fullstory.sending.in_flight import InFlight, Reservation, StopWaiting
from target_fullstory.sending.job_dispatcher import JobDispatcher
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.note_file import NotedJob
from target_fullstory.sending.pending_deletions import PendingDeletions
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.batch_rows import BatchRows

if TYPE_CHECKING:
    from target_fullstory.sending.outbox import Outbox
    from target_fullstory.snapshot.snapshot import Snapshot


def goes_as_job(batch: Batch, settings: Settings) -> bool:
    """Whether a batch is sent as a batch job, not one request at a time."""
    if not KINDS[batch.kind].item:
        return False
    if settings.delivery == "auto":
        return batch.rows > settings.batch_threshold
    return settings.delivery == "batch"


@dataclass(eq=False)
class _Singles:
    """A batch in the outbox that is sent one request at a time, and what of it was refused, by place."""

    outbox: Outbox
    noted: NotedJob
    rows: BatchRows | None
    refused: dict[int, bytes] = field(default_factory=dict)


class Dispatcher:
    """Takes closed batches from one thread and sends them from several."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        jobs: JobTracker,
        in_flight: InFlight,
        accounting: Accounting,
        key_salt: str = "",
    ) -> None:
        """Prepare the threads; `key_salt` sets keys made of content apart from those of other runs."""
        self._settings = settings
        self._client = client
        self._jobs = jobs
        self._outbox = jobs.outbox
        self._in_flight = in_flight
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._checkpoints = accounting.checkpoints
        self._metrics = accounting.metrics
        self._key_salt = key_salt
        self.snapshot: Snapshot | None = None
        self._apart = ApartEvents(accounting.rejects)
        self._deletions = PendingDeletions(self._checkpoints.last_written, self._checkpoints.forbid)
        self._calls = CallDispatcher(client, in_flight, accounting)
        self._job_requests = JobDispatcher(client, jobs, in_flight, accounting, key_salt)
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="send")

    @property
    def max_bytes(self) -> int:
        """The request body limit as of now."""
        return self._in_flight.max_body_bytes

    @property
    def repeats_deletions(self) -> bool:
        """Whether a restart from the latest written STATE would repeat deletions."""
        return bool(self._deletions.repeated())

    def submit(self, batch: Batch) -> None:
        """Send a batch when its turn has come; returns when its requests are handed to the threads.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
            StopWaiting: The run was asked to stop and the turn did not come in time.
        """
        self._in_flight.wait_for_turn(batch.kind, batch.keys)
        if batch.deleted:
            if batch.fingerprints is None:
                # A restart does not repeat one that the snapshot or the outbox has.
                self._deletions.add(batch.deleted)
            if self.snapshot:
                self.snapshot.book_blank(batch.deleted, batch.fingerprints)
        deleted = self._deleted_users(batch)
        if deleted and batch.fingerprints is not None:
            batch = self._submit_apart(batch, deleted)
            if not batch.rows:
                return
        job = goes_as_job(batch, self._settings)
        reservation = self._reserve(batch, job=job)
        if job:
            self._start(self._send_job, batch, reservation, deleted)
        elif KINDS[batch.kind].in_series:
            self._start(self._send_in_order, batch, reservation)
        elif self._outbox is not None and batch.fingerprints is not None:
            noted = self._outbox.send(batch.fingerprints, BatchBody(batch.items), batch.rows, single=True)
            self._send_kept_singles(batch, reservation, _Singles(self._outbox, noted, batch.fingerprints))
        else:
            for request, key in _keyed(batch, self._key_salt, deleted):
                self._start(self._send_single, batch, reservation, request, key)

    def _submit_apart(self, batch: Batch, deleted: AbstractSet[str]) -> Batch:
        """Send events that a restart would take away, and bring again, without a note; returns the others.

        The snapshot must not know them before a restart leaves them alone.
        """
        requests, known_by = batch.requests(), batch.fingerprints
        gone = {place for place, request in enumerate(requests) if deleted_with(request, deleted)}
        if known_by is None or not gone:
            return batch
        kept = [request for place, request in enumerate(requests) if place not in gone]
        apart = [requests[place] for place in sorted(gone)]
        ticket = self._checkpoints.open_beside(batch.ticket)
        self._apart.add(batch.covered_by, known_by.only_at(gone), apart)
        self.submit(_part(batch, apart, ticket=ticket, fingerprints=None))
        others = _part(batch, kept, ticket=batch.ticket, fingerprints=known_by.without_at(gone))
        if not kept:
            self._checkpoints.release(batch.ticket)
        return others

    def book_apart(self) -> None:
        """Let the snapshot know the events that a restart leaves alone by now; called at the run's end."""
        for rows in self._apart.take_confirmed(self._checkpoints.last_written()):
            if self.snapshot:
                self.snapshot.confirm(rows, lambda: None)

    def settle(self) -> None:
        """Send again what earlier runs sent of the outbox without an answer, and wait for the answers.

        Raises:
            TargetFullstoryError: There is none; what is not answered stays for the next run.
            StopWaiting: The run was asked to stop and the answers did not come in time.
        """
        if self._outbox is None:
            return
        for noted, requests in self._outbox.take_unanswered():
            logger.info(
                "A batch of %d %s of stream %s was left by an earlier run unanswered: sending it again "
                "under the same key",
                *(len(requests), noted.kind, noted.stream),
            )
            batch = Batch(
                stream=noted.stream,
                kind=noted.kind,
                items=requests,
                size=sum(map(len, requests)),
                rows=len(requests),
                records=len(requests),
                keys=array("q"),
                timed=False,
                ticket=self._checkpoints.open(),
                own=False,
            )
            reservation = self._reserve(batch, job=not noted.single)
            if noted.single:
                singles = _Singles(self._outbox, noted, self._outbox.rows(noted))
                self._send_kept_singles(batch, reservation, singles)
            else:
                self._start(self._send_job, batch, reservation, frozenset(), noted)
        self._in_flight.wait_for_responses()

    def _reserve(self, batch: Batch, *, job: bool) -> Reservation:
        reserved = self._in_flight.reserve(Reservation(batch.kind, batch.rows, batch.keys, job, batch.size))
        batch.sent_at = time.monotonic()
        return reserved

    def close(self) -> None:
        """Wait for the requests in flight and end the threads."""
        self._in_flight.wait_for_requests()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _deleted_users(self, batch: Batch) -> AbstractSet[str]:
        if not KINDS[batch.kind].cut_at_state or not self.repeats_deletions:
            return frozenset()
        # As soon as what was sent is accepted, the STATE behind the deletions may be written.
        self._in_flight.wait_for_responses()
        self._checkpoints.write_due(at_once=True)
        return self._deletions.repeated_before(batch.requests(), batch.covered_by)

    def _start(self, send: Callable[..., None], *args: Any) -> None:
        self._in_flight.take_slot()
        self._threads.submit(self._run, send, *args)

    def _run(self, send: Callable[..., None], *args: Any) -> None:
        try:
            send(*args)
        except StopWaiting:
            logger.debug("Stopped while a part of a batch waited for its turn")
        except TargetFullstoryError as error:
            self._in_flight.fail(error)
        except Exception as error:  # noqa: BLE001 - a thread's error must end the run, not be lost
            logger.debug("A request failed unexpectedly", exc_info=True)
            self._in_flight.fail(
                DeliveryError(f"A request failed unexpectedly ({type(error).__name__}); please report this.")
            )
        finally:
            self._in_flight.free_slot()

    def _finish(self, batch: Batch, reservation: Reservation) -> None:
        if batch.own:
            self._ledger.count(batch.stream, merged=batch.records - batch.rows)
        self._metrics.batch(batch.stream, time.monotonic() - batch.sent_at)
        # First the STATE, then those that wait: which deletions a restart repeats depends on it.
        self._checkpoints.release(batch.ticket)
        self._in_flight.release(reservation)

    def _send_job(
        self, batch: Batch, reservation: Reservation, deleted: AbstractSet[str], noted: NotedJob | None = None
    ) -> None:
        self._job_requests.send(batch, reservation, deleted, noted)
        self._finish(batch, reservation)

    # A batch as single requests, or as calls

    def _send_kept_singles(self, batch: Batch, reservation: Reservation, singles: _Singles) -> None:
        """Send a batch of the outbox, each request under a key that tells its place."""
        for place, request in enumerate(batch.requests()):
            key = f"{singles.noted.sent}.{place}"
            self._start(self._send_single, batch, reservation, request, key, singles, place)

    def _send_single(
        self,
        batch: Batch,
        reservation: Reservation,
        request: bytes,
        key: str | None,
        singles: _Singles | None = None,
        place: int = 0,
    ) -> None:
        send = self._post if KINDS[batch.kind].endpoint else self._calls.delete_user
        known_by = singles.rows.known_by(place) if singles is not None and singles.rows else None
        if not send(batch, request, key, known_by) and singles is not None:
            singles.refused[place] = request
        if self._in_flight.count_response(reservation):
            if singles is not None:
                self._rejects.sync()
                singles.outbox.book(singles.noted, singles.refused)
            self._finish(batch, reservation)

    def _post(self, batch: Batch, request: bytes, key: str | None, known_by: str | None) -> bool:
        """Send a request; returns whether Fullstory has taken it, else it is rejected."""
        endpoint = KINDS[batch.kind].endpoint
        uid, user_id, holds = None, None, ""
        if KINDS[batch.kind].changes_users:
            (uid, user_id), holds = identity(request), "id"
        path, body = single_request(batch.kind, request)
        response = self._client.call("POST", path, body, key=key, name=endpoint, holds=holds)
        self._ledger.response(
            batch.stream,
            batch.kind,
            response.status,
            code=response.error_code,
            uid=uid,
            id=response.data.get("id") or user_id,
        )
        if response.ok:
            if batch.own:
                self._ledger.count(batch.stream, delivered=1)
        elif response.status in CONCERNS_RECORDS or response.code == UNKNOWN_USER:
            self._rejects.write(refusal(batch, request, response, known_by), own=batch.own)
        else:
            raise unexpected(f"POST {endpoint}", response)
        return response.ok

    def _send_in_order(self, batch: Batch, reservation: Reservation) -> None:
        if self._calls.send_in_order(batch):
            self._finish(batch, reservation)


def _part(batch: Batch, requests: list[bytes], **changes: Any) -> Batch:
    """A batch of some of a batch's events."""
    rows, size = len(requests), sum(map(len, requests)) + len(requests)
    return replace(batch, items=requests, rows=rows, records=rows, size=size, **changes)


def _keyed(batch: Batch, salt: str, deleted: AbstractSet[str]) -> Iterator[tuple[bytes, str | None]]:
    """The single requests with their idempotency keys: an event with a timestamp is known by its body."""
    occurrences: Counter[bytes] = Counter()
    for request in batch.requests():
        by_content = KINDS[batch.kind].cut_at_state and (batch.timed or has_timestamp(request))
        if by_content and not (deleted and deleted_with(request, deleted)):
            yield request, content_key([request], occurrences[request], salt)
            occurrences[request] += 1
        else:
            yield request, None
