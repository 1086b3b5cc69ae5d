"""Sends what Fullstory takes call by call: deletions of users, webhook endpoints, any other call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from target_fullstory.accounting.rejects import Reject
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.api.client import Client
from target_fullstory.api.responses import CONCERNS_RECORDS, UNKNOWN_USER, Response, unexpected
from target_fullstory.batching.batch import Batch
from target_fullstory.logs import logger
from target_fullstory.mapping import Call, decode_call, join_calls, redacted_call
from target_fullstory.sending.in_flight import InFlight
from target_fullstory.settings.masking import Mask

_ENVELOPE_BYTES = 8


def refusal(batch: Batch, request: bytes, response: Response, known_by: str | None = None) -> Reject:
    """The reject of a request that the API refused; `known_by` is what the snapshot knows the event by."""
    return Reject(
        stream=batch.stream,
        kind=batch.kind,
        stage="api",
        code="request_too_large" if response.status == 413 else response.code,
        message=response.message,
        request=msgspec.Raw(request),
        known_by=known_by,
    )


class CallDispatcher:
    """Sends calls and records their outcome; used from several threads at a time."""

    def __init__(self, client: Client, in_flight: InFlight, accounting: Accounting) -> None:
        self._client = client
        self._in_flight = in_flight
        self._ledger = accounting.ledger
        self._rejects = accounting.rejects

    def delete_user(
        self, batch: Batch, request: bytes, _key: str | None = None, _known_by: str | None = None
    ) -> bool:
        """Delete a user by a call, one of the batch's requests; returns whether the user is gone.

        Else the request is rejected. A DELETE has no idempotency key, and is of no event.
        """
        call = decode_call(request)
        response = self._client.call(call.method, call.path, name="/v2/users", content="json")
        self._ledger.response(
            batch.stream, batch.kind, response.status, code=response.error_code, uid=call.uid, id=call.id
        )
        unknown = response.status == 404 and response.code == UNKNOWN_USER
        vanished = batch.fingerprints is not None and batch.fingerprints.removes
        if response.ok or (unknown and (response.uncertain or not batch.own or vanished)):
            # An earlier attempt, whose response was lost, has most likely deleted the user; and whoever
            # vanished from a mirror need not be there.
            if batch.own:
                self._ledger.count(batch.stream, delivered=1)
            return True
        if not unknown and response.status not in CONCERNS_RECORDS:
            raise unexpected("DELETE /v2/users", response)
        self._reject(batch, [call], response)
        return False

    def send_in_order(self, batch: Batch) -> bool:
        """Send a batch's calls one after the other; False where the run is to end before the last."""
        for calls in group_calls(map(decode_call, batch.requests()), self._in_flight.max_body_bytes):
            if self._in_flight.ending:
                return False
            self._send(batch, calls)
        return True

    def _send(self, batch: Batch, calls: list[Call]) -> None:
        """Send calls as one; in halves where that is too large."""
        call = join_calls(calls)
        response = self._client.call(
            call.method,
            call.path,
            call.content,
            # A path may hold a record's values.
            name=f"of stream {batch.stream!r}",
            # Nearly any response will do for other calls. An endpoint's is known: another one is a proxy's.
            content="any" if call.action is None else "json",
            holds="id" if call.action == "create" else "",
            redirects=True,
        )
        response = _without_secret(call, response)
        self._ledger.response(
            batch.stream, batch.kind, response.status, code=response.error_code, **_about(call, response)
        )
        # A deletion whose response was lost has most likely been carried out.
        gone = call.method == "DELETE" and response.status == 404 and response.uncertain
        if response.ok or gone:
            self._ledger.count(batch.stream, delivered=len(calls))
            new = _id_in(response)
            if call.action == "update" and new is not None and new != call.id:
                logger.info("Stream %s: webhook endpoint %s has the id %s now", batch.stream, call.id, new)
        elif response.status == 413 and len(calls) > 1:
            self._in_flight.halve_body_limit(len(call.content or b""))
            middle = len(calls) // 2
            self._send(batch, calls[:middle])
            self._send(batch, calls[middle:])
        elif 300 <= response.status < 500:
            self._reject(batch, calls, response)
        else:
            raise unexpected(f"{call.method} of stream {batch.stream!r}", response)

    def _reject(self, batch: Batch, calls: list[Call], response: Response) -> None:
        for call in calls:
            reject = refusal(batch, redacted_call(join_calls([call])), response)
            self._rejects.write(reject, own=batch.own)


def group_calls(calls: Iterable[Call], max_bytes: int) -> Iterator[list[Call]]:
    """Group the calls that are sent as one, in the order received.

    Calls of the same `sharing.group` are sent together wherever they are, others where they follow each
    other; within a group, and among calls without one, the order stays. A larger body goes alone.
    """
    runs: list[list[Call]] = []
    latest: dict[str | None, tuple[list[Call], int]] = {}
    for call in calls:
        size = len(call.body) + 1
        if call.sharing is None:
            latest.clear()
            runs.append([call])
            continue
        group = call.sharing.group
        run, bytes_so_far = latest.get(group, ([], 0))
        fits = (
            run
            and (run[0].method, run[0].path) == (call.method, call.path)
            and len(run) < call.sharing.size
            and bytes_so_far + size <= max_bytes - len(call.sharing.key) - _ENVELOPE_BYTES
        )
        if fits:
            run.append(call)
        else:
            run, bytes_so_far = [call], 0
            runs.append(run)
        latest[group] = run, bytes_so_far + size
    yield from runs


def _about(call: Call, response: Response) -> dict[str, str | None]:
    """What a call was about, for the state block."""
    if call.action is None:
        return {"method": call.method, "path": call.path}
    new = _id_in(response) or call.id
    previous = call.id if new != call.id else None
    return {"action": call.action, "id": new, "previous_id": previous}


def _id_in(response: Response) -> str | None:
    found = response.data.get("id")
    return found if isinstance(found, str) and found else None


def _without_secret(call: Call, response: Response) -> Response:
    """A refusal without the endpoint's secret, should it repeat that."""
    if response.ok or call.action is None or call.content is None:
        return response
    secret = msgspec.json.decode(call.body, type=dict[str, Any]).get("secret")
    if not isinstance(secret, str) or not secret:
        return response
    return msgspec.structs.replace(response, data=Mask([secret]).data(response.data))
