"""Tells what a load left behind: what the sandbox holds, the state, the run reports.

    python scripts/summary.py

Run it in the Meltano project after `meltano run`; `make demo` does.
"""
# ruff: noqa: INP001, S603, T201

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

BIN = Path(sys.executable).parent
OUTPUT = Path("output/target-fullstory")
STATE_KEY = "target_fullstory"
COUNTS = ("received", "delivered", "rejected", "merged", "ignored")


def meltano(*arguments: str) -> str:
    """What a Meltano command prints on standard output."""
    command = [str(BIN / "meltano"), "--log-level=error", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def states() -> dict[str, dict[str, Any]]:
    """State id to the Singer state that Meltano keeps, for the loads into Fullstory."""
    ids = meltano("state", "list").split()
    with ThreadPoolExecutor(max_workers=2) as pool:
        kept = [json.loads(text) for text in pool.map(partial(meltano, "state", "get"), ids)]
    found = {key: value.get("singer_state", {}) for key, value in zip(ids, kept, strict=True)}
    return {key: value for key, value in found.items() if STATE_KEY in value}


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


def show_contents(database: Path) -> None:
    """Print what the sandbox holds, with one user as an example."""
    print(f"\nIn Fullstory (here the sandbox, {database}):")
    with sandbox(database) as api:
        counts = get(api, "/sandbox/stats")
        print(f"  {counts['users']:,} users, {counts['events']:,} events, {counts['jobs']:,} batch jobs")
        for user in get(api, "/v2/users?uid=user_1")["results"]:
            events = get(api, f"/sandbox/events?uid={quote(user['uid'])}")["results"]
            print(f"  for example {user['uid']}: {user['display_name']}, {user['email']}")
            print(f"    properties: {json.dumps(user['properties'])}")
            for event in events[:1]:
                amount, currency = (event["properties"].get(key) for key in ("amount", "currency"))
                print(
                    f"    {len(events)} events, one of them: {event['name']},"
                    f" {event['timestamp']}, {amount} {currency}"
                )


def show_counts(blocks: list[dict[str, Any]]) -> None:
    """Print where every record went, and the batch jobs."""
    print("\nWhere every record went:")
    print(f"  {'stream':<12}{'kind':<8}" + "".join(f"{name:>11}" for name in COUNTS))
    for block in blocks:
        for stream, counts in block["streams"].items():
            row = "".join(f"{counts[name]:>11,}" for name in COUNTS)
            print(f"  {stream:<12}{counts['kind']:<8}{row}")
    for block in blocks:
        for job in block["jobs"]:
            print(
                f"  batch job {job['id']}: {job['status']},"
                f" {job['imports']:,} {job['kind']} imported, {job['errors']:,} errors"
            )
        if block["rejects"]["count"]:
            print(f"  rejected records: {block['rejects']['path']}")


def show_state(found: dict[str, dict[str, Any]]) -> None:
    """Print where the state is and what is in it."""
    print("\nThe state, kept by Meltano in .meltano/meltano.db:")
    for state_id, state in found.items():
        block = state[STATE_KEY]
        print(f"  {state_id}")
        for stream, bookmark in state.get("bookmarks", {}).items():
            value = bookmark.get("replication_key_value")
            print(f"    bookmarks.{stream}: {bookmark.get('replication_key')} up to {value}")
        print(
            f"    {STATE_KEY}: run {block['run_id']}, {len(block['streams'])} stream(s),"
            f" {len(block['jobs'])} job(s), {len(block['responses'])} response(s),"
            f" {block['rejects']['count']} reject(s)"
        )
    command = os.path.relpath(BIN / "meltano")
    print(f"  Read one in full: {command} state get {next(iter(found))}")


def show_reports(blocks: list[dict[str, Any]]) -> None:
    """Print where the run reports are."""
    print("\nThe run reports:")
    for block in blocks:
        print(f"  {OUTPUT / ('run-' + block['run_id'] + '.json')}")


def main() -> None:
    """Print the summary of the latest loads."""
    found = states()
    if not found:
        sys.exit("No load has left a state yet. Run: meltano run crm-to-fullstory")
    blocks = [state[STATE_KEY] for state in found.values()]
    database = OUTPUT / "sandbox.db"
    if database.exists():
        show_contents(database)
    show_counts(blocks)
    show_state(found)
    show_reports(blocks)


if __name__ == "__main__":
    main()
