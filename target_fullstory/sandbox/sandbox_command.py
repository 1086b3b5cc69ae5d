"""The command `sandbox`."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import Any, get_args

import click

from target_fullstory.sandbox.sandbox_options import Role, SandboxOptions
from target_fullstory.sandbox.server import SandboxNotInstalledError, serve

_SETTINGS = {"show_default": True, "default_map": asdict(SandboxOptions())}


@click.command("sandbox", context_settings=_SETTINGS)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="Port to listen on; 0 for a free one."
)
@click.option(
    "--db", type=click.Path(dir_okay=False), help="SQLite file that holds the state; in memory without."
)
@click.option("--job-seconds", type=click.FloatRange(0), help="How long a batch job takes.")
@click.option(
    "--rate-limit", type=click.FloatRange(0, min_open=True), help="Requests per second; no limit without."
)
@click.option(
    "--fail-rate", type=click.FloatRange(0, 1), help="Share of the calls that meet an injected fault."
)
@click.option("--seed", type=int, help="Makes faults repeatable.")
@click.option("--api-key", help="The only key accepted; any key without.")
@click.option("--role", type=click.Choice(get_args(Role), case_sensitive=False), help="Role of the key.")
@click.option("--max-body-bytes", type=click.IntRange(1), help="A longer request is answered with 413.")
@click.option("--shuffle-jobs", is_flag=True, help="Let jobs in progress finish in any order.")
def sandbox_command(host: str, port: int, **options: Any) -> None:
    """Run a local Fullstory Server API until interrupted."""
    try:
        serve(SandboxOptions(**options), host, port, ready=_announce)
    except (SandboxNotInstalledError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except sqlite3.Error as error:
        raise click.ClickException(f"{options['db']}: {error}") from error


def _announce(url: str) -> None:
    # click.echo flushes: whoever started this may be waiting for the line.
    click.echo(f"Fullstory Server API sandbox at {url}")
