"""Sends batches: as single requests or as a job, in order, within the limits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.responses import CONCERNS_RECORDS, UNKNOWN_USER, unexpected
from target_fullstory.batching.batch import Batch, BatchBody
from target_fullstory.batching.encoded_requests import deleted_with, has_timestamp, identity, single_request
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.kinds import KINDS
from target_fullstory.logs import logger
from target_fullstory.sending.call_dispatcher import CallDispatcher, refusal
from target_fullstory.sending.idempotency_keys import content_key
from target_fullstory.sending.in_flight import InFlight, Reservation, StopWaiting
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.pending_deletions import PendingDeletions
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.snapshot.snapshot import Snapshot


def goes_as_job(batch: Batch, settings: Settings) -> bool:
    """Whether a batch is sent as a batch job, not one request at a time."""
    if not KINDS[batch.kind].item:
        return False
    if settings.delivery == "auto":
        return batch.rows > settings.batch_threshold
    return settings.delivery == "batch"


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
        self._in_flight = in_flight
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._checkpoints = accounting.checkpoints
        self._metrics = accounting.metrics
        self._key_salt = key_salt
        self.snapshot: Snapshot | None = None
        self._deletions = PendingDeletions(self._checkpoints.last_written, self._checkpoints.forbid)
        self._calls = CallDispatcher(client, in_flight, accounting)
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
        if batch.keys:
            self._in_flight.wait_for_order(batch.keys)
        waits_for = KINDS[batch.kind].waits_for
        if self._settings.events_wait_for_users and waits_for:
            self._in_flight.wait_for_kinds(waits_for)
        if batch.deleted:
            self._deletions.add(batch.deleted)
            if self.snapshot:
                self.snapshot.book_blank(batch.deleted)
        deleted = self._deleted_users(batch)
        job = goes_as_job(batch, self._settings)
        reservation = self._in_flight.reserve(
            Reservation(batch.kind, batch.rows, batch.keys, job, batch.size)
        )
        batch.sent_at = time.monotonic()
        if job:
            self._start(self._send_job, batch, reservation, deleted)
        elif KINDS[batch.kind].in_series:
            self._start(self._send_in_order, batch, reservation)
        else:
            for request, key in _keyed(batch, self._key_salt, deleted):
                self._start(self._send_single, batch, reservation, request, key)

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
        self._ledger.count(batch.stream, merged=batch.records - batch.rows)
        if batch.fingerprints is not None and self.snapshot:
            self.snapshot.confirm(batch.fingerprints, lambda: None)
        self._metrics.batch(batch.stream, time.monotonic() - batch.sent_at)
        # First the STATE, then those that wait: which deletions a restart repeats depends on it.
        self._checkpoints.release(batch.ticket)
        self._in_flight.release(reservation)

    # A batch as a job

    def _send_job(self, batch: Batch, whole: Reservation, deleted: AbstractSet[str]) -> None:
        by_content = KINDS[batch.kind].cut_at_state and batch.timed
        if deleted and by_content:
            # Events that a restart would take away go apart, under a key of their own.
            requests = batch.requests()
            gone = [request for request in requests if deleted_with(request, deleted)]
            kept = [request for request in requests if not deleted_with(request, deleted)]
            self._send_parts(batch, whole, [kept], by_content=True)
            self._send_parts(batch, whole, [gone], by_content=False)
        else:
            body = batch.take_body()
            if self._try_job(batch, body, batch.rows, by_content=by_content):
                self._send_parts(batch, whole, _halves(body), by_content=by_content)
        self._finish(batch, whole)

    def _send_parts(
        self, batch: Batch, whole: Reservation, parts: list[list[bytes]], *, by_content: bool
    ) -> None:
        for requests in parts:
            if not requests:
                continue
            body, rows = BatchBody(requests), len(requests)
            part = self._in_flight.reserve(Reservation(batch.kind, rows, batch.keys, job=True), part_of=whole)
            try:
                refused = self._try_job(batch, body, rows, by_content=by_content)
            finally:
                self._in_flight.release(part)
            if refused:
                self._send_parts(batch, whole, _halves(body), by_content=by_content)

    def _try_job(self, batch: Batch, body: BatchBody, rows: int, *, by_content: bool) -> bool:
        """Send requests as one job; returns whether they have to be sent in halves."""
        if len(body) > self.max_bytes and rows > 1:
            return True
        path = f"{KINDS[batch.kind].endpoint}/batch"
        key = content_key(body, salt=self._key_salt) if by_content else None
        self._jobs.expect_job()
        response = self._client.call("POST", path, body, key=key, holds="job.id")
        if response.ok:
            job = self._jobs.track(batch, body, rows, response)
            self._ledger.response(batch.stream, batch.kind, response.status, job=job)
            return False
        self._ledger.response(batch.stream, batch.kind, response.status, code=response.error_code)
        if response.status not in CONCERNS_RECORDS:
            raise unexpected(f"POST {path}", response)
        if rows == 1:
            self._rejects.write(refusal(batch, body.requests()[0], response))
            return False
        if response.status == 413:
            self._in_flight.halve_body_limit(len(body))
        return True

    # A batch as single requests, or as calls

    def _send_single(self, batch: Batch, reservation: Reservation, request: bytes, key: str | None) -> None:
        if KINDS[batch.kind].endpoint:
            self._post(batch, request, key)
        else:
            self._calls.delete_user(batch, request)
        if self._in_flight.count_response(reservation):
            self._finish(batch, reservation)

    def _post(self, batch: Batch, request: bytes, key: str | None) -> None:
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
            self._ledger.count(batch.stream, delivered=1)
        elif response.status in CONCERNS_RECORDS or response.code == UNKNOWN_USER:
            self._rejects.write(refusal(batch, request, response))
        else:
            raise unexpected(f"POST {endpoint}", response)

    def _send_in_order(self, batch: Batch, reservation: Reservation) -> None:
        if self._calls.send_in_order(batch):
            self._finish(batch, reservation)


def _halves(body: BatchBody) -> list[list[bytes]]:
    requests = body.requests()
    middle = len(requests) // 2
    return [requests[:middle], requests[middle:]]


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
