"""The command `rejects`: lists what is unresolved, or gives it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.held_rejects import HeldRejects, different_files
from target_fullstory.accounting.unresolved_rejects import (
    is_unresolved,
    open_file,
    unresolved_entry,
    unresolved_files,
    was_cut_off,
)
from target_fullstory.api.client import Client, with_retry_limit
from target_fullstory.api.key_account import KeyAccount
from target_fullstory.commands.shared_options import config_option, format_option, print_as, read_settings
from target_fullstory.errors import InputError
from target_fullstory.logs import counted, logger
from target_fullstory.settings.addresses import normalized
from target_fullstory.settings.model import SANDBOX, Settings

_ASKING_SECONDS = 2.0


class _Line(msgspec.Struct):
    """A line of a rejects file; what is listed of it."""

    stream: str
    code: str
    stage: str = ""
    column: str | None = None
    at: str | None = None


class UnresolvedReason(msgspec.Struct, kw_only=True):
    """Unresolved rejects of one stream, code, column and stage."""

    stream: str
    code: str
    column: str | None
    stage: str
    count: int = 0
    first: str | None = None  # when the first was rejected, and the last
    last: str | None = None
    example: str  # file and line of the first


_decode = msgspec.json.Decoder(_Line).decode
_UNREADABLE = _Line(stream="", code="unreadable_line")


@click.command("rejects")
@config_option
@click.option("--discard", is_flag=True, help="Give the records of the files up: rename them to ….discarded.")
@format_option
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
def rejects_command(config_paths: tuple[str, ...], discard: bool, form: str, files: tuple[str, ...]) -> int:
    """List the rejected records that were neither replayed nor discarded, by stream, code and column.

    Without FILES: all of the loads to the configured destination, in output_dir. Exit code 0: there are none;
    1: there are, also after others were discarded.
    """
    settings = read_settings(config_paths)
    paths = different_files(files)
    if discard:
        _discard(paths)
    if discard or not paths:
        paths = _unresolved(settings)
    reasons: dict[tuple[str, ...], UnresolvedReason] = {}
    counts = {str(path): count for path in paths if (count := _add_file(reasons, path))}
    unresolved = unresolved_entry(sum(counts.values()), list(counts))
    records, in_files = counted(unresolved["count"], "record"), counted(len(counts), "file")
    logger.info("Unresolved: %s in %s", records, in_files)
    listed = sorted(reasons.values(), key=lambda reason: -reason.count)
    print_as(form, {"unresolved": unresolved, "reasons": listed}, _table(listed))
    return int(bool(listed))


def _unresolved(settings: Settings) -> list[Path]:
    """The files for the configured address, and for the key's organization where it tells that soon."""
    here = Destination(normalized(settings.api_url))
    files = unresolved_files(settings.output_dir, here)
    if not files or settings.api_url == SANDBOX:
        return files
    client = Client(with_retry_limit(settings, _ASKING_SECONDS), settings.api_url)
    account = KeyAccount(settings, client)
    account.ask()
    account.wait()
    return unresolved_files(settings.output_dir, account.destination())


def _discard(paths: list[Path]) -> None:
    if not paths:
        raise InputError("--discard takes the files to give up: rejects --discard FILE…")
    for path in paths:
        if not is_unresolved(path):
            raise InputError(f"{path} is no unresolved rejects file (rejects-….jsonl). Nothing was renamed.")
    for path in paths:
        HeldRejects(path).close()  # before the first is renamed
    for path in paths:
        file = HeldRejects(path)
        if new := file.set_aside("discarded"):
            logger.info("Discarded: %s is %s now", path, new)
        else:
            logger.warning("%s has changed and keeps its name: a load may be writing it", path)
        file.close()


def _lines(path: Path) -> Iterator[tuple[str, _Line]]:
    """The rejects in a file, each with its place."""
    try:
        with open_file(path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip() or was_cut_off(line):
                    continue
                entry = _UNREADABLE
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    entry = _decode(line)
                yield f"{path}:{number}", entry
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        yield str(path), _Line(stream="", code="unreadable_file")


def _add_file(reasons: dict[tuple[str, ...], UnresolvedReason], path: Path) -> int:
    """Count a file's rejects by their reasons; returns how many there are."""
    count = 0
    for place, line in _lines(path):
        count += 1
        key = (line.stream, line.code, line.column or "", line.stage)
        reason = reasons.get(key)
        if reason is None:
            reason = reasons[key] = UnresolvedReason(
                stream=line.stream,
                code=line.code,
                column=line.column,
                stage=line.stage,
                first=line.at,
                example=place,
            )
        reason.count += 1
        reason.last = line.at
    return count


def _table(reasons: list[UnresolvedReason]) -> Table:
    """Each reason on lines of its own, which a terminal of 80 columns takes uncut."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for reason in reasons:
        column = f", column {reason.column}" if reason.column else ""
        first, last = (f"{at or 'unknown':.19}".replace("T", " ") for at in (reason.first, reason.last))
        when = first if first == last else f"{first} to {last}"
        # As text: a stream's name may look like markup.
        table.add_row(str(reason.count), Text(f"{reason.stream}: {reason.code}{column} ({reason.stage})"))
        table.add_row("", Text(f"{when}, for example\n{reason.example}", style="dim"))
    return table
