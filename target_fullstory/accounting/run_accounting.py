"""A run's ledger, rejects and checkpoints, bound together."""

from __future__ import annotations

from collections.abc import Callable

from target_fullstory.accounting.checkpoints import Checkpoints
from target_fullstory.accounting.ledger import Ledger, OnResponse
from target_fullstory.accounting.rejects import Reject, Rejects
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.settings.model import Settings


class Accounting:
    """Where the end of each record is entered."""

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        *,
        write_state: Callable[[bytes], None],
        on_response: OnResponse | None = None,
        take_reject: Callable[[Reject], None] | None = None,
    ) -> None:
        """Begin; `write_state` takes each STATE line, `take_reject` each reject instead of a file."""
        self.ledger = Ledger(responses=settings.state_responses, on_response=on_response)
        self.rejects = Rejects(self.ledger, settings.output_dir, run_id, take_reject)
        self.block = StateBlock(settings.state_key, run_id, self.ledger, self.rejects)
        self.checkpoints = Checkpoints(self.block, self.rejects, write_state)
