"""The command `check`: whose the API key is, and whether its role allows what the mapping needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import click
import msgspec
from rich.table import Table
from rich.text import Text

from target_fullstory.accounting.repeated_uids import found_before
from target_fullstory.api.client import Client
from target_fullstory.api.key_account import Account, who_am_i
from target_fullstory.api.roles import JOB_READERS, allows, may_read_jobs, role_names
from target_fullstory.commands.shared_options import (
    api_client,
    config_option,
    format_option,
    print_as,
    read_settings,
)
from target_fullstory.errors import DeliveryError
from target_fullstory.kinds import KINDS
from target_fullstory.logs import logger
from target_fullstory.mapping import CONSTANT_UID, constant_uid
from target_fullstory.settings.model import Settings

Verdict = Literal["ok", "failed", "unknown", "skipped", "warning"]
_STYLES: dict[str, str] = {"ok": "green", "failed": "red", "unknown": "yellow", "warning": "yellow"}

_TEST_NAME = "target-fullstory-check"  # the test user's uid, and the test event's name
_SAMPLES = {
    "users": {"uid": _TEST_NAME, "display_name": "Test of target-fullstory"},
    "events": {"name": _TEST_NAME, "user": {"uid": _TEST_NAME}},
}
_NOT_SENT = {
    "webhook_endpoints": "not sent: an endpoint would be subscribed to your events",
    "request": "not sent: what a call does is not known here; `preview` shows the calls",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at, such as `stream customers`, and the finding in a sentence."""

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
@format_option
def check_command(config_paths: tuple[str, ...], send_test: bool, form: str) -> int:
    """Ask Fullstory whose the API key is, and whether its role allows what is mapped.

    Exit code 0: nothing speaks against a load; 1: the role does not allow something, a sample was refused, or
    an error.
    """
    settings = read_settings(config_paths)
    if advice := settings.advice_on_data_center:
        logger.info(advice)
    with api_client(settings) as client:
        account = who_am_i(client)
        findings = [*_roles(settings, account.role), *_jobs(settings, account.role), *_uids(settings)]
        if send_test:
            findings += _samples(client, list(dict.fromkeys(_mapped(settings).values())), account.role)
    print_as(form, {**msgspec.to_builtins(account), "findings": findings}, _table(account, findings))
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
        if spec.vanished == "delete":
            mapped[f"stream {name} (vanished)"] = "user_deletions"
    return mapped


def _roles(settings: Settings, role: str) -> Iterator[Finding]:
    for subject, kind in _mapped(settings).items():
        verdict = allows(role, kind)
        needed = f"{kind} takes a key of the role {role_names(KINDS[kind].roles)}"
        if verdict is None:
            doubt = "what a request takes depends on the call" if kind == "request" else needed
            yield Finding(subject, "unknown", f"cannot be told from the role {role}: {doubt}")
        elif verdict:
            yield Finding(subject, "ok", f"the role {role} may send {kind}")
        else:
            yield Finding(subject, "failed", f"{needed}; this one is {role}")


def _jobs(settings: Settings, role: str) -> Iterator[Finding]:
    """Whether batch jobs can be followed, where the settings ask for that."""
    batched = {"users", "events"}.intersection(_mapped(settings).values())
    if not batched or settings.delivery == "single":
        return
    verdict = may_read_jobs(role)
    needed = f"following batch jobs takes a key of the role {role_names(JOB_READERS)}"
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


def _uids(settings: Settings) -> Iterator[Finding]:
    """Streams that give many records to one user: by their mapping, or in their last run."""
    for name, spec in settings.streams.items():
        if key := constant_uid(name, spec):
            yield Finding(f"stream {name}", "warning", f"{key} {CONSTANT_UID}")
    for name, uid in found_before(settings.output_dir).items():
        yield Finding(f"stream {name} (last run)", "warning", uid.warning)


def _samples(client: Client, kinds: list[str], role: str) -> Iterator[Finding]:
    """Send one request of each kind, where that does no harm and can be repeated.

    An event belongs to the test user, who is created for it. A deletion, which comes last, deletes that user.
    A sample that fails, whatever the reason, does not keep the others from being reported.
    """
    has_user = False
    if {"users", "events", "user_deletions"}.intersection(kinds):
        user = _sample(client, "users", f"test user {_TEST_NAME} created or updated")
        has_user = user.verdict == "ok"
        yield user
    if "events" in kinds:
        # Also where the user was refused: what the key may do with events is a question of its own.
        yield _sample(client, "events", f"one event {_TEST_NAME} of the test user sent")
    for kind in kinds:
        if kind in _NOT_SENT:
            yield Finding(f"sample {kind}", "skipped", _NOT_SENT[kind])
    if "user_deletions" in kinds:
        subject = "sample user_deletions"
        if allows(role, "user_deletions") is False:
            yield Finding(subject, "skipped", "not sent: the role does not allow it")
        elif not has_user:
            yield Finding(subject, "skipped", "not sent: there is no test user to delete")
        else:
            yield _sample(client, "user_deletions", f"test user {_TEST_NAME} deleted, with its event")


def _sample(client: Client, kind: str, done: str) -> Finding:
    subject = f"sample {kind}"
    try:
        if kind == "user_deletions":
            response = client.call("DELETE", "/v2/users", params={"uid": _TEST_NAME})
        else:
            body = msgspec.json.encode(_SAMPLES[kind])
            response = client.call("POST", f"/v2/{kind}", body)
    except DeliveryError as error:
        return Finding(subject, "failed", str(error))
    if response.ok:
        return Finding(subject, "ok", done)
    refused = f"refused with {response.status} ({response.code}): {response.message}"
    return Finding(subject, "failed", refused)


def _table(account: Account, findings: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("organization", "email", "role"):
        table.add_row(Text(name), Text(""), Text(str(getattr(account, name)) or "not told"))
    for finding in findings:
        style = _STYLES.get(finding.verdict, "")
        table.add_row(Text(finding.subject), Text(finding.verdict, style=style), Text(finding.told))
    return table
