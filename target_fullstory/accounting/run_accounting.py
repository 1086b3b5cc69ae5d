"""A run's ledger, rejects and checkpoints, bound together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from target_fullstory.accounting.checkpoints import Checkpoints, print_line
from target_fullstory.accounting.ledger import Ledger, OnResponse
from target_fullstory.accounting.metrics import Metrics
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
        on_response: OnResponse | None = None,
        take_reject: Callable[[Reject], None] | None = None,
        write_state: Callable[[bytes], None] = print_line,
    ) -> None:
        """Begin; `take_reject` takes each reject instead of the rejects file."""

        def take_response(event: str, entry: dict[str, Any]) -> None:
            self.metrics.on_response(event, entry)
            if on_response is not None:
                on_response(event, entry)

        self.ledger = Ledger(responses=settings.state_responses, on_response=take_response)
        self.metrics = Metrics(self.ledger)
        self.rejects = Rejects(self.ledger, settings.output_dir, run_id, take_reject)
        self.block = StateBlock(settings.state_key, run_id, self.ledger, self.rejects)
        self.checkpoints = Checkpoints(self.block, self.rejects, write_state)
