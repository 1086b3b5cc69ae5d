"""The command `snapshot`: shows what is known of each stream, or forgets streams."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

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
from target_fullstory.settings.model import Settings
from target_fullstory.snapshot.open_snapshot import open_snapshot, snapshot_file
from target_fullstory.snapshot.snapshot import Snapshot


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
    path: str
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
    path = snapshot_file(settings, destination)
    found = KnownStreams(destination, str(path))
    with _opened(settings, destination, path) as snapshot:
        _check_names(streams, snapshot.store.about.streams if snapshot else ())
        if snapshot and forget:
            _forget(snapshot, streams)
            streams = ()
        if snapshot:
            found.streams = _known(snapshot, streams)
    if path.exists():
        found.bytes = path.stat().st_size
    records = counted(sum(one.records for one in found.streams), "record")
    of_streams = counted(len(found.streams), "stream")
    logger.info("The snapshot %s has %s, and knows %s of %s", path, _shown(found.bytes), records, of_streams)
    print_as(form, found, _table(found.streams))
    return 0


@contextmanager
def _opened(settings: Settings, destination: Destination, path: Path) -> Iterator[Snapshot | None]:
    """The snapshot of a destination; None where there is none, and none is begun."""
    if not path.exists():
        yield None
        return
    snapshot = open_snapshot(settings, destination)
    try:
        yield snapshot
    finally:
        snapshot.close()


def _check_names(streams: Collection[str], known: Collection[str]) -> None:
    for stream in streams:
        if stream not in known:
            hint = did_you_mean(stream, sorted(known)) or "; it knows none"
            raise InputError(f"The snapshot knows no stream {stream!r}{hint}")


def _forget(snapshot: Snapshot, streams: Collection[str]) -> None:
    kinds = {stream: snapshot.store.about.streams[stream].kind for stream in streams}
    for stream, kind in kinds.items():
        snapshot.store.forget(stream)
        logger.info("Stream %s is forgotten: the next load sends all of it", stream)
        if kind == "events":
            logger.warning("Stream %s: events that are sent again may be in Fullstory twice", stream)


def _known(snapshot: Snapshot, only: Collection[str]) -> list[KnownStream]:
    """What is known of some streams, or of all."""
    return [
        KnownStream(name, facts.kind, facts.rows, facts.since or None, facts.loaded or None)
        for name, facts in sorted(snapshot.store.about.streams.items())
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
