"""The command `preview`: what a load would send, without sending it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import IO, Any

import click
import msgspec

from target_fullstory.batching.encoded_requests import single_request
from target_fullstory.commands.preview_recorder import Recorder, StreamRecord
from target_fullstory.commands.shared_options import config_option, read_config
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.mapping import decode_call, shown_call
from target_fullstory.run import Run
from target_fullstory.settings.model import SANDBOX, Settings
from target_fullstory.target import TargetFullstory

_LONGEST_RECORD = 500


class PreviewTarget(TargetFullstory):
    """The target with a run that records what it would send."""

    def __init__(self, config: dict[str, Any], shown: int) -> None:
        """Read the settings, which need no key; so many requests are kept per stream."""
        # The sandbox needs no key, and is not started.
        super().__init__(config={**config, "api_url": SANDBOX})
        self.recorder = Recorder(self.settings, shown)

    @cached_property
    def run(self) -> Run:
        """A run that delivers into the recorder."""
        return Run(self.settings, self.config, delivery=self.recorder)

    def end_run(self, *, deliver: bool = True) -> None:  # noqa: ARG002
        """Bring what is open to the recorder; there is no STATE and no report to write."""
        self.run.flush()

    def process_endofpipe(self) -> None:
        """End without an error; the command looks at the rejects."""
        self.end_run()


@click.command("preview")
@config_option
@click.option(
    "--input", "file_input", type=click.File("r"), help="A file of Singer messages; without, standard input."
)
@click.option(
    "--records", type=click.IntRange(0), default=3, show_default=True, help="Requests to print per stream."
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
        streams = target.run.ledger.streams(final=True)
        for name, counts in streams.items():
            for line in _lines(name, counts, target.recorder, target.settings):
                click.echo(line)
    if not streams:
        click.echo("The input has no stream: nothing would be sent.")
    return int(any(counts["rejected"] for counts in streams.values()))


def _lines(name: str, counts: dict[str, Any], recorder: Recorder, settings: Settings) -> Iterator[str]:
    """What is printed of a stream, with its counts as in the state block."""
    kind, received, stream = counts["kind"], counts["received"], recorder.streams[name]
    if kind not in KINDS:
        yield from (f"{name}: ignored, {received} records", "")
        return
    sent, rejected = counts["delivered"] + counts["merged"], counts["rejected"]
    yield (
        f"{name} ({kind}): {received} records, {sent} would be sent, {rejected} rejected, "
        f"{counts['ignored']} ignored"
    )
    if merged := counts["merged"]:
        yield f"  of these up to {merged} would be merged into an earlier update of the same user"
    if sent and (how := _delivery(kind, sent, stream, settings)):
        yield f"  {how}"
    for sent_kind, in_job, body in stream.first:
        yield from _request(sent_kind, body, in_job=in_job)
    if more := stream.requests - len(stream.first):
        yield f"  … and {more} more {'items' if stream.in_jobs else 'requests'}"
    for reject in stream.rejects:
        yield f"  rejected: {reject.code}: {reject.message}"
        yield f"    {_shortened(reject.record)}"
    if more := rejected - len(stream.rejects):
        yield f"  … and {more} more; in all {_counts(stream.codes, '')}"
    if dropped := Counter[str](counts["dropped_properties"]):
        yield f"  values left out, as Fullstory cannot take them: {_counts(dropped, 'of ')}"
    yield ""


def _counts(counter: Counter[str], of: str) -> str:
    return ", ".join(f"{count} {of}{name}" for name, count in counter.most_common())


def _delivery(kind: Kind, sent: int, stream: StreamRecord, settings: Settings) -> str | None:
    """How the requests would travel, where that is not one by one whatever their number."""
    job = f"POST {KINDS[kind].endpoint}/batch"
    if stream.in_jobs:
        how = f"sent as batch jobs: these are the items of {job}, up to {settings.batch_size_rows} a job"
        if settings.delivery == "auto":
            how += f"; what a flush has up to {settings.batch_threshold} of is sent one by one"
        return f"{how}:"
    if KINDS[kind].item and settings.delivery == "auto":
        return f"sent one by one; more than {settings.batch_threshold} at a flush would be items of {job}:"
    if KINDS[kind].in_series and stream.requests != sent:
        return f"sent in {stream.requests} requests, which records share:"
    return None


def _request(kind: Kind, body: bytes, *, in_job: bool) -> Iterator[str]:
    endpoint, content = KINDS[kind].endpoint, body
    if in_job:
        title = f"item of POST {endpoint}/batch"
    elif endpoint:
        path, content = single_request(kind, body)
        title = f"POST {path}"
    else:
        # Without a webhook endpoint's secret.
        call = decode_call(shown_call(decode_call(body)))
        title, content = f"{call.method} {call.path}", call.content or b""
    text = msgspec.json.format(content, indent=2).decode() if content else ""
    yield from (f"  {line}" for line in [title, *text.splitlines()])


def _shortened(record: Any) -> str:
    try:
        text = msgspec.json.encode(record).decode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        text = repr(record).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_RECORD else f"{text[:_LONGEST_RECORD]}…"
