"""The command `snapshot`: shows what is known of each stream, or forgets streams."""

from __future__ import annotations

from collections.abc import Collection

import click
import msgspec
from rich.table import Table
from rich.text import Text

from target_fullstory.accounting.destination import Destination
from target_fullstory.api.client import Client
from target_fullstory.api.key_account import KeyAccount, briefly
from target_fullstory.commands.shared_options import config_option, format_option, print_as, read_settings
from target_fullstory.errors import InputError, did_you_mean
from target_fullstory.logs import counted, logger
from target_fullstory.snapshot.held_store import HeldStore
from target_fullstory.snapshot.open_snapshot import hold_store, is_begun
from target_fullstory.snapshot.snapshot_locks import StreamInUseError
from target_fullstory.snapshot.store import Store


class KnownStream(msgspec.Struct, frozen=True):
    """What the snapshot knows of a stream."""

    stream: str
    kind: str
    records: int  # users or events
    since: str | None  # when the first of them was entered, and the latest
    loaded: str | None


class KnownStreams(msgspec.Struct):
    """What the snapshot of a destination knows."""

    destination: Destination
    path: str | None = None  # None where there is no snapshot
    bytes: int = 0
    streams: list[KnownStream] = []


@click.command("snapshot")
@config_option
@click.option("--forget", is_flag=True, help="Forget the streams: the next load sends all of their records.")
@format_option
@click.argument("streams", nargs=-1)
def snapshot_command(config_paths: tuple[str, ...], forget: bool, form: str, streams: tuple[str, ...]) -> int:
    """Show what is known of streams with `sync: changed` or `mirror`: how many records, since when.

    Without STREAMS: all of the configured destination. Exit code 0; 1 on an error.
    """
    settings = read_settings(config_paths)
    if forget and not streams:
        raise InputError("--forget takes the streams to forget: snapshot --forget STREAM…")
    account = KeyAccount(settings, Client(briefly(settings), settings.api_url))
    destination = account.certain_destination()
    if is_begun(settings, destination):
        found = _look(hold_store(settings, destination), destination, streams, forget=forget)
        records = counted(sum(one.records for one in found.streams), "record")
        of_streams = counted(len(found.streams), "stream")
        size = _shown(found.bytes)
        logger.info("The snapshot %s has %s, and knows %s of %s", found.path, size, records, of_streams)
    else:
        _check_names(streams, ())
        found = KnownStreams(destination)
        logger.info("There is no snapshot yet: nothing is known of any stream")
    print_as(form, found, _table(found.streams))
    return 0


def _look(
    held: HeldStore, destination: Destination, streams: Collection[str], *, forget: bool
) -> KnownStreams:
    """Forget these streams, or look at them; what is known then of these, or of all."""
    store = held.store
    try:
        _check_names(streams, store.about.streams)
        if forget:
            _forget(held, streams)
            streams = ()
        known = _known(store, streams)
    finally:
        held.close()
    return KnownStreams(destination, str(store.file.path), store.file.path.stat().st_size, known)


def _check_names(streams: Collection[str], known: Collection[str]) -> None:
    for stream in streams:
        if stream not in known:
            hint = did_you_mean(stream, sorted(known)) or "; it knows none"
            raise InputError(f"The snapshot knows no stream {stream!r}{hint}")


def _forget(held: HeldStore, streams: Collection[str]) -> None:
    for stream in streams:
        try:
            held.take(stream)
        except StreamInUseError:
            raise InputError(
                f"Stream {stream!r} is being loaded. Nothing was forgotten; try again after that load."
            ) from None
    kinds = {stream: held.store.about.streams[stream].kind for stream in streams}
    for stream, kind in kinds.items():
        held.store.forget(stream)
        logger.info("Stream %s is forgotten: the next load sends all of it", stream)
        if kind == "events":
            logger.warning("Stream %s: events that are sent again may be in Fullstory twice", stream)


def _known(store: Store, only: Collection[str]) -> list[KnownStream]:
    """What is known of some streams, or of all."""
    return [
        KnownStream(name, facts.kind, facts.rows, facts.since or None, facts.loaded or None)
        for name, facts in sorted(store.about.streams.items())
        if not only or name in only
    ]


def _shown(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB" if size >= 1_000_000 else f"{size / 1000:,.0f} kB"


def _table(known: list[KnownStream]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stream", "kind", "records", "since", "last load"):
        table.add_column(name, justify="right" if name == "records" else "left", overflow="fold")
    for one in known:
        times = ((time or "")[:19].replace("T", " ") for time in (one.since, one.loaded))
        # As text: a stream's name may look like markup.
        table.add_row(Text(one.stream), one.kind, f"{one.records:,}", *times)
    return table
