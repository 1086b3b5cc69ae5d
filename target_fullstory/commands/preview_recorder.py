"""A run's delivery that records what would be sent and rejected, and does neither."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from target_fullstory.accounting.rejects import Reject
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.batching.batch import Batch
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.mapping import alone, decode_call, encode_call
from target_fullstory.sending.call_dispatcher import shared
from target_fullstory.sending.dispatcher import goes_as_job
from target_fullstory.sending.in_flight import InFlight
from target_fullstory.sending.pending_deletions import PendingDeletions
from target_fullstory.settings.model import Settings

_SHOWN_REJECTS = 10


@dataclass
class StreamRecord:
    """What became of one stream, beside its counts in the ledger.

    Attributes:
        requests: How many there are; the items of jobs count one by one.
        in_jobs: Whether some are items of batch jobs.
        first: The first requests, each with its kind and whether it is such an item.
        rejects: The first rejects.
        codes: All rejects by code.
    """

    requests: int = 0
    in_jobs: bool = False
    first: list[tuple[Kind, bool, bytes]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)


class Recorder:
    """Stands in for Fullstory, which takes everything at once; keeps the first requests of each stream."""

    def __init__(self, settings: Settings, shown: int) -> None:
        """Keep nothing yet, later so many requests per stream."""
        self.streams: defaultdict[str, StreamRecord] = defaultdict(StreamRecord)
        self.accounting = Accounting(
            settings, "preview", take_reject=self._take_reject, write_state=lambda _: None
        )
        self.in_flight = InFlight(settings)
        self.dispatcher = self
        self.max_bytes = settings.max_batch_bytes
        self._settings = settings
        self._shown = shown
        checkpoints = self.accounting.checkpoints
        self._deletions = PendingDeletions(checkpoints.last_written, checkpoints.forbid)

    @property
    def repeats_deletions(self) -> bool:
        """As in a load whose requests are answered at once."""
        return bool(self._deletions.repeated())

    def submit(self, batch: Batch) -> None:
        """Record the requests of a batch."""
        self._deletions.add(batch.deleted)
        stream, requests = self.streams[batch.stream], batch.requests()
        if KINDS[batch.kind].in_series:
            runs = shared(map(decode_call, requests), self.max_bytes)
            requests = [encode_call(alone(calls)) for calls in runs]
        elif KINDS[batch.kind].cut_at_state and self.repeats_deletions:
            self._deletions.repeated_before(requests, batch.covered_by)
        job = goes_as_job(batch, self._settings)
        stream.requests += len(requests)
        stream.in_jobs |= job
        missing = self._shown - len(stream.first)
        stream.first += [(batch.kind, job, request) for request in requests[:missing]]
        merged = batch.records - batch.rows
        self.accounting.ledger.count(batch.stream, delivered=batch.rows, merged=merged)
        self.accounting.checkpoints.release(batch.ticket)

    def _take_reject(self, reject: Reject) -> None:
        stream = self.streams[reject.stream]
        stream.codes[reject.code] += 1
        if len(stream.rejects) < _SHOWN_REJECTS:
            stream.rejects.append(reject)

    def require(self, stream: str, kind: Kind) -> None:
        """Nothing is asked of Fullstory."""

    def stop_sending(self) -> None:
        """Nothing is in flight."""

    def close(self, *, in_a_hurry: bool) -> dict[str, Any]:  # noqa: ARG002
        """Nothing was begun."""
        return {}
