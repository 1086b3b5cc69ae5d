"""Plays a case on the present code."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from target_fullstory.target import TargetFullstory
from tests.recorded.case import Case, Json
from tests.recorded.fullstory import FakeFullstory

_RUN_ID = re.compile(r"\b[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\b")
_KEY = "na1.recorded-0123456789"
_MADE = re.compile(r"('_sdc_\w+': )('[^']*'|\w+)")
_STAGES = ("map", "api", "job")


class _Pieces(io.BytesIO):
    """An input of which no more than so many bytes can be read at a time."""

    def __init__(self, content: bytes, piece: int) -> None:
        super().__init__(content)
        self._piece = piece

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._piece if size is None or size < 0 else min(size, self._piece))


def play(case: Case, fullstory: FakeFullstory, directory: Path) -> Json:
    """Run the target on a case.

    Args:
        case: The case.
        fullstory: Answers it.
        directory: Where the run's files go; they are removed.

    Returns:
        What is recorded of it, as JSON can hold it: `error`, `requests`, `asked`, `rejects`, `streams`,
        `jobs`, `responses`, `state`.
    """
    fullstory.begin(case.limit, case.role)
    output, files = directory / "output", directory / "files"
    for path in (output, files):
        path.mkdir(exist_ok=True)
    for name, content in case.files.items():
        # Compressed here: the bytes are not the same everywhere.
        packed = gzip.compress(content) if name.endswith(".gz") else content
        (files / name).write_bytes(packed)
    config = {
        "api_url": fullstory.url,
        "api_key": _KEY,
        "output_dir": str(output),
        "concurrency": 1,
        "job_poll_interval_seconds": 0.001,
        "retry_max_seconds": 2,
        "state_responses": 1_000_000,
        "max_rejected_records": -1,
        "max_rejected_percent": -1,
    } | case.settings
    text = "".join(f"{line}\n" for line in case.lines).replace("@FILES@", str(files))
    printed, error = io.StringIO(), None
    with redirect_stdout(printed), _undisturbed():
        try:
            source: Any = _Pieces(text.encode("utf-8", "surrogatepass"), case.piece)
            TargetFullstory(config=config).listen(source)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is recorded
            error = _RUN_ID.sub("<run>", str(raised))
            for path in (output, files):
                error = error.replace(str(path), f"<{path.name}>")
    outcome = _outcome(case, fullstory, output, printed.getvalue().rstrip("\n").split("\n"))
    for path in (*output.iterdir(), *files.iterdir()):
        path.unlink()
    return {"error": error, **outcome}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the log quiet, and the signals' handlers as they are."""
    logging.disable(logging.CRITICAL)
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in signals}
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _outcome(case: Case, fullstory: FakeFullstory, output: Path, printed: list[str]) -> Json:
    state = json.loads(printed[-1]) if printed[-1] else None
    block = state.pop("target_fullstory", None) if state else None
    if block is None:
        reports = [json.loads(path.read_text()) for path in output.glob("run-*.json")]
        block = reports[0] if reports else {"streams": {}, "jobs": [], "responses": []}
    requests, responses, jobs = fullstory.requests, block["responses"], block["jobs"]
    rejects = _rejects(output, metadata=bool(case.settings.get("add_record_metadata")))
    if not case.settings.get("wait_for_jobs", True):
        # Whether a job is looked at, and in time, is a matter of threads.
        fullstory.asked.clear()
        for job in jobs:
            job.update(status="", imports=0, finished=None)
    if not case.ordered:
        for part in (requests, responses, jobs, rejects):
            part.sort(key=json.dumps)
    return {
        "requests": requests,
        "asked": sorted(fullstory.asked),
        "rejects": rejects,
        "streams": block["streams"],
        "jobs": [job | {"created": None, "finished": job["finished"] and ""} for job in jobs],
        "responses": responses,
        "state": state,
    }


def _rejects(output: Path, *, metadata: bool) -> list[Json]:
    """The rejects file without the times, by stage: whose turn it is is a matter of threads."""
    found: list[Json] = [
        json.loads(line) for path in output.glob("rejects-*.jsonl") for line in path.read_bytes().splitlines()
    ]
    for reject in found:
        del reject["at"]
        record = reject.get("record")
        if metadata and isinstance(record, str):
            # What is made of the clock; JSON could not hold the record.
            reject["record"] = _MADE.sub(r"\1<made>", record)
        elif metadata and record is not None:
            record.update({name: "<made>" for name in record if name.startswith("_sdc_")})
    found.sort(key=lambda reject: (_STAGES.index(reject["stage"]), reject.get("job_id") or ""))
    return found
