"""Rejects that nobody has dealt with are told by every later run, and are where they are said to be."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.accounting.destination import Destination
from target_fullstory.accounting.ledger import Ledger
from target_fullstory.accounting.rejects import Reject, Rejects
from target_fullstory.accounting.unresolved_rejects import EarlierRejects, set_aside
from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import EXECUTABLE, KEY, USERS, Outcome, SandboxApi, record, state, user
from tests.reliability.live import Live
from tests.running import command
from tests.scripted import Reply, Request, ScriptedServer

Run = Callable[..., Outcome]
WITHOUT_UID = record("users", uid=None, seats=7)
LINE = '{"stream":"users","kind":"users","stage":"map","code":"c","message":"m","record":{"uid":null}}\n'
HERE = Destination("https://api.example.com", "o1")


def only_file(directory: Path, pattern: str) -> Path:
    (path,) = directory.glob(pattern)
    return path


def test_the_run_after_a_bad_one_says_so(run_target: Run, sandbox: Sandbox) -> None:
    bad = run_target([USERS, user(1), WITHOUT_UID, user(2, seats="x"), state(a=1)], api_url=sandbox.url)
    assert bad.code == 1
    there = {"count": 2, "files": [bad.block["rejects"]["path"]]}
    assert bad.block["rejects"]["unresolved"] == there

    good = run_target([USERS, user(3), state(a=2)], api_url=sandbox.url)
    assert good.code == 0, good.stderr
    assert good.block["rejects"] == {"count": 0, "path": None, "reasons": [], "unresolved": there}
    told = [line for line in good.stderr.splitlines() if "unresolved" in line]
    assert len(told) == 1
    assert "Earlier runs left 2 rejected records unresolved, in 1 file in " in told[0]

    set_aside(only_file(good.output_dir, "rejects-*.jsonl"), "discarded")
    last = run_target([USERS, user(3), state(a=3)], api_url=sandbox.url)
    assert last.block["rejects"]["unresolved"] == {"count": 0, "files": []}
    assert "unresolved" not in last.stderr


def test_a_replay_resolves_and_its_report_says_so(
    run_target: Run, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    run_target([USERS, WITHOUT_UID, state(a=1)], api_url=sandbox.url)
    rejects = only_file(tmp_path / "output", "rejects-*.jsonl")
    before = set(rejects.parent.glob("run-*.json"))
    rejects.write_text(rejects.read_text().replace('"uid":null', '"uid":"u9"'))
    done = command(tmp_path, config | {"api_url": sandbox.url}, "replay", str(rejects))
    assert done.code == 0, done.stderr
    (report,) = set(rejects.parent.glob("run-*.json")) - before
    assert json.loads(report.read_text())["rejects"]["unresolved"] == {"count": 0, "files": []}


def test_a_replay_that_leaves_its_jobs_does_not_resolve(
    run_target: Run, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    """Nobody knows yet whether they refuse the records."""
    rejects = tmp_path / "output" / "rejects-r.jsonl"
    rejects.parent.mkdir()
    rejects.write_text(LINE.replace("null", '"u1"'))
    settings = config | {"api_url": sandbox.url, "delivery": "batch", "wait_for_jobs": False}
    done = command(tmp_path, settings, "replay", str(rejects))
    assert done.code == 0, done.stderr
    assert rejects.exists()
    assert "batch jobs are in progress" in done.stderr


def test_each_reason_is_told_at_once_and_at_the_end(run_target: Run, sandbox: Sandbox) -> None:
    """By stream and code, the most frequent first, and never a value."""
    lines = [USERS, *[WITHOUT_UID] * 2, *(user(n, seats="secret-value") for n in range(3))]
    lines += [user(100, email="e" * 200), *(user(n) for n in range(10)), state(a=1)]
    done = run_target(lines, api_url=sandbox.url)
    firsts = [line for line in done.stderr.splitlines() if "a record was rejected" in line]
    assert len(firsts) == 3
    for line, code in zip(firsts, ("missing_uid", "schema_violation", "email_too_long"), strict=True):
        assert "WARNING" in line
        assert f"Stream users: a record was rejected: {code}" in line
    ends = [line for line in done.stderr.splitlines() if "| Rejected: " in line]
    numbers = [line.split("Rejected: ")[1].split(",")[0] for line in ends]
    assert [text.split(":")[0] for text in numbers] == [f"{n} of stream users" for n in (3, 2, 1)]
    reasons = done.block["rejects"]["reasons"]
    assert [(one["code"], one["count"]) for one in reasons] == [
        ("schema_violation", 3),
        ("missing_uid", 2),
        ("email_too_long", 1),
    ]
    assert {(one["stream"], one["stage"]) for one in reasons} == {("users", "map")}
    assert "secret-value" not in done.stderr
    assert "secret-value" not in done.stdout


def test_reasons_without_number_are_told_in_bounds(run_target: Run) -> None:
    """A server that has another code for each refusal."""

    def script(request: Request, number: int) -> Reply:
        return Reply(400, {"code": f"code_{number}", "message": "No"})

    with ScriptedServer(script) as server:
        lines = [USERS, *(user(n) for n in range(300)), state(a=1)]
        done = run_target(lines, api_url=server.url, delivery="single", max_rejected_percent=None)
    assert done.code == 1
    assert done.block["rejects"]["count"] == 300
    reasons = done.block["rejects"]["reasons"]
    assert len(reasons) <= 201
    assert sum(one["count"] for one in reasons) == 300
    assert len([line for line in done.stderr.splitlines() if "| Rejected: " in line]) == 11
    assert "290" not in done.error_lines[0]


# The report from the beginning, and files of another destination


def test_a_killed_run_has_left_the_destination_of_its_rejects(
    sandbox: Sandbox, run_target: Run, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": f"{sandbox.url}/"}, tmp_path) as live:
        live.feed(USERS, WITHOUT_UID, state(a=1))
        live.wait_for(lambda: live.lines)
        assert live.block["finished_at"] is None
        assert live.block["started_at"].endswith("Z")
        live.process.kill()
        live.process.wait()
    output = tmp_path / "output"
    report = json.loads(only_file(output, "run-*.json").read_text())
    assert report["destination"]["address"] == sandbox.url
    assert report["finished_at"] is None
    assert KEY not in json.dumps(report)
    assert list(output.glob("*.tmp")) == []

    with Sandbox(SandboxOptions()) as elsewhere:
        other = run_target([USERS, user(1), state(a=1)], api_url=elsewhere.url)
        assert other.block["rejects"]["unresolved"] == {"count": 0, "files": []}
    same = run_target([USERS, user(1), state(a=1)], api_url=sandbox.url)
    rejects = str(only_file(output, "rejects-*.jsonl"))
    assert same.block["rejects"]["unresolved"] == {"count": 1, "files": [rejects]}
    assert same.block["finished_at"] > same.block["started_at"]


def test_a_killed_run_with_jobs_has_left_its_report(config: dict[str, Any], tmp_path: Path) -> None:
    """It has but some of the jobs: the command `jobs` takes the latest that is complete."""
    with Sandbox(SandboxOptions(job_seconds=20)) as slow:
        config |= {"api_url": slow.url, "delivery": "batch"}
        output = tmp_path / "output"
        output.mkdir()
        job = {"id": "unknown", "kind": "users", "stream": "users"}
        (output / "run-20200101T000000Z-0.json").write_text(json.dumps({"run_id": "old", "jobs": [job]}))
        with Live(config, tmp_path) as live:
            live.feed(USERS, user(1), state(a=1))
            live.close_input()
            live.wait_for(lambda: live.lines)
            live.process.kill()
            live.process.wait()
        report = json.loads(max(output.glob("run-*.json")).read_text())
        assert report["destination"]["address"] == slow.url
        assert report["finished_at"] is None
        done = command(tmp_path, config, "jobs", "--format", "json")
        assert json.loads(done.stdout)["run_id"] == "old"


@pytest.mark.parametrize(
    ("report", "counts"),
    [
        (None, True),
        ("{", True),
        ("{}", True),
        ({"destination": {"address": HERE.address, "organization": "o1"}}, True),
        ({"destination": {"address": HERE.address}}, True),
        ({"destination": {"address": HERE.address, "organization": "o2"}}, False),
        ({"destination": {"address": "https://api.eu1.example.com", "organization": "o1"}}, False),
    ],
)
def test_whose_rejects_they_are(report: Any, counts: bool, tmp_path: Path) -> None:
    (tmp_path / "rejects-r.jsonl").write_text(LINE)
    if report is not None:
        text = report if isinstance(report, str) else json.dumps(report)
        (tmp_path / "run-r.json").write_text(text)
    assert EarlierRejects(str(tmp_path), HERE).count == int(counts)


def test_another_organizations_rejects_do_not_count_once_the_key_has_told_its(
    run_target: Run, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    with ScriptedServer(lambda request, number: Reply(200, {"id": "1"})) as server:
        for run, organization in (
            ("1", "another"),
            ("2", "scripted"),
            ("3", "key:0123456789ab"),
            ("4", None),
        ):
            (output / f"rejects-{run}.jsonl").write_text(LINE)
            destination = {"address": server.url, "organization": organization}
            (output / f"run-{run}.json").write_text(json.dumps({"destination": destination}))
        done = run_target([USERS, user(1), state(a=1)], api_url=server.url, delivery="single")
    assert done.code == 0, done.stderr
    files = [str(output / f"rejects-{run}.jsonl") for run in "234"]
    assert done.block["organization"] == "scripted"
    assert done.block["rejects"]["unresolved"] == {"count": 3, "files": files}
    report = json.loads((output / f"run-{done.block['run_id']}.json").read_text())
    assert report["rejects"]["unresolved"] == {"count": 3, "files": files}


def test_all_rejects_are_counted_and_the_newest_files_are_listed(
    run_target: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    for number in range(150):
        (output / f"rejects-{number:03}.jsonl").write_text(LINE * 2)
    done = run_target([USERS, WITHOUT_UID, state(a=1)], api_url=sandbox.url)
    unresolved = done.block["rejects"]["unresolved"]
    assert unresolved["count"] == 301
    newest = [str(output / f"rejects-{number:03}.jsonl") for number in range(51, 150)]
    assert unresolved["files"] == [*newest, done.block["rejects"]["path"]]


def test_odd_files_neither_stop_nor_fail_the_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rejects-fifo.jsonl")
    os.mkfifo(tmp_path / "run-ok.json")
    (tmp_path / "rejects-directory.jsonl").mkdir()
    (tmp_path / "rejects-dangling.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "rejects-empty.jsonl").write_text("")
    (tmp_path / "rejects-blank.jsonl").write_text("\n\n")
    (tmp_path / "rejects-done.jsonl.replayed").write_text(LINE)
    (tmp_path / "rejects-cut.jsonl").write_text(LINE + LINE[:30])
    (tmp_path / "rejects-ok.jsonl").write_text(LINE + "\n" + LINE.rstrip())
    found = EarlierRejects(str(tmp_path), HERE)
    assert found.count == 3
    assert found.files == [str(tmp_path / f"rejects-{name}.jsonl") for name in ("cut", "ok")]
    assert EarlierRejects(str(tmp_path / "nowhere"), HERE).count == 0


def test_counting_is_cheap(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"rejects-{number}.jsonl").write_text(LINE * 3)
        (tmp_path / f"run-{number}.json").write_text(json.dumps({"destination": {"address": HERE.address}}))
    (tmp_path / "rejects-large.jsonl").write_text(LINE * 300_000)
    began = time.monotonic()
    found = EarlierRejects(str(tmp_path), HERE)
    assert time.monotonic() - began < 5
    assert (found.count, len(found.files)) == (303_000, 1001)


# A file that is removed or renamed while the run writes to it


def feed_bad(live: Live, at: int) -> None:
    live.feed(USERS, WITHOUT_UID, WITHOUT_UID, state(at=at))
    live.wait_for(lambda: live.lines and {"at": at} in live.bookmarks)


@pytest.mark.parametrize("how", ["rm", "rm -r", "mv", "sed -i"])
def test_a_rejects_file_that_is_removed_is_begun_anew(
    how: str, sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": sandbox.url}, tmp_path) as live:
        feed_bad(live, 1)
        path = only_file(tmp_path / "output", "rejects-*.jsonl")
        if how == "rm":
            path.unlink()
        elif how == "mv":
            set_aside(path, "discarded")
        elif how == "sed -i":
            edited = path.with_name("edited")
            edited.write_bytes(path.read_bytes())
            edited.chmod(0o600)
            edited.replace(path)
        else:
            for one in path.parent.iterdir():
                one.unlink()
            path.parent.rmdir()
        feed_bad(live, 2)
        lines = path.read_text().splitlines()
        # Those of the first STATE are gone on purpose, and no more.
        there = 4 if how == "sed -i" else 2
        assert len(lines) == there
        assert live.block["rejects"]["count"] == 4
        assert live.block["rejects"]["path"] == str(path)
        assert live.block["rejects"]["unresolved"] == {"count": there, "files": [str(path)]}
        assert path.with_name(path.name.replace("rejects-", "schemas-")).exists()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        live.close_input()
        assert live.end() == 1
        assert any("is not there any more" in line for line in live.log)
    if how == "mv":
        gone = only_file(path.parent, "rejects-*.discarded")
        assert len(gone.read_text().splitlines()) == 4, "what came since the last STATE is in both"


def test_a_file_that_cannot_be_begun_anew_ends_the_run(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": sandbox.url}, tmp_path) as live:
        feed_bad(live, 1)
        (tmp_path / "output").rename(tmp_path / "elsewhere")
        (tmp_path / "output").write_text("")
        live.feed(WITHOUT_UID, state(at=2))
        live.close_input()
        assert live.end() == 1
        (error,) = live.errors
        assert "cannot be written" in error
        assert all(found == {"at": 1} for found in live.bookmarks)


def test_nothing_is_said_to_be_in_a_file_that_is_gone(
    sandbox: Sandbox, config: dict[str, Any], tmp_path: Path
) -> None:
    with Live(config | {"api_url": sandbox.url}, tmp_path) as live:
        feed_bad(live, 1)
        only_file(tmp_path / "output", "rejects-*.jsonl").unlink()
        live.feed(user(1), state(at=2))
        live.close_input()
        assert live.end() == 1
        rejects = live.block["rejects"]
        assert (rejects["count"], rejects["path"]) == (2, None)
        assert rejects["unresolved"] == {"count": 0, "files": []}
        (error,) = live.errors
        assert "2 records were rejected" in error
        assert "None" not in error
        assert "No file holds them" in error


# Rejects of a killed run's job


def test_what_a_killed_runs_job_refused_fails_the_next_run(run_target: Run, tmp_path: Path) -> None:
    with Sandbox(SandboxOptions(job_seconds=1.0)) as slow:
        lines = [USERS, *(user(n) for n in range(3)), state(a=1)]
        users = json.loads(USERS)
        users["schema"]["properties"]["id"] = {"type": ["null", "string"]}
        lines = [json.dumps(users), *(record("users", id=f"nobody{n}") for n in range(3)), state(a=1)]
        config = {
            "api_key": KEY,
            "api_url": slow.url,
            "delivery": "batch",
            "output_dir": str(tmp_path / "output"),
            "streams": {"users": {"kind": "users", "fields": {"id": "id"}}},
            "validate_records": False,
        }
        path = tmp_path / "killed.json"
        path.write_text(json.dumps(config))
        killed = subprocess.Popen(
            [*EXECUTABLE, "--config", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write("".join(f"{line}\n" for line in lines).encode())
        killed.stdin.close()
        killed.stdout.readline()  # the STATE: the job is accepted
        killed.kill()
        killed.wait()

        done = run_target([USERS, user(1), state(a=2)], api_url=slow.url)
        assert done.code == 1, done.stderr
        assert "3 records were rejected, more than max_rejected_records (0)" in done.error_lines[0]
        rejects = done.block["rejects"]
        assert rejects["count"] == len(done.rejects) == 3
        (reason,) = rejects["reasons"]
        assert (reason["stream"], reason["stage"], reason["count"]) == ("users", "job", 3)
        counts = done.block["streams"]["users"]
        assert (counts["received"], counts["delivered"], counts["rejected"]) == (1, 1, 0)
        assert SandboxApi(slow.url).user("u1")
        # The next one is green again, and tells of them still.
        again = run_target([USERS, user(1), state(a=3)], api_url=slow.url)
        assert again.code == 0, again.stderr
        assert again.block["rejects"]["unresolved"] == {"count": 3, "files": [rejects["path"]]}


def test_the_directory_is_the_owners(run_target: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    for number, lines in enumerate([[USERS, WITHOUT_UID], [USERS, user(1)]]):
        made = tmp_path / f"a{number}" / "b"
        run_target([*lines, state(a=1)], api_url=sandbox.url, output_dir=str(made), delivery="batch")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    done = run_target(
        [USERS, user(1), state(a=1)], api_url="sandbox", api_key=None, output_dir=str(tmp_path / "with")
    )
    assert done.code == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "with").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.glob("*.json")} == {0o600}


def test_what_came_since_the_last_sync_goes_to_the_new_file(tmp_path: Path) -> None:
    """Whoever removed the file may not have seen it, be it still in memory or on the disk."""
    ledger = Ledger(responses=0)
    ledger.open_stream("s", "users")
    rejects = Rejects(ledger, str(tmp_path), "run")
    path = tmp_path / "rejects-run.jsonl"

    def write(code: str, size: int = 1) -> None:
        rejects.write(Reject(stream="s", kind="users", stage="api", code=code, message="m" * size))

    write("seen")
    rejects.sync()
    write("on_the_disk", 100_000)
    write("in_memory")
    path.unlink()
    rejects.sync()
    assert [json.loads(line)["code"] for line in path.read_text().splitlines()] == [
        "on_the_disk",
        "in_memory",
    ]
    write("later")
    rejects.close()
    assert len(path.read_text().splitlines()) == 3
    assert rejects.summary()["unresolved"] == {"count": 3, "files": [str(path)]}
