"""The state block: what the target adds to the tap's STATE so that downstream can check the load."""

from __future__ import annotations

from typing import Any

import msgspec

from target_fullstory.accounting.ledger import Ledger

VERSION = 1


class StateBlock:
    """Writes a run's block into STATE values."""

    def __init__(self, key: str | None, run_id: str, ledger: Ledger) -> None:
        """Bind the block to a run.

        Args:
            key: The block's key in the STATE value; None leaves the STATE untouched.
            run_id: The run's id.
            ledger: Where the counts, jobs and responses come from.
        """
        self._key = key
        self._run_id = run_id
        self._ledger = ledger

    def build(
        self, rejects: dict[str, Any], *, final: bool, every_job: bool = False
    ) -> dict[str, Any]:
        """The block as of now.

        Args:
            rejects: Count and path of the rejects file.
            final: Whether the run is over.
            every_job: List all jobs instead of the latest.
        """
        return {
            "version": VERSION,
            "run_id": self._run_id,
            "streams": self._ledger.streams(final=final),
            "jobs": self._ledger.jobs(every=every_job),
            "responses": self._ledger.responses(),
            "rejects": rejects,
        }

    def insert(self, value: bytes, rejects: dict[str, Any], *, final: bool) -> bytes:
        """A STATE line: the tap's value with this run's block in place of an earlier one.

        Args:
            value: The tap's STATE value as JSON, an object.
            rejects: Count and path of the rejects file.
            final: Whether the run is over.
        """
        if self._key is None:
            return value
        state = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        state[self._key] = msgspec.Raw(msgspec.json.encode(self.build(rejects, final=final)))
        return msgspec.json.encode(state)
