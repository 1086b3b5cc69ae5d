"""BATCH messages: files in place of RECORD lines, through the same path."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests.conftest import USERS, Outcome, SandboxApi, state, user

Run = Callable[..., Outcome]


def batch(manifest: list[str], **encoding: Any) -> str:
    message = {"type": "BATCH", "stream": "users", "encoding": encoding, "manifest": manifest}
    return json.dumps(message)


def write(path: Path, records: list[dict[str, Any]]) -> str:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path.as_uri()


@pytest.mark.parametrize(("suffix", "compression"), [("jsonl", "none"), ("jsonl.gz", "gzip")])
def test_files_are_loaded_like_lines(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, tmp_path: Path, suffix: str, compression: str
) -> None:
    first = [{"uid": f"u{n}", "seats": n} for n in range(500)]
    second = [{"uid": "u0", "seats": 99}, {"seats": 1}]
    manifest = [write(tmp_path / f"{n}.{suffix}", part) for n, part in enumerate((first, second))]
    lines = [USERS, batch(manifest, format="jsonl", compression=compression), user(501), state(n=1)]
    done = run_target(lines, api_url=sandbox.url, max_rejected_records=None)
    assert done.code == 0, done.stderr
    counts = done.block["streams"]["users"]
    assert (counts["received"], counts["delivered"], counts["merged"], counts["rejected"]) == (503, 501, 1, 1)
    assert api.user("u0")["properties"]["seats"] == 99
    assert [reject["code"] for reject in done.rejects] == ["missing_uid"]


def test_parquet(run_target: Run, sandbox: Sandbox, api: SandboxApi, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"uid": [f"u{n}" for n in range(3000)], "seats": list(range(3000))})
    path = tmp_path / "users.parquet"
    parquet.write_table(table, path)
    done = run_target([USERS, batch([path.as_uri()], format="parquet"), state(n=1)], api_url=sandbox.url)
    assert done.code == 0, done.stderr
    assert done.block["streams"]["users"]["delivered"] == 3000
    assert api.user("u2999")["properties"]["seats"] == 2999


@pytest.mark.parametrize(
    ("content", "encoding", "says"),
    [
        (None, {"format": "jsonl"}, "cannot be read"),
        (b"not gzip", {"format": "jsonl", "compression": "gzip"}, "cannot be read"),
        (b"{}", {"format": "csv"}, "unknown"),
        (b'{"uid": "u2"}\n{"uid"', {"format": "jsonl"}, "not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_ends_the_run_after_what_came_before(
    run_target: Run,
    sandbox: Sandbox,
    tmp_path: Path,
    content: bytes | None,
    encoding: dict[str, str],
    says: str,
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    lines = [USERS, user(1), state(n=1), batch([path.as_uri()], **encoding), user(9), state(n=2)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    assert len(done.error_lines) == 1, done.stderr
    assert says in done.error_lines[0]
    assert done.states[-1]["bookmarks"] == {"n": 1}
