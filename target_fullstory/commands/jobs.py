"""The command `jobs`: finds the block that a load has left, and prints the status of its batch jobs."""

from __future__ import annotations

import sys
import time
from codecs import BOM_UTF8
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click
import msgspec
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from target_fullstory.accounting.ledger import JobEntry
from target_fullstory.api.job_polling import COMPLETED, FAILED, UNKNOWN, PolledJob, adds_up, poll_intervals
from target_fullstory.api.responses import json_object
from target_fullstory.commands.shared_options import (
    api_client,
    config_option,
    format_option,
    print_as,
    read_settings,
)
from target_fullstory.errors import InputError
from target_fullstory.input.progress import progress_bar
from target_fullstory.logs import logger, stderr_is_terminal
from target_fullstory.settings.model import Settings

_ALL_COMPLETED, _SOME_FAILED, _SOME_IN_PROGRESS = 0, 1, 3
_NUMBERS = {"records", "imports", "errors"}
_ONLY_WHERE_WIDE, _WIDTH_OF_ALL = {"kind", "created", "finished"}, 160
_STYLES = {COMPLETED: "green", FAILED: "red", UNKNOWN: "red", "PROCESSING": "yellow"}


@click.command("jobs")
@config_option
@click.option(
    "--state",
    "state_path",
    metavar="FILE|-",
    help="A STATE, what `meltano state get` prints, or a run report; - for standard input. "
    "Without: the latest run report in output_dir.",
)
@click.option("--wait", is_flag=True, help="Wait until all jobs have ended.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    help="Seconds to wait at most; without, the setting job_timeout_seconds.",
)
@format_option
def jobs_command(
    config_paths: tuple[str, ...], state_path: str | None, wait: bool, timeout: float | None, form: str
) -> int:
    """Print the batch jobs of a load with their status now, and the earlier ones whose end it did not learn.

    Exit code 0: all are completed; 1: some failed, are unknown to Fullstory or have figures that do not add
    up, or an error; 3: none of these, some are still in progress.
    """
    settings = read_settings(config_paths)
    block = read_block(state_path, settings)
    jobs = _jobs_of(block)
    if jobs:
        limit = settings.job_timeout_seconds if timeout is None else timeout
        with api_client(settings, retry_seconds=limit if wait else 0) as client:
            polled = [PolledJob(client, job) for job in jobs]
            if wait:
                _follow(polled, settings, limit)
            else:
                _look(polled, settings)
    else:
        logger.info("The load sent no batch jobs: single requests only, or nothing")
    print_as(form, {"run_id": str(block.get("run_id", "")), "jobs": jobs}, _table(jobs))
    ended = [job for job in jobs if job.status in {COMPLETED, FAILED, UNKNOWN}]
    for job in ended:
        if job.status != UNKNOWN and not adds_up(job):
            text = "Job %s is %s with %d imports and %d errors, which are not its %d records"
            logger.warning(text, job.id, job.status, job.imports, job.errors, job.records)
    if any(job.status != COMPLETED or job.errors or not adds_up(job) for job in ended):
        return _SOME_FAILED
    return _ALL_COMPLETED if len(ended) == len(jobs) else _SOME_IN_PROGRESS


def read_block(path: str | None, settings: Settings) -> dict[str, Any]:
    """The block in a file, in standard input (`-`), or in the latest run report in `output_dir` (None).

    Understood are a STATE's value, a STATE message, the lines that a target prints (the last one counts),
    what `meltano state get` prints, and a run report.
    """
    if path == "-":
        return _find(sys.stdin.buffer.read(), "standard input", settings.state_key)
    file = _latest_report(settings.output_dir) if path is None else Path(path)
    return _find(file.read_bytes(), path or str(file), settings.state_key)


