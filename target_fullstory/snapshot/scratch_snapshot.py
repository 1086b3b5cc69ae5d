"""A copy of the snapshot, for a load that sends nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from target_fullstory.accounting.destination import Destination
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.change_limits import ChangeLimits
from target_fullstory.snapshot.open_snapshot import snapshot_directory, snapshot_name
from target_fullstory.snapshot.snapshot import Snapshot
from target_fullstory.snapshot.store import Store


def open_scratch(settings: Settings, destination: Destination, directory: Path) -> Snapshot:
    """Open a copy of a destination's snapshot in an empty directory.

    Its limits stop nothing. Where the system allows, the files are gone from the directory at once.
    """
    name = f"{snapshot_name(destination)}.mdb"
    path, copy = snapshot_directory(settings) / name, directory / name
    if path.exists():
        store = Store(path, destination)
        try:
            store.file.copy(copy)
        finally:
            store.close(alone=False)
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
