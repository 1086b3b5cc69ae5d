"""The state block: what a run adds to the tap's STATE, so that a load can be checked downstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.rejects import Rejects

VERSION = 1


class StateBlock:
    """One run's block."""

    def __init__(self, key: str | None, run_id: str, ledger: Ledger, rejects: Rejects) -> None:
        """Bind the block to its run; a `key` of None leaves STATEs without it."""
        self._key = key
        self._run_id = run_id
        self._ledger = ledger
        self._rejects = rejects
        # Set by a run that sends: whose key it is, None as long as that is not known.
        self.organization: Callable[[], str | None] = lambda: None

    def build(self, *, final: bool, every_job: bool = False) -> dict[str, Any]:
        """The block as of now, or `final` when the run is over; with the latest jobs or all of them."""
        return {
            "version": VERSION,
            "run_id": self._run_id,
            "organization": self.organization(),
            "streams": self._ledger.streams(final=final),
            "jobs": self._ledger.jobs(every=every_job),
            "unfinished_jobs": self._ledger.unfinished_jobs(every=every_job),
            "responses": self._ledger.responses(),
            "rejects": self._rejects.summary(),
        }

    def insert(self, value: bytes, *, final: bool) -> bytes:
        """The tap's STATE value with this block in place of an earlier run's."""
        if self._key is None:
            return value
        state = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        state[self._key] = msgspec.Raw(msgspec.json.encode(self.build(final=final)))
        return msgspec.json.encode(state)
