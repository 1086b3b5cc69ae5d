"""Events that the snapshot may know only once a restart leaves them alone.

A restart would repeat the deletion of their user, which takes them away, and bring them again. So they are
sent without a note in the outbox; the snapshot learns of them at the run's end, but for those refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from target_fullstory.accounting.rejects import Reject, Rejects
from target_fullstory.sending.missing_requests import event_content
from target_fullstory.snapshot.batch_rows import BatchRows


class ApartEvents:
    """Those of a run, each with the STATE that it waits for; used by several threads."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, BatchRows, list[int]]] = []
        self._refused: set[int] = set()

    def add(self, covered_by: int, rows: BatchRows, requests: Sequence[bytes]) -> None:
        """Take events before they are sent; `covered_by` is the number of the first STATE behind them."""
        self._rejects.watch = self._refuse
        with self._lock:
            self._waiting.append((covered_by, rows, [hash(event_content(one)) for one in requests]))

    def _refuse(self, reject: Reject) -> None:
        if reject.kind == "events" and reject.request is not None:
            with self._lock:
                self._refused.add(hash(event_content(bytes(reject.request))))

    def take_confirmed(self, written: int) -> Iterator[BatchRows]:
        """Those that the STATE written last covers, without those that were refused."""
        with self._lock:
            taken = [one for one in self._waiting if one[0] <= written]
            self._waiting = [one for one in self._waiting if one[0] > written]
            for _, rows, contents in taken:
                yield rows.without_at({at for at, one in enumerate(contents) if one in self._refused})
