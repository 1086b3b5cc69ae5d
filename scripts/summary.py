"""Tells what the last run did: its counts, its jobs and rejects, and an example of what Fullstory holds now.

    python scripts/summary.py [OUTPUT_DIR]

It reads the run reports in `output_dir`, so it does not matter how the target was run, nor what became of
its STATE. Without an argument it asks Meltano for the loader's `output_dir`, and takes the default where
there is no Meltano project. `make demo` runs it.
"""
# ruff: noqa: INP001, S603, T201

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

BIN = Path(sys.executable).parent
DEFAULT = "output/target-fullstory"
COUNTS = ("received", "delivered", "rejected", "merged", "ignored", "unchanged")
SAME_RUN = timedelta(minutes=1)
"""The loads of one `meltano run` follow each other within so long."""
SHOWN_JOBS = 10
LEFT = {
    "left out: they cannot be cast, or Fullstory does not take them": "dropped_properties",
    "sent undeclared: they are not of their column's type": "undeclared_values",
}
"""What becomes of values that do not fit, and the count of them in a stream's part of the block."""
HELD = ("user", "event", "job")

Report = dict[str, Any]


def output_dir() -> Path:
    """Where the run reports are."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    if not Path("meltano.yml").exists():
        return Path(DEFAULT)
    command = [str(BIN / "meltano"), "--log-level=error", "config", "print", "target-fullstory"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return Path(json.loads(done.stdout).get("output_dir", DEFAULT))
    except (OSError, ValueError, subprocess.CalledProcessError):
        # Another name of the loader, say.
        return Path(DEFAULT)


def began(report: Report) -> datetime:
    """When a run began."""
    return _moment(report.get("started_at") or report["timings"]["began"])


def ended(report: Report) -> datetime | None:
    """When a run ended; None where it was killed, or goes on."""
    end = report.get("finished_at") or report.get("timings", {}).get("ended")
    return _moment(end) if end else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def last_run(directory: Path) -> list[tuple[Path, Report]]:
    """The reports of the last run, oldest first: of loads that followed each other, each of other streams."""
    nothing: Report = {"streams": {}, "jobs": [], "responses": [], "rejects": {"count": 0}, "config": {}}
    paths = directory.glob("run-*.json")
    found = [(path, nothing | json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    found.sort(key=lambda one: began(one[1]))
    last = found[-1:]
    for path, report in reversed(found[:-1]):
        after = last[0][1]
        streams = {name for _, later in last for name in later["streams"]}
        pause = began(after) - (ended(report) or began(report))
        if pause > SAME_RUN or streams.intersection(report["streams"]):
            break
        last.insert(0, (path, report))
    return last


@contextmanager
def sandbox(database: Path) -> Iterator[http.client.HTTPConnection]:
    """The sandbox's API over the database that the loads wrote."""
    command = [str(BIN / "target-fullstory"), "sandbox", "--port", "0", "--db", str(database)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            sys.exit(f"The sandbox did not start on {database}.")
        address = urlsplit(line.split()[-1])
        yield http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=10)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def get(api: http.client.HTTPConnection, path: str) -> Any:
    """One answer of the API."""
    api.request("GET", path, headers={"Authorization": "Basic demo"})
    return json.loads(api.getresponse().read())


def show_contents(database: Path, reports: list[Report]) -> None:
    """Print what the sandbox holds, with something of the last run as an example."""
    print(f"In Fullstory (here the sandbox, {database}):")
    with sandbox(database) as api:
        counts = get(api, "/sandbox/stats")
        told = (f"{counts[f'{noun}s']:,} {noun}{'s' * (counts[f'{noun}s'] != 1)}" for noun in HELD)
        print(f"  {', '.join(told)}")
        uid = example_user(api, reports)
        if uid is not None:
            show_user(api, uid)
        for event in events_of(api, uid, reports):
            user = f" of {name}" if (name := (event.get("user") or {}).get("uid")) else ""
            print(f"  an event{user}: {event['name']}, {event.get('timestamp', 'without a timestamp')}")
            print(f"    properties: {json.dumps(event.get('properties', {}), ensure_ascii=False)}")


def imported(api: http.client.HTTPConnection, kind: str, reports: list[Report]) -> list[dict[str, Any]]:
    """What the first job of a kind has imported in the latest load with one, the beginning of it."""
    for job in (job for report in reversed(reports) for job in report["jobs"] if job["kind"] == kind):
        if found := get(api, f"/v2/{kind}/batch/{job['id']}/imports").get("results"):
            return list(found)
    return []


def example_user(api: http.client.HTTPConnection, reports: list[Report]) -> str | None:
    """The `uid` of a user whom the last run has brought."""
    told = [one["uid"] for report in reports for one in report["responses"] if one.get("uid")]
    users = [user["uid"] for user in imported(api, "users", reports) if user.get("uid")]
    return next(iter([*users, *told]), None)


