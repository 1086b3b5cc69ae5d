"""The command `plan`: what the following load of the same input would do, to the record."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import click
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text

from target_fullstory.api.client import Client
from target_fullstory.api.key_account import KeyAccount, briefly
from target_fullstory.commands.plan_figures import PlannedRequests, duration
from target_fullstory.commands.recorded_load import RecordedLoad, Recorder, input_option
from target_fullstory.commands.shared_options import config_option, format_option, print_as, read_config
from target_fullstory.logs import counted
from target_fullstory.settings.model import Settings

if TYPE_CHECKING:
    from target_fullstory.snapshot.snapshot import Snapshot

_COUNTS = (
    *("received", "new", "changed", "unchanged", "vanished", "rejected", "merged", "ignored", "sent"),
    *("requests", "jobs"),
)
_ALWAYS_SHOWN, _WIDTH_OF_ALL = {"received", "sent"}, 132


@click.command("plan")
@config_option
@input_option
@click.option(
    "--job-seconds",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=(60.0, 600.0),
    show_default=True,
    help="How long Fullstory takes for a batch job, which it does not promise; several are told one by one.",
)
@format_option
def plan_command(
    config_paths: tuple[str, ...], file_input: IO[str] | None, job_seconds: tuple[float, ...], form: str
) -> int:
    """Print what a load of the same input would send, and how long its batch jobs would take.

    Nothing is sent and no file is left. Streams with `sync: changed` or `mirror` are held against a copy of
    the snapshot, for which GET /me tells whose the key is. Where a limit of vanished or changed users would
    stop the load, the plan has an id, which the load's `--approve` takes.

    Exit code 0; 1 if a record would be rejected, or on an error.
    """
    planned: PlannedRequests

    def make_recorder(settings: Settings) -> Recorder:
        nonlocal planned
        planned = PlannedRequests(settings)
        return Recorder(settings, "plan", planned.take_batch)

    with TemporaryDirectory(prefix="target-fullstory-", ignore_cleanup_errors=True) as directory:
        target = RecordedLoad(
            read_config(config_paths), make_recorder, lambda _: _scratch(settings, Path(directory))
        )
        settings = target.settings
        # What a run notes beside its snapshot goes there, too.
        target.settings = replace(settings, output_dir=directory)
        target.listen(file_input)
    if target.run.interrupted:
        # Not all is read.
        raise click.Abort
    document = _document(target, planned, job_seconds)
    print_as(form, document, _table(document["streams"]))
    for line in _lines(document) if form == "table" else ():
        click.echo(line)
    return int(any(counts["rejected"] for counts in document["streams"].values()))


def _scratch(settings: Settings, directory: Path) -> Snapshot | None:
    """What was sent before, in a copy; None where every record is sent."""
    if all(spec.sync == "all" for spec in settings.streams.values()):
        return None
    # Imported here: other plans do without.
    from target_fullstory.sending.left_batches import expect_left_batches  # noqa: PLC0415
    from target_fullstory.snapshot.scratch_snapshot import open_scratch  # noqa: PLC0415

    # The sandbox is not asked, nor started.
    account = KeyAccount(settings, Client(briefly(settings), settings.api_url))
    snapshot = open_scratch(settings, account.certain_destination(), directory)
    expect_left_batches(settings, account, snapshot, directory)
    return snapshot


def _document(
    target: RecordedLoad, planned: PlannedRequests, job_seconds: tuple[float, ...]
) -> dict[str, Any]:
    run, settings, snapshot = target.run, target.settings, target.run.snapshot
    limits = snapshot.limits if snapshot else None
    known = snapshot.figures() if snapshot else {}
    vanished = limits.vanished if limits else {}
    streams = {}
    for name, counts in run.ledger.streams(final=True).items():
        requests = planned.streams[name]
        figures = {
            **dict.fromkeys(_COUNTS),
            **known.get(name, {}),
            "vanished": vanished[name].users.count if name in vanished else None,
            **counts,
            "sent": counts["delivered"],
            "requests": requests.requests,
            "jobs": requests.jobs,
        }
        streams[name] = {"kind": counts["kind"], **{column: figures[column] for column in _COUNTS}}
    events = [counts["sent"] for counts in streams.values() if counts["kind"] == "events"]
    return {
        "plan_id": limits.plan_id if limits else None,
        "beyond": [
            {
                "stream": one.stream,
                "setting": f"max_{one.change}_percent",
                "percent": one.percent,
                "known": one.known,
                one.change: one.users.count,
            }
            for one in (limits.beyond if limits else ())
        ],
        "streams": streams,
        "reasons": run.rejects.reasons.listed(),
        "events": {"sent": sum(events), "max_events": settings.max_events},
        "requests": sum(counts["requests"] for counts in streams.values()),
        "jobs": sum(counts["jobs"] for counts in streams.values()),
        "rounds": planned.rounds,
        "seconds": [{"job": each, "all": each * planned.rounds} for each in job_seconds],
    }


def _table(streams: dict[str, dict[str, Any]]) -> Table:
    """As many columns as a terminal takes uncut: on a narrow one those that count something."""
    narrow = sys.stdout.isatty() and get_terminal_size().columns < _WIDTH_OF_ALL
    shown = [
        name
        for name in _COUNTS
        if not narrow or name in _ALWAYS_SHOWN or any(counts[name] for counts in streams.values())
    ]
    table = Table(box=None, pad_edge=False, collapse_padding=narrow)
    table.add_column("stream", overflow="fold")
    if not narrow:
        table.add_column("kind")
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for stream, counts in streams.items():
        cells = ("-" if counts[name] is None else f"{counts[name]:,}" for name in shown)
        # As text: a stream's name may look like markup.
        table.add_row(Text(stream), *([] if narrow else [counts["kind"]]), *cells)
    return table


def _lines(document: dict[str, Any]) -> Iterator[str]:
    """What is printed below the table."""
    yield ""
    if not document["streams"]:
        yield "The input has no stream: nothing would be sent."
        return
    kinds = (("requests", "single request"), ("jobs", "batch job"))
    sent = [counted(document[name], noun) for name, noun in kinds if document[name]]
    yield f"A load would send {' and '.join(sent) or 'nothing'}."
    if rounds := document["rounds"]:
        times = [f"{duration(one['all'])} at {duration(one['job'])} a job" for one in document["seconds"]]
        yield (
            f"The jobs take {counted(rounds, 'round')}, by the limits of jobs and operations in progress: "
            f"{', '.join(times)}."
        )
    events = document["events"]
    if events["max_events"] is not None:
        yield f"Events: {events['sent']:,} of {events['max_events']:,} (max_events)."
    for reason in document["reasons"]:
        column = f", column {reason['column']}" if "column" in reason else ""
        yield f"Rejected of {reason['stream']}: {reason['count']:,} for {reason['code']}{column}."
    for one in document["beyond"]:
        change = one["setting"].split("_")[1]
        yield (
            f"Stream {one['stream']}: {one[change]:,} of {one['known']:,} known users {change}, more than "
            f"{one['setting']} ({one['percent']:g}) allows. A load would stop."
        )
    if plan_id := document["plan_id"]:
        yield f"To let a load of the same input do this: --approve {plan_id}"
