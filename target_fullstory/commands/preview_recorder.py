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
class Sent:
    """The requests of one stream.

    Attributes:
        records: Records in them, by what they become: a user may become a deletion.
        requests: How many there are; the items of jobs count one by one.
        merged: Records that an update of the same user in the same batch absorbs.
        in_jobs: Whether some are items of batch jobs.
        first: The first ones, each with its kind and whether it is such an item.
    """

    records: Counter[Kind] = field(default_factory=Counter)
    requests: int = 0
    merged: int = 0
    in_jobs: bool = False
    first: list[tuple[Kind, bool, bytes]] = field(default_factory=list)


@dataclass
class Rejected:
    """The rejects of one stream: the first few, and all by code."""

    first: list[Reject] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)


class Recorder:
    """Stands in for Fullstory, which takes everything at once; keeps the first requests of each stream."""

    def __init__(self, settings: Settings, shown: int) -> None:
        """Keep nothing yet, later so many requests per stream."""
        self.sent: defaultdict[str, Sent] = defaultdict(Sent)
        self.rejected: defaultdict[str, Rejected] = defaultdict(Rejected)
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
        sent, requests = self.sent[batch.stream], batch.requests()
        if KINDS[batch.kind].in_series:
            runs = shared(map(decode_call, requests), self.max_bytes)
            requests = [encode_call(alone(calls)) for calls in runs]
        elif KINDS[batch.kind].cut_at_state and self.repeats_deletions:
            self._deletions.repeated_before(requests, batch.covered_by)
        job = goes_as_job(batch, self._settings)
        merged = batch.records - batch.rows
        sent.records[batch.kind] += batch.records
        sent.requests += len(requests)
        sent.merged += merged
        sent.in_jobs |= job
        missing = self._shown - len(sent.first)
        sent.first += [(batch.kind, job, request) for request in requests[:missing]]
        self.accounting.ledger.count(batch.stream, delivered=batch.rows, merged=merged)
        self.accounting.checkpoints.release(batch.ticket)

    def _take_reject(self, reject: Reject) -> None:
        rejected = self.rejected[reject.stream]
        rejected.codes[reject.code] += 1
        if len(rejected.first) < _SHOWN_REJECTS:
            rejected.first.append(reject)

    def require(self, stream: str, kind: Kind) -> None:
        """Nothing is asked of Fullstory."""

    def stop_sending(self) -> None:
        """Nothing is in flight."""

    def close(self, *, in_a_hurry: bool) -> dict[str, Any]:  # noqa: ARG002
        """Nothing was begun."""
        return {}
