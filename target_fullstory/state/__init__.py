"""What a run knows of itself: where each record ended, which STATE may be written, the state block."""

from target_fullstory.state.block import StateBlock
from target_fullstory.state.checkpoints import Checkpoints, Ticket
from target_fullstory.state.ledger import JobEntry, Ledger, StreamCounts, Tell

__all__ = ["Checkpoints", "JobEntry", "Ledger", "StateBlock", "StreamCounts", "Tell", "Ticket"]
