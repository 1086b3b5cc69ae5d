"""The command `preview`: what a load would send, without sending it."""

from __future__ import annotations

import signal
from typing import IO, Any
from urllib.parse import quote

import click
import msgspec

from target_fullstory.commands.preview_outlet import PreviewOutlet, StreamPreview
from target_fullstory.commands.shared_options import config_option, read_config
from target_fullstory.kinds import Kind
from target_fullstory.mapping import decode_call, shown_call
from target_fullstory.outlet import Outlet
from target_fullstory.settings.model import SANDBOX, Settings
from target_fullstory.target import TargetFullstory

_LONGEST_RECORD = 500
_Fields = dict[str, msgspec.Raw]


class PreviewTarget(TargetFullstory):
    """The target with a preview in place of the pipeline: it reads, validates and maps, and that is all."""

    def __init__(self, config: dict[str, Any], shown: int) -> None:
        """Read the settings.

        Args:
            config: The configuration; it needs no key.
            shown: Requests to keep per stream.

        Raises:
            ConfigurationError: A setting is mistaken.
        """
        # The sandbox needs no key, and is not started: nothing asks for its address.
        super().__init__(config={**config, "api_url": SANDBOX})
        self.preview = PreviewOutlet(shown, self.settings)

    @property
    def pipeline(self) -> Outlet:
        """Takes the records, and keeps the first."""
        return self.preview

    def end_run(self, *, deliver: bool = True) -> None:
        """Nothing was begun."""

    def process_endofpipe(self) -> None:
        """Nothing is left to do; the command looks at the rejects."""


@click.command("preview")
@config_option
@click.option(
    "--input",
    "file_input",
    type=click.File("r"),
    help="A file of Singer messages; without, standard input.",
)
@click.option(
    "--records",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Requests to print per stream.",
)
def preview_command(config_paths: tuple[str, ...], file_input: IO[str] | None, records: int) -> int:
    """Print the requests that a load would make, and the records that it would reject.

    Nothing is sent and no file is written; no API key is needed. Exit code 0; 1 if a record would be
    rejected, or on an error.
    """
    target = PreviewTarget(read_config(config_paths), records)
    # There is nothing to bring to an end: an interrupt may end the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        target.listen(file_input)
    finally:
        target.preview.finish()
        for name, stream in target.preview.streams.items():
            for line in _lines(name, stream, target.settings):
                click.echo(line)
    if not target.preview.streams:
        click.echo("The input has no stream: nothing would be sent.")
    return int(target.preview.any_rejected)


def _lines(name: str, stream: StreamPreview, settings: Settings) -> list[str]:
    rejected = sum(stream.codes.values())
    if stream.kind is None:
        return [f"{name}: ignored, {stream.received} records", ""]
    counts = f"{stream.mapped} would be sent, {rejected} rejected, {stream.ignored} ignored"
    lines = [f"{name} ({stream.kind}): {stream.received} records, {counts}"]
    if stream.merged:
        lines.append(
            f"  of these up to {stream.merged} would be merged into an earlier update of the same user"
        )
    job = _job(stream, settings)
    if stream.mapped and (how := _delivery(stream, settings, job)):
        lines.append(f"  {how}")
    for kind, body in stream.requests:
        lines += _item(job, body) if job and kind == stream.kind else _request(kind, body)
    if stream.made > len(stream.requests):
        noun = "items" if job else "requests"
        lines.append(f"  … and {stream.made - len(stream.requests)} more {noun}")
    for reason, record in stream.rejects:
        lines.append(f"  rejected: {reason.code}: {reason.message}")
        lines.append(f"    {_shortened(record)}")
    if rejected > len(stream.rejects):
        counts = ", ".join(f"{count} {code}" for code, count in stream.codes.most_common())
        lines.append(f"  … and {rejected - len(stream.rejects)} more; in all {counts}")
    if stream.dropped:
        counts = ", ".join(f"{count} of {name}" for name, count in stream.dropped.most_common())
        lines.append(f"  values left out, as Fullstory cannot take them: {counts}")
    return [*lines, ""]


def _job(stream: StreamPreview, settings: Settings) -> str | None:
    """The call that creates a batch job, where the records would travel in one."""
    if stream.kind not in {"users", "events"}:
        return None
    above = settings.delivery == "auto" and stream.sent[stream.kind] > settings.batch_threshold
    return f"POST /v2/{stream.kind}/batch" if above or settings.delivery == "batch" else None


def _delivery(stream: StreamPreview, settings: Settings, job: str | None) -> str | None:
    """How the requests would travel, where that is not one by one whatever their number."""
    if job:
        how = f"sent as batch jobs: these are the items of {job}, up to {settings.batch_size_rows} a job"
        if settings.delivery == "auto":
            how += f"; what a flush has up to {settings.batch_threshold} of is sent one by one"
        return f"{how}:"
    if stream.kind in {"users", "events"} and settings.delivery == "auto":
        return (
            f"sent one by one; more than {settings.batch_threshold} at a flush would be items of "
            f"POST /v2/{stream.kind}/batch:"
        )
    if stream.made != stream.mapped:
        return f"sent in {stream.made} requests, which records share:"
    return None


def _item(job: str, body: bytes) -> list[str]:
    text = msgspec.json.format(body, indent=2).decode()
    return [f"  {line}" for line in [f"item of {job}", *text.splitlines()]]


def _request(kind: Kind, body: bytes) -> list[str]:
    method, path, content = "POST", f"/v2/{kind}", body
    if kind not in {"users", "events"}:
        # Without a webhook endpoint's secret.
        call = decode_call(shown_call(decode_call(body)))
        method, path, content = call.method, call.path, call.content or b""
    elif kind == "users" and "id" in (fields := msgspec.json.decode(body, type=_Fields)):
        user_id = msgspec.json.decode(fields.pop("id"), type=str)
        path = f"{path}/{quote(user_id, safe='')}"
        content = msgspec.json.encode(fields)
    text = msgspec.json.format(content, indent=2).decode() if content else ""
    return [f"  {line}" for line in [f"{method} {path}", *text.splitlines()]]


def _shortened(record: Any) -> str:
    try:
        text = msgspec.json.encode(record).decode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        text = repr(record).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_RECORD else f"{text[:_LONGEST_RECORD]}…"
