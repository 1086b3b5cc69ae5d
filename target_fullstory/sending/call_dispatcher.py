"""Sends what Fullstory takes call by call: deletions of users, webhook endpoints, any other call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

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
from target_fullstory.batching.batch import Batch
from target_fullstory.logs import logger
from target_fullstory.mapping import Call, alone, decode_call, shown_call
from target_fullstory.sending.idempotency_keys import new_key
from target_fullstory.sending.in_flight import InFlight


class Calls:
    """Sends calls and tells what came of them; used from several threads at a time."""

    def __init__(
        self,
        client: Client,
        in_flight: InFlight,
        ledger: Ledger,
        rejects: Rejects,
        max_bytes: Callable[[], int],
        too_large: Callable[[int], None],
    ) -> None:
        """Bind it to a run.

        Args:
            client: Calls the API.
            in_flight: Tells when the run is to end.
            ledger: Where responses and the ends of records are entered.
            rejects: Where refused calls go.
            max_bytes: The request body limit as of now.
            too_large: Told the size of a body that was refused for it.
        """
        self._client = client
        self._in_flight = in_flight
        self._ledger = ledger
        self._rejects = rejects
        self._max_bytes = max_bytes
        self._too_large = too_large

    def delete_user(self, batch: Batch, request: bytes) -> None:
        """Delete a user.

        Args:
            batch: The deletion's batch.
            request: The call, one of the batch's requests.

        Raises:
            DeliveryError: The answer concerns more than this user.
        """
        call = decode_call(request)
        answer = self._client.call(call.method, call.path, name="/v2/users", content="json")
        self._tell(batch, answer, uid=call.uid, id=call.id)
        unknown = answer.status == 404 and answer.code == UNKNOWN_USER
        if answer.ok or (unknown and answer.uncertain):
            # An earlier attempt, whose answer was lost, has most likely deleted the user.
            self._ledger.delivered(batch.stream, 1)
        elif unknown or answer.status in CONCERNS_RECORDS:
            self._reject(batch, [call], answer)
        else:
            raise unexpected("DELETE /v2/users", answer)

    def send_in_order(self, batch: Batch) -> bool:
        """Send a batch's calls one after the other.

        Args:
            batch: The batch.

        Returns:
            Whether all have an end; False where the run is to end before.

        Raises:
            DeliveryError: An answer concerns more than one record.
        """
        for calls in shared(map(decode_call, batch.requests()), self._max_bytes()):
            if self._in_flight.ending:
                return False
            self._send(batch, calls)
        return True

    def _send(self, batch: Batch, calls: list[Call]) -> None:
        """Send calls as one; in halves where that is too large."""
        call = alone(calls)
        answer = self._client.call(
            call.method,
            call.path,
            call.content,
            key=new_key() if call.method == "POST" else None,
            # A path may hold a record's values.
            name=f"of stream {batch.stream!r}",
            # Other calls answer as they like. An endpoint's answer is known: another is a proxy's.
            content="any" if batch.kind == "request" else "json",
            redirects=True,
        )
        self._tell(batch, answer, **_shown(call, answer))
        # A deletion whose answer was lost has most likely been carried out.
        gone = call.method == "DELETE" and answer.status == 404 and answer.uncertain
        if answer.ok or gone:
            self._ledger.delivered(batch.stream, len(calls))
            _tell_new_id(batch.stream, call, answer)
        elif answer.status == 413 and len(calls) > 1:
            self._too_large(len(call.content or b""))
            middle = len(calls) // 2
            self._send(batch, calls[:middle])
            self._send(batch, calls[middle:])
        elif 300 <= answer.status < 500:
            self._reject(batch, calls, answer)
        else:
            raise unexpected(f"{call.method} of stream {batch.stream!r}", answer)

    def _tell(self, batch: Batch, answer: Response, **about: Any) -> None:
        response = {"stream": batch.stream, "kind": batch.kind, "status": answer.status, **about}
        if not answer.ok:
            response["code"] = answer.code
        self._ledger.response({k: v for k, v in response.items() if v is not None})

    def _reject(self, batch: Batch, calls: list[Call], answer: Response) -> None:
        for call in calls:
            self._rejects.write(
                stream=batch.stream,
                kind=batch.kind,
                stage="api",
                code=reject_code(answer),
                message=_without_secret(call, answer.message),
                request=msgspec.Raw(shown_call(alone([call]))),
            )
        self._ledger.rejected(batch.stream, len(calls))


def shared(calls: Iterable[Call], max_bytes: int) -> Iterator[list[Call]]:
    """Brings calls together that are to become one, in the order received.

    Calls that have a group in common come together wherever they are; others where they follow each other.
    Of a group, and of calls without one, the order stays.

    Args:
        calls: A batch's calls.
        max_bytes: The most bytes of their bodies in one call; a larger body goes alone.

    Yields:
        Calls of the same method and path; one where calls are not shared.
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


_ENVELOPE_BYTES = 8


def _shown(call: Call, answer: Response) -> dict[str, Any]:
    """What a call was about, for the state block."""
    if call.action is None:
        return {"method": call.method, "path": call.path}
    new = _id_in(answer) or call.id
    previous = call.id if new != call.id else None
    return {"action": call.action, "id": new, "previous_id": previous}


def _id_in(answer: Response) -> str | None:
    found = answer.data.get("id")
    return found if isinstance(found, str) and found else None


def _tell_new_id(stream: str, call: Call, answer: Response) -> None:
    new = _id_in(answer)
    if call.action == "update" and new is not None and new != call.id:
        logger.info("Stream %s: webhook endpoint %s has the id %s now", stream, call.id, new)


def _without_secret(call: Call, message: str) -> str:
    if call.action is None or call.content is None:
        return message
    secret = msgspec.json.decode(call.body, type=dict[str, Any]).get("secret")
    return message.replace(secret, "****") if isinstance(secret, str) and secret else message
