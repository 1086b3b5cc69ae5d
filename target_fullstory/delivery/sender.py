"""Sends batches: as single requests or as a job, in order, within the windows."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import msgspec

from target_fullstory.delivery.batch import Batch, batch_body, content_key, new_key, requests_of
from target_fullstory.delivery.client import Answer, Client
from target_fullstory.delivery.inflight import Hold, InFlight
from target_fullstory.delivery.jobs import Jobs
from target_fullstory.delivery.logs import logger
from target_fullstory.delivery.rejects import Rejects
from target_fullstory.delivery.requests_json import has_timestamp, identity
from target_fullstory.errors import DeliveryError, TargetFullstoryError
from target_fullstory.settings import Settings
from target_fullstory.state import Ledger, Ticket


class Sender:
    """Takes closed batches from one thread and sends them from several."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        jobs: Jobs,
        in_flight: InFlight,
        ledger: Ledger,
        rejects: Rejects,
        settle: Callable[[Ticket], None],
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
        """
        self._settings = settings
        self._client = client
        self._jobs = jobs
        self._in_flight = in_flight
        self._ledger = ledger
        self._rejects = rejects
        self._settle = settle
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="send")
        self._limit_lock = threading.Lock()
        self._max_bytes = settings.max_batch_bytes

    @property
    def max_bytes(self) -> int:
        """The request body limit: the setting, halved whenever Fullstory answered 413."""
        return self._max_bytes

    def submit(self, batch: Batch) -> None:
        """Send a batch when its turn has come; returns when its requests are handed to the threads.

        Raises:
            TargetFullstoryError: An earlier request failed for good.
            StopWaiting: The run was asked to stop and the turn did not come in time.
        """
        watch = self._jobs.watch
        if batch.kind == "users":
            self._in_flight.wait_for_order(batch.keys, watch)
        elif self._settings.events_wait_for_users:
            self._in_flight.wait_for_users(watch)
        if self._as_job(batch):
            hold = self._hold_job(batch, batch.rows)
            self._in_flight.take_slot()
            self._threads.submit(self._run, self._send_job, batch, hold)
            return
        hold = self._in_flight.hold(batch.kind, batch.rows, batch.keys, job=False)
        singles = _Singles(batch, hold)
        for request, key in _keyed(batch):
            self._in_flight.take_slot()
            self._threads.submit(self._run, self._send_single, singles, request, key)

    def close(self) -> None:
        """Wait for the requests on their way and end the threads."""
        self._in_flight.wait_for_requests()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _as_job(self, batch: Batch) -> bool:
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

    def _send_job(self, batch: Batch, hold: Hold) -> None:
        body = batch.take_body()
        if self._try_job(batch, body, batch.rows):
            self._send_halves(batch, body, hold)
        self._finish(batch, hold)

    def _try_job(self, batch: Batch, body: bytes, rows: int) -> bool:
        """Send requests as one job; returns whether they have to be sent in halves."""
        if len(body) > self._max_bytes and rows > 1:
            return True
        key = content_key(body) if batch.kind == "events" and batch.timed else new_key()
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
        if answer.status not in _CONCERNS_RECORDS:
            raise _unexpected(f"/v2/{batch.kind}/batch", answer)
        if rows == 1:
            self._reject(batch, requests_of(body)[0], answer)
            return False
        if answer.status == 413:
            self._lower_limit(len(body))
        return True

    def _send_halves(self, batch: Batch, body: bytes, whole: Hold) -> None:
        requests = requests_of(body)
        middle = len(requests) // 2
        for half in (requests[:middle], requests[middle:]):
            hold = self._hold_job(batch, len(half), part_of=whole)
            try:
                refused = self._try_job(batch, batch_body(half), len(half))
            finally:
                self._in_flight.release(hold)
            if refused:
                self._send_halves(batch, batch_body(half), whole)

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
        answer = self._client.call("POST", path, body, key=key)
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
        elif answer.status in _CONCERNS_RECORDS or answer.code == _UNKNOWN_USER:
            self._reject(batch, request, answer)
        else:
            raise _unexpected(endpoint, answer)
        if singles.one_less():
            self._finish(batch, singles.hold)

    # Either way

    def _finish(self, batch: Batch, hold: Hold) -> None:
        self._ledger.merged(batch.stream, batch.records - batch.rows)
        self._in_flight.release(hold)
        self._settle(batch.ticket)

    def _reject(self, batch: Batch, request: bytes, answer: Answer) -> None:
        code = "request_too_large" if answer.status == 413 else answer.code
        self._rejects.write(
            stream=batch.stream,
            kind=batch.kind,
            stage="api",
            code=code,
            message=answer.message,
            request=msgspec.Raw(request),
        )
        self._ledger.rejected(batch.stream)


_CONCERNS_RECORDS = frozenset({400, 413, 422})
"""Statuses that one record or the size of a batch may have caused."""

_UNKNOWN_USER = "user_not_found"
"""The API's code where a record names a user that is not there; any other 404 is a wrong address."""


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


def _keyed(batch: Batch) -> Iterator[tuple[bytes, str]]:
    """The single requests with their idempotency keys: an event with a timestamp is known by its body."""
    occurrences: Counter[bytes] = Counter()
    for request in batch.requests():
        if batch.kind == "events" and (batch.timed or has_timestamp(request)):
            yield request, content_key(request, occurrences[request])
            occurrences[request] += 1
        else:
            yield request, new_key()


def _unexpected(path: str, answer: Answer) -> DeliveryError:
    # Without the API's message, which may quote a record.
    return DeliveryError(
        f"Fullstory answered POST {path} with {answer.status} ({answer.code}). Check the setting api_url."
    )
