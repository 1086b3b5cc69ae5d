"""The command `check`: whose the API key is, and whether its role allows what the mapping needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import click
import msgspec
from rich.table import Table
from rich.text import Text

from target_fullstory.api.roles import (
    JOB_READERS,
    ROLES,
    Account,
    allows,
    may_read_jobs,
    roles_named,
    who_am_i,
)
from target_fullstory.commands.command_client import api_client
from target_fullstory.commands.config_option import config_option, read_settings
from target_fullstory.commands.output_format import format_option, print_json, print_table
from target_fullstory.commands.sample_requests import send_samples
from target_fullstory.logs import logger
from target_fullstory.settings.model import Settings

Verdict = Literal["ok", "failed", "unknown", "skipped"]
_STYLES: dict[str, str] = {"ok": "green", "failed": "red", "unknown": "yellow"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        subject: What it is about, such as `stream customers`.
        verdict: `failed` makes the exit code 1.
        told: The finding in a sentence.
    """

    subject: str
    verdict: Verdict
    told: str


@click.command("check")
@config_option
@click.option(
    "--send-test",
    is_flag=True,
    help="Send one sample per mapped kind: the test user target-fullstory-check and one event of it.",
)
@format_option("findings")
def check_command(config_paths: tuple[str, ...], send_test: bool, form: str) -> int:
    """Ask Fullstory whose the API key is, and whether its role allows what is mapped.

    Exit code 0: nothing speaks against a load; 1: the role does not allow something, a sample was refused, or
    an error.
    """
    settings = read_settings(config_paths)
    with api_client(settings) as client:
        account = who_am_i(client)
        findings = [*_roles(settings, account.role), *_jobs(settings, account.role)]
        if send_test:
            findings += [
                Finding(f"sample {kind}", verdict, told)
                for kind, verdict, told in send_samples(client, _kinds(settings), account.role)
            ]
    if form == "json":
        print_json({**msgspec.to_builtins(account), "findings": findings})
    else:
        print_table(_table(account, findings))
    failed = [finding for finding in findings if finding.verdict == "failed"]
    for finding in failed:
        logger.error("%s: %s", finding.subject, finding.told)
    return int(bool(failed))


def _mapped(settings: Settings) -> dict[str, str]:
    """What is mapped: a subject and its kind."""
    if not settings.streams:
        return {f"stream {kind} (if the tap has one)": kind for kind in ("users", "events")}
    mapped: dict[str, str] = {}
    for name, spec in settings.streams.items():
        mapped[f"stream {name}"] = spec.kind
        if spec.kind == "users" and settings.hard_delete:
            mapped[f"stream {name} (hard_delete)"] = "user_deletions"
    return mapped


def _kinds(settings: Settings) -> list[str]:
    return list(dict.fromkeys(_mapped(settings).values()))


def _roles(settings: Settings, role: str) -> Iterator[Finding]:
    for subject, kind in _mapped(settings).items():
        verdict = allows(role, kind)
        needed = f"{kind} takes a key of the role {roles_named(ROLES[kind])}"
        if verdict is None:
            doubt = "what a request takes depends on the call" if kind == "request" else needed
            yield Finding(subject, "unknown", f"cannot be told from the role {role}: {doubt}")
        elif verdict:
            yield Finding(subject, "ok", f"the role {role} may send {kind}")
        else:
            yield Finding(subject, "failed", f"{needed}; this one is {role}")


def _jobs(settings: Settings, role: str) -> Iterator[Finding]:
    """Whether batch jobs can be followed, where the settings ask for that."""
    batched = {"users", "events"}.intersection(_kinds(settings))
    if not batched or settings.delivery == "single":
        return
    verdict = may_read_jobs(role)
    needed = f"following batch jobs takes a key of the role {roles_named(JOB_READERS)}"
    if verdict is None:
        yield Finding("batch jobs", "unknown", f"cannot be told from the role {role}: {needed}")
    elif verdict:
        yield Finding("batch jobs", "ok", f"the role {role} may follow them to their end")
    elif not settings.wait_for_jobs:
        yield Finding(
            "batch jobs",
            "unknown",
            f"{needed}; this one is {role}. wait_for_jobs is false, so a load needs it only where later "
            "records wait for a job: an update of the same user, an event after users",
        )
    else:
        yield Finding(
            "batch jobs",
            "failed",
            f"{needed}; this one is {role}. Set delivery to single, or wait_for_jobs to false",
        )


def _table(account: Account, findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("organisation", "email", "role"):
        table.add_row(Text(name), Text(""), Text(str(getattr(account, name)) or "not told"))
    for finding in findings:
        style = _STYLES.get(finding.verdict, "")
        table.add_row(Text(finding.subject), Text(finding.verdict, style=style), Text(finding.told))
    return table
