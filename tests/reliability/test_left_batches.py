"""Batches with `sync: changed` that a killed run left: the next run settles them, however it batches."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.sandbox import Sandbox
from tests import executable
from tests.conftest import USERS, Outcome, SandboxApi, event, schema, state, user

pytestmark = pytest.mark.nights

Run = Callable[..., Outcome]
CHANGED = {"users": {"kind": "users", "sync": "changed"}, "events": {"kind": "events", "sync": "changed"}}
EVENTS = schema(
    "events",
    {
        "name": "string",
        "timestamp": {"type": ["null", "string"], "format": "date-time"},
        "user": {"type": "object", "properties": {"uid": {"type": "string"}, "id": {"type": "string"}}},
        "amount": "number",
    },
)
REFUSED = 17
"""The number of an event that Fullstory refuses each time."""


def _kill_at(place: str) -> None:
    """In the process that is to be killed: end it before or after a call of a method."""
    module, cls, name, when, number = place.split()
    of = getattr(import_module(f"target_fullstory.{module}"), cls)
    method = getattr(of, name)
    calls: list[int] = []

    def killed(self: Any, *args: Any, **more: Any) -> Any:
        if name == "call" and args[0] == "GET":
            return method(self, *args, **more)
        calls.append(1)
        last = len(calls) == int(number)
        if last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *args, **more)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(of, name, killed)


def killed_run(directory: Path, lines: list[str], place: str, **config: Any) -> None:
    """Run the target until it comes to a place, where it is killed."""
    path = directory / "killed.json"
    path.write_text(json.dumps(config))
    data = "".join(f"{line}\n" for line in lines).encode()
    done = executable.fork(
        ["--config", str(path)], data, directory=Path.cwd(), first=partial(_kill_at, place)
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


PLACES = [
    ("api.client Client call before 2", "a request leaves"),
    ("api.client Client call after 2", "its answer is here"),
    ("sending.outbox Outbox accepted after 1", "it is noted"),
    ("sending.outbox Outbox accepted after 2", "another is noted"),
    ("sending.job_ends JobEnds book before 1", "its job has ended"),
    ("accounting.rejects Rejects sync after 1", "its rejects are on the disk"),
    ("sending.outbox Outbox book before 1", "its end is not booked yet"),
    ("sending.outbox Outbox book after 1", "its end is booked"),
    ("sending.outbox Outbox book after 2", "another end is booked"),
    ("snapshot.snapshot Snapshot book before 2", "the snapshot does not have it yet"),
    ("sending.job_journal JobJournal end before 1", "the snapshot has it"),
    ("sending.job_journal JobJournal end after 1", "it is gone"),
]
"""Where a run is killed: of which module's class which method, before or after which call of it."""


OF_JOBS = ("accepted", "job_ends")
FEW = ("its answer is here", "its end is not booked yet", "the snapshot does not have it yet")
"""Where `make test` kills a run of single requests; `make soak` kills one at each place."""


@pytest.mark.parametrize(
    ("place", "delivery"),
    [
        *(pytest.param(place, "batch", id=f"batch: {name}") for place, name in PLACES),
        *(
            pytest.param(place, "single", id=f"single: {name}", marks=() if name in FEW else pytest.mark.soak)
            for place, name in PLACES
            if not any(part in place for part in OF_JOBS)
        ),
    ],
)
def test_killed_and_run_again_in_another_way(
    place: str,
    delivery: str,
    run_target: Run,
    sandbox: Sandbox,
    api: SandboxApi,
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    rng = random.Random(place + delivery)
    users = [user(n % 20, seats=n // 20) for n in range(60)]
    events = [event(n, amount=n) for n in range(60)]
    events[REFUSED] = event(REFUSED, amount=REFUSED, user={"id": "999999"})
    lines = [USERS, EVENTS]
    for begin in range(0, 60, 15):
        lines += [*users[begin : begin + 15], *events[begin : begin + 15], state(a=begin)]
    settings = {"api_url": sandbox.url, "streams": CHANGED, "max_rejected_records": None}
    killed_run(
        tmp_path,
        lines,
        place,
        **config | settings | {"delivery": delivery, "batch_size_rows": rng.randint(7, 25)},
    )
    # The tap begins anew, and brings the events in another order.
    rng.shuffle(events)
    again = [USERS, EVENTS, *users, *events, state(a=1)]
    other = rng.choice(["single", "batch", "auto"])
    done = run_target(again, **settings, delivery=other, batch_size_rows=rng.randint(5, 60))
    assert done.code == 0, done.stderr
    numbers = Counter(one["properties"]["amount"] for one in api.events())
    assert numbers == Counter(n for n in range(60) if n != REFUSED), done.stderr
    assert {reject["request"]["properties"]["amount"] for reject in done.rejects} == {REFUSED}
    assert [api.user(f"u{n}")["properties"]["seats"] for n in range(20)] == [2] * 20
    assert [path.name for path in done.output_dir.glob("[bj]*-*")] == []
    for counts in done.block["streams"].values():
        ends = ("delivered", "rejected", "merged", "ignored", "unchanged")
        assert counts["received"] == sum(counts[end] for end in ends)
    third = run_target(again[:2] + again[-61:], **settings)
    found = third.block["streams"]["events"]
    assert (found["unchanged"], found["rejected"]) == (59, 1)
