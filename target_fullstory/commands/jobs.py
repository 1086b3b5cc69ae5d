"""The command `jobs`: how the batch jobs of a load stand now."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import compress
from typing import Any, Literal

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from target_fullstory.api.job_polling import (
    COMPLETED,
    FAILED,
    UNKNOWN,
    JobStatus,
    PolledJob,
    poll_intervals,
)
from target_fullstory.commands.command_client import api_client
from target_fullstory.commands.config_option import config_option, read_settings
from target_fullstory.commands.output_format import format_option, print_json, print_table
from target_fullstory.commands.saved_block import read_block
from target_fullstory.errors import InputError
from target_fullstory.logs import logger
from target_fullstory.settings.model import Settings

_ALL_COMPLETED, _SOME_FAILED, _SOME_IN_PROGRESS = 0, 1, 3
_NUMBERS = {"records", "imports", "errors"}
_STYLES = {COMPLETED: "green", FAILED: "red", UNKNOWN: "red", "PROCESSING": "yellow"}


class Job(msgspec.Struct, kw_only=True):
    """A batch job as a block lists it, brought up to date; times are ISO 8601 in UTC."""

    id: str
    kind: Literal["users", "events"]
    stream: str = ""
    status: str = "PROCESSING"
    records: int = 0
    imports: int = 0
    errors: int = 0
    created: str = ""
    finished: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it, as far as is known."""
        return self.status in {COMPLETED, FAILED, UNKNOWN}

    @property
    def failed(self) -> bool:
        """Whether it cannot count as done: an item was refused, or Fullstory does not know it."""
        return self.ended and (self.status != COMPLETED or self.errors > 0)

    def take(self, now: JobStatus) -> None:
        """Bring it up to date; what Fullstory does not tell stays."""
        self.status = now.status
        self.imports = self.imports if now.imports is None else now.imports
        self.errors = self.errors if now.errors is None else now.errors
        self.created = now.created or self.created
        self.finished = now.finished or self.finished


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
@format_option("jobs")
def jobs_command(
    config_paths: tuple[str, ...],
    state_path: str | None,
    wait: bool,
    timeout: float | None,
    form: str,
) -> int:
    """Print the batch jobs of a load with their status now.

    Exit code 0: all are completed; 1: some failed or are unknown to Fullstory, or an error; 3: none failed,
    some are still in progress.
    """
    settings = read_settings(config_paths)
    block = read_block(state_path, settings)
    jobs = _jobs_of(block)
    if jobs:
        limit = settings.job_timeout_seconds if timeout is None else timeout
        with api_client(settings, patience=limit if wait else 0) as client:
            polled = [(job, PolledJob(client, job.kind, job.id)) for job in jobs]
            if wait:
                _follow(settings, polled, limit)
            else:
                _look(settings, polled)
    else:
        logger.info("The load sent no batch jobs: single requests only, or nothing")
    if form == "json":
        print_json({"run_id": str(block.get("run_id", "")), "jobs": jobs})
    else:
        print_table(_table(jobs))
    if any(job.failed for job in jobs):
        return _SOME_FAILED
    return _ALL_COMPLETED if all(job.ended for job in jobs) else _SOME_IN_PROGRESS


def _jobs_of(block: dict[str, Any]) -> list[Job]:
    try:
        return msgspec.convert(block["jobs"], list[Job])
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise InputError(
            f"The list of jobs is not one of this target: {reason} (jobs{path.rstrip('`')})."
        ) from None


_Polled = list[tuple[Job, PolledJob]]


def _look(settings: Settings, polled: _Polled) -> list[bool]:
    """Bring jobs up to date, several at a time; returns which of them are over."""
    with ThreadPoolExecutor(settings.concurrency) as threads:
        found = list(threads.map(lambda pair: pair[1].look(), polled))
    for (job, _), status in zip(polled, found, strict=True):
        job.take(status)
    return [status.over for status in found]


def _follow(settings: Settings, polled: _Polled, limit: float) -> None:
    """Look again and again until all jobs are over, or so many seconds are."""
    end = time.monotonic() + limit
    with _waiting(len(polled)) as show:
        for interval in poll_intervals(settings.job_poll_interval_seconds):
            over = _look(settings, polled)
            show([job for job, _ in compress(polled, over)])
            polled = [pair for pair, ended in zip(polled, over, strict=True) if not ended]
            seconds = end - time.monotonic()
            if not polled:
                return
            if seconds <= 0:
                break
            time.sleep(min(interval, seconds))
    logger.warning("%d jobs have not ended after %g s (--timeout)", len(polled), limit)


def _table(jobs: list[Job]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in Job.__struct_fields__:
        number = name in _NUMBERS
        table.add_column(
            name, justify="right" if number else "left", overflow="fold", no_wrap=number
        )
    for job in jobs:
        # As text: a stream's name may look like markup.
        cells = {
            name: Text("" if value is None else str(value))
            for name, value in msgspec.structs.asdict(job).items()
        }
        cells["status"].stylize(_STYLES.get(job.status, ""))
        table.add_row(*cells.values())
    return table


@contextmanager
def _waiting(total: int) -> Iterator[Callable[[list[Job]], None]]:
    """Show on stderr how many jobs have ended: a bar on a terminal, log lines elsewhere.

    Yields:
        Takes the jobs that have just ended.
    """
    if not sys.stderr.isatty():
        ended = 0

        def log(jobs: list[Job]) -> None:
            nonlocal ended
            for job in jobs:
                ended += 1
                logger.info(
                    "Job %s (%s): %s; %d of %d jobs have ended",
                    *(job.id, job.kind, job.status, ended, total),
                )

        yield log
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    with bar:
        task = bar.add_task("Waiting for jobs", total=total)
        yield lambda jobs: bar.advance(task, len(jobs))
