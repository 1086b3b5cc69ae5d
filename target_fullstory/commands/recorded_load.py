"""A load that sends nothing: what the commands share that tell beforehand what one would do.

All is read, validated, mapped and batched as in a load. What takes the batches acts as if Fullstory accepted
each at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from target_fullstory.accounting.rejects import Reject
from target_fullstory.accounting.run_accounting import Accounting
from target_fullstory.batching.batch import Batch
from target_fullstory.batching.memory_limits import batch_bytes
from target_fullstory.kinds import KINDS
from target_fullstory.mapping import decode_call, encode_call, join_calls
from target_fullstory.run import Run
from target_fullstory.sending.call_dispatcher import group_calls
from target_fullstory.sending.dispatcher import goes_as_job
from target_fullstory.sending.in_flight import InFlight
from target_fullstory.sending.pending_deletions import PendingDeletions
from target_fullstory.settings.model import Settings
from target_fullstory.target import TargetFullstory

if TYPE_CHECKING:
    from target_fullstory.snapshot.snapshot import Snapshot

input_option = click.option(
    "--input", "file_input", type=click.File("r"), help="A file of Singer messages; without, standard input."
)


class Recorder:
    """Takes each batch as if Fullstory accepted it at once."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        take_batch: Callable[[Batch, list[bytes], bool], None],
        take_reject: Callable[[Reject], None] = lambda _: None,
    ) -> None:
        """Pass each batch on with its requests, and whether it goes as a job; and each reject."""
        self.accounting = Accounting(
            # To show all that would be rejected it reads on where a load would stop.
            replace(settings, max_rejected_percent=None),
            name,
            take_reject=take_reject,
            write_state=lambda _: None,
        )
        self.max_bytes = batch_bytes(settings)
        self.snapshot: Snapshot | None = None
        self._settings = settings
        self._take_batch = take_batch
        checkpoints = self.accounting.checkpoints
        self._deletions = PendingDeletions(checkpoints.last_written, checkpoints.forbid)

    @property
    def repeats_deletions(self) -> bool:
        """As in a load that gets every response at once."""
        return bool(self._deletions.repeated())

    def submit(self, batch: Batch) -> None:
        """Take a batch."""
        self._deletions.add(batch.deleted)
        if self.snapshot is not None and batch.deleted:
            self.snapshot.book_blank(batch.deleted, batch.fingerprints)
        requests = batch.requests()
        if KINDS[batch.kind].in_series:
            runs = group_calls(map(decode_call, requests), self.max_bytes)
            requests = [encode_call(join_calls(calls)) for calls in runs]
        elif KINDS[batch.kind].cut_at_state and self.repeats_deletions:
            self._deletions.repeated_before(requests, batch.covered_by)
        self._take_batch(batch, requests, goes_as_job(batch, self._settings))
        if self.snapshot is not None and batch.fingerprints is not None:
            self.snapshot.confirm(batch.fingerprints, lambda: None)
        merged = batch.records - batch.rows
        self.accounting.ledger.count(batch.stream, delivered=batch.rows, merged=merged)
        self.accounting.checkpoints.release(batch.ticket)


class _RecordedRun(Run):
    def end(self, *, deliver: bool = True) -> None:  # noqa: ARG002
        """Bring what is open to the recorder; there is no STATE and no report to write."""
        self.flush()
        if self.mirror is not None:
            self.mirror.finish(lambda: "the run was stopped" if self.interrupted else "")
            self.flush()


class RecordedLoad(TargetFullstory):
    """The target with a run that records what it would send."""

    def __init__(
        self,
        config: dict[str, Any],
        make_recorder: Callable[[Settings], Recorder],
        open_snapshot: Callable[[Settings], Snapshot | None] = lambda _: None,
    ) -> None:
        """Without a snapshot, all records are sent whatever was sent before."""
        super().__init__(config=config)
        self.recorder = make_recorder(self.settings)
        self._open_snapshot = open_snapshot

    @cached_property
    def run(self) -> Run:
        """A run that sends to the recorder."""
        settings, recorder = self.settings, self.recorder
        run = _RecordedRun(settings, recorder.accounting, InFlight(settings), recorder)
        run.snapshot = recorder.snapshot = snapshot = self._open_snapshot(settings)
        if snapshot and snapshot.limits and any(spec.sync == "mirror" for spec in settings.streams.values()):
            from target_fullstory.mirror import Mirror  # noqa: PLC0415

            check = snapshot.limits.check_vanished
            run.mirror = Mirror(settings, snapshot, run, recorder.accounting.rejects, check)
        return run

    def process_endofpipe(self) -> None:
        """End without an error; the command looks at the rejects."""
        self.run.end()
