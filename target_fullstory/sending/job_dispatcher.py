"""Sends a batch as a job; in parts where it is too large, or where one of its records spoils it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.responses import CONCERNS_RECORDS, unexpected
from target_fullstory.batching.batch import Batch, BatchBody
from target_fullstory.batching.encoded_requests import deleted_with
from target_fullstory.kinds import KINDS
from target_fullstory.sending.call_dispatcher import refusal
from target_fullstory.sending.idempotency_keys import content_key
from target_fullstory.sending.in_flight import InFlight, Reservation
from target_fullstory.sending.job_tracker import JobTracker
from target_fullstory.sending.note_file import NotedJob


@dataclass(eq=False)
class _Part:
    """What is sent as one job: a batch, or a part of it."""

    body: BatchBody
    rows: int
    by_content: bool  # whether its key is made of its content
    noted: NotedJob | None = None  # in the outbox


class JobDispatcher:
    """Sends batches as jobs, until these are accepted; used from several threads at a time."""

    def __init__(
        self, client: Client, jobs: JobTracker, in_flight: InFlight, accounting: Accounting, key_salt: str
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._outbox = jobs.outbox
        self._in_flight = in_flight
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects
        self._key_salt = key_salt

    def send(
        self, batch: Batch, whole: Reservation, deleted: AbstractSet[str], noted: NotedJob | None = None
    ) -> None:
        """Send a batch; a restart deletes some users. It is `noted` where an earlier run may have sent it."""
        if self._outbox is not None and batch.fingerprints is not None:
            self._jobs.require_ends(batch.stream)
            body = BatchBody(batch.items)
            noted = self._outbox.send(batch.fingerprints, body, batch.rows, single=False)
        if noted is not None:
            part = _Part(batch.take_body(), batch.rows, by_content=False, noted=noted)
            self._send_whole(batch, whole, part)
            return
        by_content = KINDS[batch.kind].cut_at_state and batch.timed
        if deleted and by_content:
            # Events that a restart would take away go apart, under a key of their own.
            requests = batch.requests()
            gone = [request for request in requests if deleted_with(request, deleted)]
            kept = [request for request in requests if not deleted_with(request, deleted)]
            self._send_parts(batch, whole, [_Part(BatchBody(kept), len(kept), by_content=True)])
            self._send_parts(batch, whole, [_Part(BatchBody(gone), len(gone), by_content=False)])
        else:
            self._send_whole(batch, whole, _Part(batch.take_body(), batch.rows, by_content))

    def _send_whole(self, batch: Batch, whole: Reservation, part: _Part) -> None:
        if self._try_job(batch, part):
            self._send_parts(batch, whole, self._halves(part))

    def _send_parts(self, batch: Batch, whole: Reservation, parts: list[_Part]) -> None:
        for part in parts:
            if not part.rows:
                continue
            reserved = self._in_flight.reserve(
                Reservation(batch.kind, part.rows, batch.keys, job=True), part_of=whole
            )
            try:
                refused = self._try_job(batch, part)
            finally:
                self._in_flight.release(reserved)
            if refused:
                self._send_parts(batch, whole, self._halves(part))

    def _halves(self, part: _Part) -> list[_Part]:
        requests = part.body.requests()
        middle = len(requests) // 2
        halves = [
            _Part(BatchBody(half), len(half), part.by_content)
            for half in (requests[:middle], requests[middle:])
        ]
        if self._outbox is not None and part.noted is not None:
            for half, noted in zip(
                halves, self._outbox.part(part.noted, [half.body for half in halves]), strict=True
            ):
                half.noted = noted
        return halves

    def _try_job(self, batch: Batch, part: _Part) -> bool:
        """Send requests as one job; returns whether they have to be sent in halves."""
        body, noted = part.body, part.noted
        # One that an earlier run may have sent is sent as it is: Fullstory may know it.
        if batch.own and len(body) > self._in_flight.max_body_bytes and part.rows > 1:
            return True
        path = f"{KINDS[batch.kind].endpoint}/batch"
        key = content_key(body, salt=self._key_salt) if part.by_content else None
        self._jobs.expect_job()
        response = self._client.call("POST", path, body, key=noted.sent if noted else key, holds="job.id")
        if response.ok:
            job = self._jobs.track(batch, body, part.rows, response, noted)
            self._ledger.response(batch.stream, batch.kind, response.status, job=job)
            return False
        self._ledger.response(batch.stream, batch.kind, response.status, code=response.error_code)
        if response.status not in CONCERNS_RECORDS:
            raise unexpected(f"POST {path}", response)
        if part.rows == 1:
            (request,) = body.requests()
            rows = self._outbox.rows(noted) if self._outbox is not None and noted is not None else None
            known_by = rows.known_by(0) if rows else None
            self._rejects.write(refusal(batch, request, response, known_by), own=batch.own)
            if self._outbox is not None and noted is not None:
                self._rejects.sync()
                self._outbox.book(noted, {0: request})
            return False
        if response.status == 413:
            self._in_flight.halve_body_limit(len(body))
        return True
