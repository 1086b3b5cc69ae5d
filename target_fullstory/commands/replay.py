"""The command `replay`: sends rejected records again."""

from __future__ import annotations

from pathlib import Path

import click

from target_fullstory.commands.config_option import config_option, read_config
from target_fullstory.commands.reject_entries import digest_of, read_entries
from target_fullstory.commands.replay_streams import ReplayStreams, send
from target_fullstory.errors import DeliveryError
from target_fullstory.input.progress import bytes_bar
from target_fullstory.logs import logger
from target_fullstory.target import TargetFullstory


@click.command("replay")
@config_option
@click.option(
    "--schema",
    "schema_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Singer messages whose SCHEMAs are used, such as a tap's output. Without: the SCHEMAs that the load "
    "kept beside its rejects file, in schemas-<run id>.jsonl.",
)
@click.argument("rejects", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def replay_command(
    config_paths: tuple[str, ...], schema_files: tuple[str, ...], rejects: tuple[str, ...]
) -> None:
    """Send the records of rejects files again, in the order of the files.

    A record is mapped again, by the mapping as it is now; where only its request is in the file, that is sent
    as it is. The files are not changed; what is refused again is in a new rejects file. Exit codes as for a
    load; 1 also where it was stopped before the end.
    """
    # A load's keys would bring back the answers that it got.
    target = TargetFullstory(config=read_config(config_paths), key_salt=digest_of(rejects))
    streams = ReplayStreams(target.settings)
    total = 0
    for entry, _ in read_entries(rejects):
        streams.check(entry)
        total += 1
    if not total:
        logger.info("There is nothing to send again: the files hold no records")
        return
    size = sum(Path(path).stat().st_size for path in rejects)
    with target.ending_in_order(), bytes_bar("Sending again", size) as advance:
        streams.open(target, [*_kept_beside(rejects), *schema_files])
        for entry, length in read_entries(rejects):
            send(target, entry)
            advance(length)
            target.run.tick()
            if target.run.interrupted:
                break
    target.process_endofpipe()
    ended = target.run.ledger.totals().ended
    if ended < total:
        raise DeliveryError(
            f"Stopped after {ended} of {total} records. Start the same replay again, from the first."
        )


def _kept_beside(rejects: tuple[str, ...]) -> list[str]:
    """The SCHEMAs that the loads have kept beside their rejects files."""
    kept = [
        Path(path).with_name(f"schemas-{Path(path).name.removeprefix('rejects-')}")
        for path in rejects
    ]
    return [str(path) for path in kept if path.exists()]
