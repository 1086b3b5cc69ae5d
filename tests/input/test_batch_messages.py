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


def test_files_without_records(run_target: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    """A tap that had none may write them."""
    lines = [USERS]
    for name, content, compression in (("a", b"", "none"), ("b", gzip.compress(b""), "gzip")):
        (tmp_path / name).write_bytes(content)
        lines.append(batch([(tmp_path / name).as_uri()], format="jsonl", compression=compression))
    done = run_target([*lines, user(1), state(n=1)], api_url=sandbox.url)
    assert done.code == 0, done.stderr
    assert done.block["streams"]["users"]["delivered"] == 1


@pytest.mark.parametrize(
    ("content", "encoding", "says"),
    [
        (None, {"format": "jsonl"}, "cannot be read"),
        (b"not gzip", {"format": "jsonl", "compression": "gzip"}, "cannot be read"),
        (b"", {"format": "jsonl", "compression": "gzip"}, "cannot be read"),
        (
            gzip.compress(b'{"uid": "u2"}\n', mtime=0)[:-5],
            {"format": "jsonl", "compression": "gzip"},
            "cannot be read",
        ),
        (gzip.compress(b"", mtime=0)[:5], {"format": "jsonl", "compression": "gzip"}, "cannot be read"),
        (b"", {"format": "parquet"}, "cannot be read"),
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


STREAMS = {
    "typed": USERS,
    # A SCHEMA that types cannot express: its records are decoded to dictionaries.
    "untyped": json.dumps(
        {
            "type": "SCHEMA",
            "stream": "users",
            "schema": {"type": "object", "properties": {"uid": {"type": "string"}}, "minProperties": 1},
            "key_properties": ["uid"],
        }
    ),
}
FORGED = {
    "a state": '{"uid": "b2"},"type":"STATE","value":{"bookmarks":{"n":99}},"x":{}',
    "a record of another stream": '{"uid": "b2"},"stream":"others","record":{"uid":"b3"}',
    "a member more": '{"uid": "b2"},"x":1',
    "no object": "[1]",
    "a text": '"uid"',
    "null": "null",
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("line", FORGED.values(), ids=FORGED)
def test_a_line_of_a_file_is_a_record_or_ends_the_run(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, tmp_path: Path, stream: str, line: str
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"uid": "b1"}\n' + line + '\n{"uid": "b4"}\n')
    lines = [STREAMS[stream], user(1), state(n=1), batch([path.as_uri()], format="jsonl"), state(n=2)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    (error,) = done.error_lines
    assert "Line 2 of the BATCH file" in error
    assert path.name in error
    assert done.states[-1]["bookmarks"] == {"n": 1}
    # What came before it was delivered, and nothing that it pretends to be.
    assert int(api.get("/v2/users")["total_records"]) == 2
    assert api.user("b1")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_record_of_a_file_that_cannot_be_decoded_is_rejected(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, tmp_path: Path, stream: str
) -> None:
    path, deep = tmp_path / "file.jsonl", '{"uid": "b2", "x": ' + "[" * 5000 + "]" * 5000 + "}"
    path.write_text(f'{{"uid": "b1"}}\n{deep}\n{{"uid": "b3"}}\n{{"seats": 1}}\n')
    lines = [STREAMS[stream], batch([path.as_uri()], format="jsonl"), state(n=1)]
    done = run_target(lines, api_url=sandbox.url)
    assert [(one["code"], one["record"]) for one in done.rejects] == [
        ("unreadable_record", deep),
        ("missing_uid", {"seats": 1}),
    ]
    assert "Line 2 of the BATCH file" in done.rejects[0]["message"]
    assert done.states[-1]["bookmarks"] == {"n": 1}
    assert int(api.get("/v2/users")["total_records"]) == 2


def test_blank_lines_of_a_file_are_nothing(
    run_target: Run, sandbox: Sandbox, api: SandboxApi, tmp_path: Path
) -> None:
    """The records behind them keep their own lines: these are what a reject is read from."""
    path = tmp_path / "file.jsonl"
    path.write_text('\n{"uid": "b1"}\n \n\n{"seats": 7}\n\n{"uid": "b2"}\n\n')
    lines = [USERS, batch([path.as_uri()], format="jsonl"), state(n=1)]
    for stream_maps in ({}, {"users": {"seats": "seats"}}):
        done = run_target(lines, api_url=sandbox.url, stream_maps=stream_maps, max_rejected_records=None)
        assert done.code == 0, done.stderr
        counts = done.block["streams"]["users"]
        assert (counts["received"], counts["delivered"], counts["rejected"]) == (3, 2, 1)
    assert [reject["record"].get("seats") for reject in done.rejects] == [7, 7]
    assert int(api.get("/v2/users")["total_records"]) == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/a.jsonl", "http:// are not taken"),
        ("https://user:pass-word@127.0.0.1:1/a.jsonl?X-Signature=sig-nature", "https:// are not taken"),
        ("gs://bucket/a.jsonl", "Install gcsfs"),
        ("az://container/a.jsonl", "Install adlfs"),
        ("sftp://127.0.0.1:1/a.jsonl", "Install singer-sdk[ssh]"),
        ("ftp://127.0.0.1:1/a.jsonl", "ftp:// are not taken"),
        ("http://[/a.jsonl", "cannot be read"),
        ("file:///no/such/directory/a.jsonl", "cannot be read"),
        ("file:///no/\x00/a.jsonl", "cannot be read"),
        ("file:///no/\ud800/a.jsonl", "cannot be read"),
        ("", "cannot be read"),
        ("/", "cannot be read"),
        (5, "`manifest`"),
    ],
)
def test_a_manifest_that_is_not_taken_ends_the_run_in_one_line(
    run_target: Run, sandbox: Sandbox, url: Any, says: str
) -> None:
    lines = [USERS, user(1), state(n=1), batch([url], format="jsonl"), state(n=2)]
    done = run_target(lines, api_url=sandbox.url)
    assert done.code == 1
    (error,) = done.error_lines
    assert says in error
    assert "Unexpected" not in error
    assert "pass-word" not in error
    assert "sig-nature" not in error
    assert done.states[-1]["bookmarks"] == {"n": 1}


def test_an_address_may_be_escaped_or_not(run_target: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    directory = tmp_path / "a b ü%41"
    directory.mkdir()
    (directory / "x.jsonl").write_text('{"uid": "b1"}\n')
    path = str(directory / "x.jsonl")
    manifest = [path, f"file://{path}", Path(path).as_uri()]
    done = run_target([USERS, batch(manifest, format="jsonl"), state(n=1)], api_url=sandbox.url)
    assert done.code == 0, done.stderr
    assert done.block["streams"]["users"]["received"] == 3
    done = run_target([USERS, batch(["file:///no/such/x.jsonl"], format="jsonl")], api_url=sandbox.url)
    assert done.code == 1
    assert not Path("/no").exists()
