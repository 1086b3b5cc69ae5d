"""The main job through Meltano: first load, second load, and what Meltano keeps."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.ecosystem.conftest import Demo
from tests.ecosystem.project import ROOT, STREAMS, Project

CUSTOMERS, ORDERS = 200, 600


def held(project: Project) -> dict[str, int]:
    """What the sandbox holds, counted in its database."""
    path = project.path / "output/target-fullstory/sandbox.db"
    with sqlite3.connect(path) as database:
        return {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("users", "events")
        }


def check_state(state: dict[str, Any], stream: str, kind: str, count: int) -> None:
    """The tap's bookmark is there, and every record is accounted for."""
    assert state["bookmarks"][stream]["replication_key_value"]
    block = state["target_fullstory"]
    assert block["streams"] == {
        stream: {
            "kind": kind,
            "received": count,
            "delivered": count,
            "rejected": 0,
            "merged": 0,
            "ignored": 0,
            "dropped_properties": {},
        }
    }
    (job,) = block["jobs"]
    assert (job["status"], job["imports"], job["errors"]) == ("COMPLETED", count, 0)
    assert block["rejects"] == {"count": 0, "path": None}


def test_first_load(demo: Demo) -> None:
    check_state(demo.states["customers"], "customers", "users", CUSTOMERS)
    check_state(demo.states["orders"], "orders", "events", ORDERS)


def test_second_load_through_the_schedule(demo: Demo) -> None:
    demo.sh("meltano schedule run nightly")
    second = {stream: demo.project.state(stream) for stream in STREAMS}
    check_state(second["customers"], "customers", "users", CUSTOMERS)
    check_state(second["orders"], "orders", "events", ORDERS)
    for stream, state in second.items():
        first = demo.states[stream]["target_fullstory"]
        assert state["target_fullstory"]["run_id"] != first["run_id"]
    # tap-jsonl reads its whole file again; Fullstory recognises the same batch of events.
    assert held(demo.project) == {"users": CUSTOMERS, "events": ORDERS}


def test_meltano_leaves_the_projects_files_alone(demo: Demo) -> None:
    path = demo.project.path
    assert (path / "meltano.yml").read_text() == (ROOT / "meltano.yml").read_text()
    assert not (path / "plugins").exists()


def test_summary_names_files_that_exist(demo: Demo) -> None:
    reports = demo.printed.partition("The run reports:")[2].split()
    assert len(reports) == 2
    for report in reports:
        block = json.loads((demo.project.path / report).read_text())
        assert block["run_id"] in report


def test_prod_asks_for_the_key_before_anything_is_sent(demo: Demo, tmp_path: Path) -> None:
    done = demo.project.run(
        *("meltano", "--environment=prod", "run", "tap-jsonl-customers", "target-fullstory"),
        code=1,
        TAP_JSONL_CUSTOMERS_PATH="examples/customers.jsonl",
        TARGET_FULLSTORY_OUTPUT_DIR=str(tmp_path),
    )
    assert "TARGET_FULLSTORY_API_KEY" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
