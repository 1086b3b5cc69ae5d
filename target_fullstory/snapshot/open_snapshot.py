"""Opens the snapshot of a run: which file it is, and where."""

from __future__ import annotations

from pathlib import Path

from target_fullstory.accounting.destination import Destination
from target_fullstory.settings.addresses import is_store_url
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.held_store import HeldStore
from target_fullstory.snapshot.remote_copy import RemoteCopy
from target_fullstory.snapshot.snapshot import Snapshot
from target_fullstory.snapshot.snapshot_files import snapshot_name


def open_snapshot(settings: Settings, destination: Destination) -> Snapshot:
    """Open the snapshot of a destination, or begin it.

    Raises:
        ConfigurationError: The place where it is kept cannot be used.
        OutputError: It cannot be opened or fetched.
    """
    held = hold_store(settings, destination)
    snapshot = Snapshot(
        held.store, resend_after=settings.resend_after_days, keep_events=settings.keep_events_days
    )
    snapshot.held = held
    return snapshot


def hold_store(settings: Settings, destination: Destination) -> HeldStore:
    """Open what the snapshot of a destination is stored in, or begin it; raises as `open_snapshot`."""
    path, remote = _place(settings, destination)
    return HeldStore(path, destination, remote)


def is_begun(settings: Settings, destination: Destination) -> bool:
    """Whether there is a snapshot of a destination; raises as `open_snapshot`."""
    path, remote = _place(settings, destination)
    return path.exists() if remote is None else remote.is_begun()


def _place(settings: Settings, destination: Destination) -> tuple[Path, RemoteCopy | None]:
    path, name = settings.snapshot_path, snapshot_name(destination)
    here = Path(settings.output_dir) / "snapshot"
    if path and is_store_url(path):
        remote = RemoteCopy(path, name, here)
        return remote.path, remote
    return Path(path or here) / f"{name}.mdb", None
