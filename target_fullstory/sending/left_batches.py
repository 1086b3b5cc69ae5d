"""What earlier runs left unanswered, for a load that sends nothing: on copies of their notes."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from target_fullstory.api.key_account import KeyAccount
from target_fullstory.sending.job_journal import JobJournal
from target_fullstory.sending.outbox import Outbox
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.snapshot import Snapshot


def expect_left_batches(settings: Settings, account: KeyAccount, snapshot: Snapshot, directory: Path) -> None:
    """Take as in progress what the next load settles first; the copies go to a temporary directory."""
    for path in Path(settings.output_dir).resolve().glob("jobs-*.jsonl"):
        with suppress(FileNotFoundError):  # its run has just ended well
            shutil.copyfile(path, directory / path.name)
    for path in Path(settings.output_dir).resolve().glob("batch-*"):
        (directory / path.name).symlink_to(path)
    journal = JobJournal(str(directory), "plan", settings.api_url, account)
    outbox = Outbox(journal, snapshot)
    for left in sorted(journal.left_jobs(outbox=True), key=journal.is_surely_here):
        outbox.take_over(left)
