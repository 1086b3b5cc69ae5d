"""Gathers the calls of a stream into the requests of a load: records that share one come together."""

from __future__ import annotations

from target_fullstory.batching.batch_body import ENVELOPE_BYTES
from target_fullstory.batching.batcher import CALLS_WORTH_A_STATE
from target_fullstory.mapping import Call, alone, decode_call
from target_fullstory.sending.call_dispatcher import shared


class GatheredCalls:
    """A stream's calls of kind `request`, held until a load's batch would end: one batch at the most."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        """Hold nothing yet.

        Args:
            max_rows: Calls in a batch.
            max_bytes: Bytes of a batch, and of the body of a request.
        """
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._held: list[bytes] = []
        self._size = ENVELOPE_BYTES

    def add(self, call: bytes) -> list[Call]:
        """Take a call as mapped; returns the requests of the batches that it ends."""
        full = self._held and self._size + len(call) > self._max_bytes
        made = self.close() if full else []
        self._held.append(call)
        self._size += len(call) + 1
        if len(self._held) >= self._max_rows:
            made += self.close()
        return made

    def mark(self) -> list[Call]:
        """Take note of a STATE; returns the requests of the batch that it ends, if it does."""
        return self.close() if len(self._held) >= CALLS_WORTH_A_STATE else []

    def close(self) -> list[Call]:
        """The requests of what is held; nothing is held after."""
        held, self._held, self._size = self._held, [], ENVELOPE_BYTES
        return [alone(calls) for calls in shared(map(decode_call, held), self._max_bytes)]
