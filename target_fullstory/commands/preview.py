"""The command `preview`: what a load would send, without sending it."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import click
import msgspec

from target_fullstory.accounting.rejection_limit import is_beyond
from target_fullstory.accounting.rejects import OVER_QUOTA, Reject
from target_fullstory.accounting.repeated_uids import RepeatedUid
from target_fullstory.batching.batch import Batch
from target_fullstory.batching.encoded_requests import single_request
from target_fullstory.commands.recorded_load import RecordedLoad, Recorder, input_option
from target_fullstory.commands.shared_options import config_option, read_config
from target_fullstory.kinds import KINDS, Kind
from target_fullstory.mapping import decode_call, redacted_call, spec_for
from target_fullstory.settings.model import SANDBOX, Settings

_LONGEST_RECORD = 500
_SHOWN_REJECTS = 10


@dataclass
class StreamRecord:
    """What became of one stream, beside its counts in the ledger."""

    requests: int = 0  # how many there are; the items of jobs count one by one
    in_jobs: bool = False  # whether some are items of batch jobs
    # The first requests, each with its kind and whether it is such an item.
    first: list[tuple[Kind, bool, bytes]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)  # the first rejects
    codes: Counter[str] = field(default_factory=Counter)  # all rejects by code


class Shown:
    """Keeps what is printed: the first requests and rejects of each stream."""

    def __init__(self, requests: int) -> None:
        self.streams: defaultdict[str, StreamRecord] = defaultdict(StreamRecord)
        self._requests = requests

    def take_batch(self, batch: Batch, requests: list[bytes], job: bool) -> None:
        """Take a batch as it would be sent."""
        stream = self.streams[batch.stream]
        stream.requests += len(requests)
        stream.in_jobs |= job
        missing = self._requests - len(stream.first)
        stream.first += [(batch.kind, job, request) for request in requests[:missing]]

    def take_reject(self, reject: Reject) -> None:
        """Take a record that would be rejected."""
        stream = self.streams[reject.stream]
        stream.codes[reject.code] += 1
        if len(stream.rejects) < _SHOWN_REJECTS:
            stream.rejects.append(reject)


@click.command("preview")
@config_option
@input_option
@click.option(
    "--records", type=click.IntRange(0), default=3, show_default=True, help="Requests to print per stream."
)
def preview_command(config_paths: tuple[str, ...], file_input: IO[str] | None, records: int) -> int:
    """Print the requests that a load would make, and the records that it would reject.

    Nothing is sent and no file is written; no API key is needed. Exit code 0; 1 if a record would be
    rejected, or on an error.
    """
    shown = Shown(records)
    # The sandbox needs no key, and is not started.
    target = RecordedLoad(
        read_config(config_paths) | {"api_url": SANDBOX},
        lambda settings: Recorder(settings, "preview", shown.take_batch, shown.take_reject),
    )
    # There is nothing to bring to an end: an interrupt may end the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        target.listen(file_input)
    finally:
        streams, repeated = target.run.ledger.streams(final=True), target.run.uids.found()
        for name, counts in streams.items():
            for line in _lines(name, counts, shown.streams[name], target.settings, repeated.get(name)):
                click.echo(line)
    if not streams:
        click.echo("The input has no stream: nothing would be sent.")
    return int(any(counts["rejected"] for counts in streams.values()))


def _lines(
    name: str, counts: dict[str, Any], stream: StreamRecord, settings: Settings, repeated: RepeatedUid | None
) -> Iterator[str]:
    """What is printed of a stream, with its counts as in the state block."""
    kind, received = counts["kind"], counts["received"]
    if kind not in KINDS:
        yield from (f"{name}: ignored, {received} records", "")
        return
    sent, rejected = counts["delivered"] + counts["merged"], counts["rejected"]
    yield (
        f"{name} ({kind}): {received} records, {sent} would be sent, {rejected} rejected, "
        f"{counts['ignored']} ignored"
    )
    yield from _fewer_sent(name, counts["merged"], settings)
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
    over_quota, percent = stream.codes[OVER_QUOTA], settings.max_rejected_percent
    if is_beyond(percent, received - over_quota, rejected - over_quota):
        yield f"  a load would stop: more than max_rejected_percent ({percent:g}) of them would be rejected"
    if dropped := Counter[str](counts["dropped_properties"]):
        told = _counts(dropped, "of ")
        yield f"  values left out, as they cannot be cast or Fullstory does not take them: {told}"
    if undeclared := Counter[str](counts["undeclared_values"]):
        yield f"  values that are not of their column's type, sent as they are: {_counts(undeclared, 'of ')}"
    if repeated:
        yield f"  warning: {repeated.warning}"
    yield ""


def _counts(counter: Counter[str], of: str) -> str:
    return ", ".join(f"{count} {of}{name}" for name, count in counter.most_common())


def _fewer_sent(name: str, merged: int, settings: Settings) -> Iterator[str]:
    """Why a load may send fewer records of a stream than would be sent by its count here."""
    spec = spec_for(name, settings.streams)
    if spec is not None and spec.sync != "all":
        yield "  a load sends what Fullstory has not confirmed yet; `plan` tells how many that are"
    if merged:
        yield f"  up to {merged} of those sent would be merged into an earlier update of the same user"


def _delivery(kind: Kind, sent: int, stream: StreamRecord, settings: Settings) -> str | None:
    """How the requests would travel, where that is not one by one whatever their number."""
    job = f"POST {KINDS[kind].endpoint}/batch"
    if stream.in_jobs:
        how = f"sent in batch jobs of up to {settings.batch_size_rows} records, as items of {job}"
        if settings.delivery == "auto":
            how += f"; {settings.batch_threshold} or fewer at a flush are sent one by one"
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
        call = decode_call(redacted_call(decode_call(body)))
        title, content = f"{call.method} {call.path}", call.content or b""
    text = msgspec.json.format(content, indent=2).decode() if content else ""
    yield from (f"  {line}" for line in [title, *text.splitlines()])


def _shortened(record: Any) -> str:
    try:
        text = msgspec.json.encode(record).decode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        text = repr(record).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_RECORD else f"{text[:_LONGEST_RECORD]}…"
