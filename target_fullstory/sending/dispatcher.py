"""Sends batches: as single requests or as a job, in order, within the windows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import msgspec

from target_fullstory.accounting.checkpoints import Ticket
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.rejects import Rejects
from target_fullstory.api.client import Client
from target_fullstory.api.responses import (
    CONCERNS_RECORDS,
    UNKNOWN_USER,
    Response,
    reject_code,
    unexpected,
)
from target_fullstory.batching.batch import (
    IN_SERIES,
    PEOPLE,
    Batch,
)
from target_fullstory.batching.batch_body import BatchBody
from target_fullstory.batching.encoded_requests import has_timestamp, identity
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.kinds import Kind
from target_fullstory.logs import logger
from target_fullstory.sending.call_dispatcher import Calls
from target_fullstory.sending.idempotency_keys import content_key, new_key
from target_fullstory.sending.in_flight import Hold, InFlight
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.pending_deletions import Erasures, is_erased
from target_fullstory.settings.model import Settings


class Sender:
    """Takes closed batches from one thread and sends them from several."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        jobs: JobTracker,
        in_flight: InFlight,
        ledger: Ledger,
        rejects: Rejects,
        settle: Callable[[Ticket], None],
        erasures: Erasures,
        key_salt: str = "",
    ) -> None:
        """Prepare the threads.

        Args:
            settings: Delivery, windows, concurrency.
            client: Calls the API.
            jobs: Follows the jobs created.
            in_flight: Order and windows.
            ledger: Where the ends of records are entered.
            rejects: Where refused requests go.
            settle: Called when all requests of a batch are accepted or written as rejects.
            erasures: Told of deletions, tells which events a restart would take away.
            key_salt: Sets the keys that are made of content apart from those of other runs.
        """
        self._settings = settings
        self._client = client
        self._jobs = jobs
        self._in_flight = in_flight
        self._ledger = ledger
        self._rejects = rejects
        self._settle = settle
        self._erasures = erasures
        self._key_salt = key_salt
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="send")
        self._limit_lock = threading.Lock()
        self._max_bytes = settings.max_batch_bytes
        self._calls = Calls(
            client, in_flight, ledger, rejects, lambda: self._max_bytes, self._lower_limit
        )

    @property
    def max_bytes(self) -> int:
        """The request body limit: the setting, halved whenever Fullstory answered 413."""
        return self._max_bytes

    @property
    def repeats_deletions(self) -> bool:
        """Whether a restart would repeat deletions, were it now."""
        return self._erasures.any_repeated()

    def submit(self, batch: Batch) -> None:
        """Send a batch when its turn has come; returns when its requests are handed to the threads.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
            StopWaiting: The run was asked to stop and the turn did not come in time.
        """
        self._wait_for_turn(batch)
        if batch.kind in IN_SERIES:
            hold = self._in_flight.hold(batch.kind, batch.rows, batch.keys, job=False)
            self._in_flight.take_slot()
            self._threads.submit(self._run, self._send_in_order, batch, hold)
            return
        if batch.kind == "user_deletions":
            self._erasures.add(batch.deleted)
        erased = self._erased(batch)
        if self._as_job(batch):
            hold = self._hold_job(batch, batch.rows)
            self._in_flight.take_slot()
            self._threads.submit(self._run, self._send_job, batch, hold, erased)
            return
        hold = self._in_flight.hold(batch.kind, batch.rows, batch.keys, job=False)
        singles = _Singles(batch, hold)
        send = self._delete_user if batch.kind == "user_deletions" else self._send_single
        for request, key in _keyed(batch, self._key_salt, erased):
            self._in_flight.take_slot()
            self._threads.submit(self._run, send, singles, request, key)

    def close(self) -> None:
        """Wait for the requests on their way and end the threads."""
        self._in_flight.wait_for_requests()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wait_for_turn(self, batch: Batch) -> None:
        watch = self._jobs.watch
        if batch.kind != "events":
            self._in_flight.wait_for_order(batch.keys, watch)
        if self._settings.events_wait_for_users and batch.kind in _AFTER:
            self._in_flight.wait_for_kinds(_AFTER[batch.kind], watch)

    def _erased(self, batch: Batch) -> AbstractSet[str]:
        if batch.kind != "events" or not self.repeats_deletions:
            return frozenset()
        # As soon as what was sent is accepted, the STATE behind the deletions may be written.
        self._in_flight.wait_for_answers()
        return self._erasures.among(batch.requests(), batch.covered_by)

    def _as_job(self, batch: Batch) -> bool:
        if batch.kind == "user_deletions":
            return False
        if self._settings.delivery == "auto":
            return batch.rows > self._settings.batch_threshold
        return self._settings.delivery == "batch"

    def _run(self, send: Callable[..., None], *args: Any) -> None:
        try:
            send(*args)
        except TargetFullstoryError as error:
            self._in_flight.fail(error)
        except Exception as error:  # noqa: BLE001 - a thread's error must end the run, not be lost
            logger.debug("A request failed unexpectedly", exc_info=True)
            self._in_flight.fail(
                DeliveryError(
                    f"A request failed unexpectedly ({type(error).__name__}); please report this."
                )
            )
        finally:
            self._in_flight.free_slot()

    # A batch as a job

    def _hold_job(self, batch: Batch, rows: int, part_of: Hold | None = None) -> Hold:
        window = self._settings.max_jobs_in_progress, self._settings.max_operations_in_progress
        job = batch.kind, rows, batch.keys
        return self._in_flight.hold_job(job, window, self._jobs.watch, part_of=part_of)

    def _send_job(self, batch: Batch, hold: Hold, erased: AbstractSet[str]) -> None:
        by_content = batch.kind == "events" and batch.timed
        if erased and by_content:
            self._send_apart(batch, hold, erased)
        else:
            body = batch.take_body()
            if self._try_job(batch, body, batch.rows, by_content=by_content):
                self._send_halves(batch, body, hold, by_content=by_content)
        self._finish(batch, hold)

    def _send_apart(self, batch: Batch, whole: Hold, erased: AbstractSet[str]) -> None:
        """Send events that a restart would take away under a key of their own."""
        requests = batch.requests()
        gone = [request for request in requests if is_erased(request, erased)]
        kept = [request for request in requests if not is_erased(request, erased)]
        for part, by_content in ((kept, True), (gone, False)):
            if part:
                self._send_part(batch, part, whole, by_content=by_content)

    def _try_job(self, batch: Batch, body: BatchBody, rows: int, *, by_content: bool) -> bool:
        """Send requests as one job; returns whether they have to be sent in halves."""
        if len(body) > self._max_bytes and rows > 1:
            return True
        key = content_key(body, salt=self._key_salt) if by_content else new_key()
        answer = self._client.call("POST", f"/v2/{batch.kind}/batch", body, key=key)
        response: dict[str, Any] = {"status": answer.status}
        if answer.ok:
            response["job"] = self._jobs.track(batch.kind, batch.stream, rows, batch.keys, answer)
            self._ledger.delivered(batch.stream, rows)
        else:
            response["code"] = answer.code
        self._ledger.response({"stream": batch.stream, "kind": batch.kind} | response)
        if answer.ok:
            return False
        if answer.status not in CONCERNS_RECORDS:
            raise unexpected(f"POST /v2/{batch.kind}/batch", answer)
        if rows == 1:
            self._reject(batch, body.requests()[0], answer)
            return False
        if answer.status == 413:
            self._lower_limit(len(body))
        return True

    def _send_halves(self, batch: Batch, body: BatchBody, whole: Hold, *, by_content: bool) -> None:
        requests = body.requests()
        middle = len(requests) // 2
        for half in (requests[:middle], requests[middle:]):
            self._send_part(batch, half, whole, by_content=by_content)

    def _send_part(
        self, batch: Batch, requests: list[bytes], whole: Hold, *, by_content: bool
    ) -> None:
        body = BatchBody(requests)
        hold = self._hold_job(batch, len(requests), part_of=whole)
        try:
            refused = self._try_job(batch, body, len(requests), by_content=by_content)
        finally:
            self._in_flight.release(hold)
        if refused:
            self._send_halves(batch, body, whole, by_content=by_content)

    def _lower_limit(self, refused: int) -> None:
        with self._limit_lock:
            if refused <= self._max_bytes:
                self._max_bytes = max(self._max_bytes // 2, 1)
                logger.warning(
                    "Fullstory refused a body of %d bytes; the limit is %d bytes for this run",
                    refused,
                    self._max_bytes,
                )

    # A batch as single requests

    def _send_single(self, singles: _Singles, request: bytes, key: str) -> None:
        batch = singles.batch
        uid, user_id = identity(request) if batch.kind == "users" else (None, None)
        endpoint = path = f"/v2/{batch.kind}"
        body = request
        if user_id is not None:
            path = f"{endpoint}/{quote(user_id, safe='')}"
            fields = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
            del fields["id"]
            body = msgspec.json.encode(fields)
        answer = self._client.call("POST", path, body, key=key, name=endpoint)
        response = {
            "stream": batch.stream,
            "kind": batch.kind,
            "status": answer.status,
            "uid": uid,
            "id": answer.data.get("id") or user_id,
            "code": None if answer.ok else answer.code,
        }
        self._ledger.response({k: v for k, v in response.items() if v is not None})
        if answer.ok:
            self._ledger.delivered(batch.stream, 1)
        elif answer.status in CONCERNS_RECORDS or answer.code == UNKNOWN_USER:
            self._reject(batch, request, answer)
        else:
            raise unexpected(f"POST {endpoint}", answer)
        if singles.one_less():
            self._finish(batch, singles.hold)

    # Calls

    def _delete_user(self, singles: _Singles, request: bytes, key: str) -> None:  # noqa: ARG002
        self._calls.delete_user(singles.batch, request)
        if singles.one_less():
            self._finish(singles.batch, singles.hold)

    def _send_in_order(self, batch: Batch, hold: Hold) -> None:
        if self._calls.send_in_order(batch):
            self._finish(batch, hold)

    # Either way

    def _finish(self, batch: Batch, hold: Hold) -> None:
        self._ledger.merged(batch.stream, batch.records - batch.rows)
        # First the STATE, then whoever waits: which deletions a restart repeats depends on it.
        self._settle(batch.ticket)
        self._in_flight.release(hold)

    def _reject(self, batch: Batch, request: bytes, answer: Response) -> None:
        self._rejects.write(
            stream=batch.stream,
            kind=batch.kind,
            stage="api",
            code=reject_code(answer),
            message=answer.message,
            request=msgspec.Raw(request),
        )
        self._ledger.rejected(batch.stream)


_AFTER: dict[Kind, frozenset[Kind]] = {
    "events": PEOPLE,
    "user_deletions": frozenset({"events"}),
    **dict.fromkeys(IN_SERIES, PEOPLE),
}
"""What a batch of a kind waits for, whatever its users, where events wait for users."""


class _Singles:
    """A batch on its way as single requests; counts those that are left."""

    def __init__(self, batch: Batch, hold: Hold) -> None:
        self.batch = batch
        self.hold = hold
        self._left = batch.rows
        self._lock = threading.Lock()

    def one_less(self) -> bool:
        """Count one request done; returns whether it was the last."""
        with self._lock:
            self._left -= 1
            return self._left == 0


def _keyed(batch: Batch, salt: str, erased: AbstractSet[str]) -> Iterator[tuple[bytes, str]]:
    """The single requests with their idempotency keys: an event with a timestamp is known by its body."""
    occurrences: Counter[bytes] = Counter()
    for request in batch.requests():
        by_content = batch.kind == "events" and (batch.timed or has_timestamp(request))
        if by_content and not (erased and is_erased(request, erased)):
            yield request, content_key([request], occurrences[request], salt)
            occurrences[request] += 1
        else:
            yield request, new_key()
