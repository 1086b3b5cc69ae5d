"""A run's ledger, rejects and checkpoints, bound together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from target_fullstory.accounting.checkpoints import Checkpoints
from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.ledger import Ledger, OnResponse
from target_fullstory.accounting.metrics import Metrics
from target_fullstory.accounting.rejection_limit import RejectionLimit
from target_fullstory.accounting.rejects import Reject, Rejects
from target_fullstory.accounting.run_report import RunReport
from target_fullstory.accounting.state_block import StateBlock
from target_fullstory.accounting.unresolved_rejects import EarlierRejects
from target_fullstory.settings.addresses import normalized
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
        report: RunReport | None = None,
    ) -> None:
        """Begin; `write_state` takes each STATE line, `take_reject` each reject instead of the rejects file.

        A run with a report leaves files, which begin with it, and tells what earlier runs left unresolved.
        """

        def take_response(event: str, entry: dict[str, Any]) -> None:
            self.metrics.on_response(event, entry)
            if on_response is not None:
                on_response(event, entry)

        self.ledger = Ledger(responses=settings.state_responses, on_response=take_response)
        self.metrics = Metrics(self.ledger)
        # The organization is not asked for yet, and not each key may ask: the address decides.
        here = Destination(normalized(settings.api_url))
        earlier = EarlierRejects(settings.output_dir, here) if report else None
        self.begin_report: Callable[[], None] = report.begin if report else lambda: None
        self.rejects = Rejects(
            self.ledger, settings.output_dir, run_id, take_reject, earlier, self.begin_report
        )
        self.block = StateBlock(settings.state_key, run_id, self.ledger, self.rejects)
        self.rejection_limit = RejectionLimit(
            settings.max_rejected_percent,
            self.ledger,
            self.rejects.reasons,
            lambda: self.checkpoints.last_written(),  # noqa: PLW0108 - made below
        )
        self.checkpoints = Checkpoints(
            self.block, self.rejects, write_state, self.rejection_limit.allows_state
        )
