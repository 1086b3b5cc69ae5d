"""A copy of the snapshot, for a load that sends nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from target_fullstory.accounting.destination import Destination
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.change_limits import ChangeLimits
from target_fullstory.snapshot.open_snapshot import hold_store, is_begun
from target_fullstory.snapshot.snapshot import Snapshot
from target_fullstory.snapshot.store import Store


def open_scratch(settings: Settings, destination: Destination, directory: Path) -> Snapshot:
    """Open a copy of a destination's snapshot in an empty directory.

    Its limits stop nothing. Where the system allows, the files are gone from the directory at once.
    """
    copy = directory / "scratch.mdb"
    if is_begun(settings, destination):
        held = hold_store(settings, destination)
        try:
            held.store.file.copy(copy)
        finally:
            held.close()
    snapshot = Snapshot(
        Store(copy, destination),
        resend_after=settings.resend_after_days,
        keep_events=settings.keep_events_days,
    )
    snapshot.limits = ChangeLimits(settings, stops=False)
    for file in directory.iterdir():
        with suppress(OSError):
            file.unlink()
    return snapshot
