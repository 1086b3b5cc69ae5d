"""The command `sandbox`."""

from __future__ import annotations

import sqlite3
from typing import get_args

import click

from target_fullstory.sandbox.options import Role, SandboxOptions
from target_fullstory.sandbox.rules.refusals import SandboxNotInstalledError
from target_fullstory.sandbox.server import serve

_DEFAULTS = SandboxOptions()


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 for a free one.",
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False),
    help="SQLite file that holds the state; in memory without.",
)
@click.option(
    "--job-seconds",
    type=click.FloatRange(0),
    default=_DEFAULTS.job_seconds,
    show_default=True,
    help="How long a batch job takes.",
)
@click.option(
    "--rate-limit",
    type=click.FloatRange(0, min_open=True),
    help="Requests per second; no limit without.",
)
@click.option(
    "--fail-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the calls that meet an injected fault.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Makes faults repeatable.")
@click.option("--api-key", help="The only key accepted; any key without.")
@click.option(
    "--role",
    type=click.Choice(get_args(Role), case_sensitive=False),
    default=_DEFAULTS.role,
    show_default=True,
    help="Role of the key.",
)
@click.option(
    "--max-body-bytes",
    type=click.IntRange(1),
    default=_DEFAULTS.max_body_bytes,
    show_default=True,
    help="A longer request is answered with 413.",
)
@click.option("--shuffle-jobs", is_flag=True, help="Let jobs in progress finish in any order.")
def sandbox_command(
    host: str,
    port: int,
    db: str | None,
    job_seconds: float,
    rate_limit: float | None,
    fail_rate: float,
    seed: int,
    api_key: str | None,
    role: Role,
    max_body_bytes: int,
    shuffle_jobs: bool,
) -> None:
    """Run a local Fullstory Server API until interrupted."""
    options = SandboxOptions(
        db=db,
        job_seconds=job_seconds,
        rate_limit=rate_limit,
        fail_rate=fail_rate,
        seed=seed,
        api_key=api_key,
        role=role,
        max_body_bytes=max_body_bytes,
        shuffle_jobs=shuffle_jobs,
    )
    try:
        serve(options, host, port, ready=_announce)
    except (SandboxNotInstalledError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{db}: {error}") from error


def _announce(url: str) -> None:
    # click.echo flushes: whoever started this may be waiting for the line.
    click.echo(f"Fullstory Server API sandbox at {url}")
