"""The command `jobs`: how the batch jobs of a load stand now."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import quote

import click
import msgspec

from target_fullstory.api.client import Client
from target_fullstory.api.responses import Response
from target_fullstory.commands.command_client import api_client
from target_fullstory.commands.config_option import config_option, read_settings
from target_fullstory.commands.jobs_shown import print_json, print_table, waiting
from target_fullstory.commands.run_block import read_block
from target_fullstory.errors import DeliveryError, InputError
from target_fullstory.logs import logger
from target_fullstory.settings.model import Settings

COMPLETED, FAILED, IN_PROGRESS = 0, 1, 3
"""The exit codes."""

_LONGEST_INTERVAL = 30.0
_INTERVAL_GROWTH = 1.5
_UNKNOWN_AFTER = 5


class Job(msgspec.Struct, kw_only=True):
    """A batch job as a block lists it, brought up to date; times are ISO 8601 in UTC.

    Attributes:
        status: Fullstory's `PROCESSING`, `COMPLETED` or `FAILED`; `UNKNOWN` where Fullstory has no such job.
    """

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
        """Whether nothing more will happen to it."""
        return self.status in {"COMPLETED", "FAILED", "UNKNOWN"}

    @property
    def failed(self) -> bool:
        """Whether it cannot count as done: an item was refused, or Fullstory does not know it."""
        return self.ended and (self.status != "COMPLETED" or self.errors > 0)


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
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the jobs.",
)
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
            if wait:
                _follow(client, settings, jobs, limit)
            else:
                _update(client, settings, jobs)
    else:
        logger.info("The load sent no batch jobs: single requests only, or nothing")
    shown = [msgspec.to_builtins(job) for job in jobs]
    if form == "json":
        print_json(str(block.get("run_id", "")), shown)
    else:
        print_table(shown)
    return _exit_code(jobs)


def _exit_code(jobs: list[Job]) -> int:
    if any(job.failed for job in jobs):
        return FAILED
    return COMPLETED if all(job.ended for job in jobs) else IN_PROGRESS


def _jobs_of(block: dict[str, Any]) -> list[Job]:
    try:
        return msgspec.convert(block["jobs"], list[Job])
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        raise InputError(
            f"The list of jobs is not one of this target: {reason} (jobs{path.rstrip('`')})."
        ) from None


def _update(client: Client, settings: Settings, jobs: list[Job]) -> None:
    """Ask for the status of jobs, several at a time."""
    with ThreadPoolExecutor(settings.concurrency) as threads:
        answers = threads.map(
            lambda job: client.call("GET", f"/v2/{job.kind}/batch/{quote(job.id, safe='')}"), jobs
        )
        for job, answer in zip(jobs, answers, strict=True):
            _take(job, answer)


def _take(job: Job, answer: Response) -> None:
    if answer.status == 404:
        job.status = "UNKNOWN"
        return
    told = answer.data.get("job")
    if not answer.ok or not isinstance(told, dict) or not isinstance(told.get("status"), str):
        raise DeliveryError(
            f"Fullstory does not tell how job {job.id} stands: it answered {answer.status} "
            f"({answer.code if not answer.ok else 'without a status'}). Check the setting api_url."
        )
    job.status = told["status"]
    job.imports = _number(answer.data.get("imports"), job.imports)
    job.errors = _number(answer.data.get("errors"), job.errors)
    job.created = str(told.get("created") or job.created)
    job.finished = str(told["finished"]) if told.get("finished") else job.finished


def _number(value: Any, known: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return known


def _follow(client: Client, settings: Settings, jobs: list[Job], limit: float) -> None:
    """Look again and again until all jobs have ended, or so many seconds are over."""
    end = time.monotonic() + limit
    interval = settings.job_poll_interval_seconds
    left, looks = jobs, 0
    with waiting(len(jobs)) as tell:
        while True:
            _update(client, settings, left)
            looks += 1
            # A job may be unknown for a moment after its creation.
            sure = looks >= _UNKNOWN_AFTER
            ended = [job for job in left if job.ended and (sure or job.status != "UNKNOWN")]
            tell([f"Job {job.id} ({job.kind}): {job.status}" for job in ended])
            left = [job for job in left if job not in ended]
            seconds = end - time.monotonic()
            if not left:
                return
            if seconds <= 0:
                break
            time.sleep(min(interval, seconds))
            interval = min(interval * _INTERVAL_GROWTH, _LONGEST_INTERVAL)
    logger.warning("%d jobs have not ended after %g s (--timeout)", len(left), limit)
