"""Opens the snapshot of a run: which file it is, and where."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from target_fullstory.accounting.destination import Destination
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.snapshot import Snapshot
from target_fullstory.snapshot.store import Store


def snapshot_name(destination: Destination) -> str:
    """The name of a destination's file, without its ending."""
    place = re.sub(r"[^A-Za-z0-9._-]", "-", destination.organization or "sandbox")
    return f"{place}-{hashlib.sha256(destination.address.encode()).hexdigest()[:8]}"


def snapshot_file(settings: Settings, destination: Destination) -> Path:
    """Where a destination's file is."""
    directory = Path(settings.snapshot_path or Path(settings.output_dir) / "snapshot")
    return directory / f"{snapshot_name(destination)}.mdb"


def open_snapshot(settings: Settings, destination: Destination) -> Snapshot:
    """Open the snapshot of a destination, or begin it.

    Raises:
        OutputError: It cannot be opened.
    """
    store = Store(snapshot_file(settings, destination), destination)
    return Snapshot(store, resend_after=settings.resend_after_days, keep_events=settings.keep_events_days)