def show_user(api: http.client.HTTPConnection, uid: str) -> None:
    """Print a user."""
    for user in get(api, f"/v2/users?uid={quote(uid, safe='')}")["results"]:
        names = [user[name] for name in ("display_name", "email") if user.get(name)]
        print(f"  for example {uid}" + (f": {', '.join(names)}" if names else ""))
        print(f"    properties: {json.dumps(user['properties'], ensure_ascii=False)}")


def events_of(
    api: http.client.HTTPConnection, uid: str | None, reports: list[Report]
) -> list[dict[str, Any]]:
    """An event that the last run has brought, of this user if there is one."""
    streams = [counts for report in reports for counts in report["streams"].values()]
    if not any(counts["kind"] == "events" and counts["delivered"] for counts in streams):
        return []
    own = uid is not None and get(api, f"/sandbox/events?limit=1&uid={quote(uid, safe='')}")["results"]
    return (own or imported(api, "events", reports) or get(api, "/sandbox/events?limit=1")["results"])[:1]


def show_counts(reports: list[Report]) -> None:
    """Print where every record went."""
    print("Where every record went:")
    streams = [(name, counts) for report in reports for name, counts in report["streams"].items()]
    names = [name for name in COUNTS if any(name in counts for _, counts in streams)]
    rows = [["stream", "kind", *names]]
    rows += [[name, counts["kind"], *(f"{counts.get(n, 0):,}" for n in names)] for name, counts in streams]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    if not streams:
        print("  nothing came")


def show_values(reports: list[Report]) -> None:
    """Print what did not fit: values, timestamps and placeholders."""
    for report in reports:
        for name, uid in report.get("repeated_uids", {}).items():
            print(f"  {name}: one uid stands in {uid['share']:.0%} of the records; is it a placeholder?")
    streams = [stream for report in reports for stream in report["streams"].items()]
    for name, counts in streams:
        for told, member in LEFT.items():
            for prop, count in counts.get(member, {}).items():
                print(f"  {name}: {count:,} values of {prop} {told}")
    if timeless := sum(report.get("events_without_timestamp", 0) for report in reports):
        print(f"  {timeless:,} events have no timestamp: sent again, they are there twice")


def show_jobs(reports: list[Report]) -> None:
    """Print the batch jobs, those that went wrong first."""
    jobs = [job for report in reports for job in report["jobs"]]
    jobs.sort(key=lambda job: job["status"] == "COMPLETED" and not job["errors"])
    for job in jobs[:SHOWN_JOBS]:
        print(f"  job {job['id']}: {job['status']}, {job['imports']:,} imported, {job['errors']:,} errors")
    if len(jobs) > SHOWN_JOBS:
        print(f"  and {len(jobs) - SHOWN_JOBS:,} more jobs")


def show_rejects(reports: list[Report]) -> None:
    """Print why records were rejected, and what is left of earlier runs."""
    for report in reports:
        if report["rejects"]["count"]:
            print(f"  {report['rejects']['count']:,} rejected records: {report['rejects']['path']}")
            for reason in report["rejects"].get("reasons", []):
                column = f", column {reason['column']}" if reason.get("column") else ""
                print(f"    {reason['count']:,} of {reason['stream']}: {reason['code']}{column}")
    last = reports[-1]
    if unresolved := last["rejects"].get("unresolved", {}).get("count", 0):
        print(f"  {unresolved:,} unresolved rejects then: `target-fullstory rejects` lists those of now")
    for job in last.get("unfinished_jobs", ()):
        print(f"  job {job['id']} of an earlier run: its end is not known ({job['why']})")


def main() -> None:
    """Print the summary of the last run."""
    directory = output_dir()
    found = last_run(directory)
    if not found:
        sys.exit(f"There is no run report in {directory}. Load something, or name another output_dir.")
    reports = [report for _, report in found]
    first, end = began(reports[0]), ended(reports[-1])
    took = f"{(end - first).total_seconds():,.0f} s" if end else "not ended: it was killed, or goes on"
    loads = f", {len(reports)} loads" if len(reports) > 1 else ""
    print(f"\nThe last run: {first:%Y-%m-%d %H:%M:%S} UTC, {took}{loads}\n")
    database = directory / "sandbox.db"
    if database.exists() and reports[-1]["config"].get("api_url") == "sandbox":
        show_contents(database, reports)
        print()
    for show in (show_counts, show_values, show_jobs, show_rejects):
        show(reports)
    print("\nThe run reports:")
    for path, _ in found:
        print(f"  {path}")
    key = reports[-1]["config"].get("state_key")
    if key and Path("meltano.yml").exists():
        print(f"\nMeltano keeps the same in the state, as {key}: meltano state list, meltano state get NAME")


if __name__ == "__main__":
    main()