def _latest_report(output_dir: str) -> Path:
    # A run's id begins with the time of its start; within a second the file's own time decides.
    found = [
        (path.name.split("-")[1], path.stat().st_mtime, path)
        for path in Path(output_dir).glob("run-*-*.json")
    ]
    if not found:
        raise InputError(
            f"There is no run report in {output_dir} (output_dir). Load something first, or give a STATE "
            "with --state."
        )
    latest_first = [path for *_, path in sorted(found, reverse=True)]
    # The report of a run that is under way, or was killed, has but the first of its jobs.
    return next(filter(_is_of_finished_run, latest_first), latest_first[0])


def _is_of_finished_run(report: Path) -> bool:
    document = json_object(report.read_bytes()) if report.is_file() else None
    return (document or {}).get("finished_at", "") is not None


def _find(content: bytes, name: str, state_key: str | None) -> dict[str, Any]:
    # Editors and shells on Windows begin a file so.
    content = content.removeprefix(BOM_UTF8).strip()
    if not content:
        raise InputError(f"What {name} holds is empty: the load wrote no STATE, or it was not saved.")
    document = json_object(content) or json_object(content.splitlines()[-1])
    if document is None:
        raise InputError(
            f"What {name} holds is not a STATE: neither JSON nor lines of it. Give what a load prints, "
            "or what `meltano state get` does."
        )
    if document.get("type") == "STATE" and isinstance(document.get("value"), dict):
        document = document["value"]
    if isinstance(document.get("singer_state"), dict):
        document = document["singer_state"]
    block = document.get(state_key) if state_key is not None else None
    block = document if block is None else block
    if not isinstance(block, dict) or not isinstance(block.get("jobs"), list):
        key = "state_key is not set" if state_key is None else f"state_key {state_key!r}"
        raise InputError(
            f"What {name} holds has no block of this target ({key}). Check the setting state_key, and "
            "that the load was this target's."
        )
    return block


def _jobs_of(block: dict[str, Any]) -> list[JobEntry]:
    jobs = []
    for key in ("jobs", "unfinished_jobs"):
        try:
            jobs += msgspec.convert(block.get(key) or [], list[JobEntry])
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            raise InputError(
                f"The list of jobs is not one of this target: {reason} ({key}{path.rstrip('`')})."
            ) from None
    return jobs


def _look(polled: list[PolledJob], settings: Settings) -> list[PolledJob]:
    """Poll jobs once, several at a time; returns those that are over."""
    with ThreadPoolExecutor(settings.concurrency) as threads:
        return list(compress(polled, threads.map(PolledJob.look, polled)))


def _follow(polled: list[PolledJob], settings: Settings, limit: float) -> None:
    """Poll until all jobs have ended, or the limit in seconds is over; show how many have ended."""
    end = time.monotonic() + limit
    total, ended, left = len(polled), 0, polled
    with progress_bar("Waiting for jobs", total, in_bytes=False) as advance:
        for interval in poll_intervals(settings.job_poll_interval_seconds):
            over = _look(left, settings)
            left = [job for job in left if job not in over]
            for entry in (job.entry for job in over):
                ended += 1
                if advance:
                    advance(1)
                if not stderr_is_terminal():
                    logger.info(
                        "Job %s (%s): %s; %d of %d jobs have ended",
                        *(entry.id, entry.kind, entry.status, ended, total),
                    )
            seconds = end - time.monotonic()
            if not left:
                return
            if seconds <= 0:
                break
            time.sleep(min(interval, seconds))
    logger.warning("%d jobs have not ended after %g s (--timeout)", len(left), limit)


def _table(jobs: list[JobEntry]) -> Table:
    """As many columns as the terminal takes uncut."""
    narrow = sys.stdout.isatty() and get_terminal_size().columns < _WIDTH_OF_ALL
    names = [name for name in JobEntry.__struct_fields__ if not narrow or name not in _ONLY_WHERE_WIDE]
    table = Table(box=None, pad_edge=False)
    for name in names:
        justify: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "stream")
    for job in jobs:
        # As text: a stream's name may look like markup.
        cells = {
            name: Text("" if value is None else str(value))
            for name, value in msgspec.structs.asdict(job).items()
        }
        cells["status"].stylize(_STYLES.get(job.status, ""))
        table.add_row(*(cells[name] for name in names))
    return table
