"""The main job through Meltano: first load, second load, and what Meltano keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.ecosystem.conftest import Demo
from tests.ecosystem.project import ROOT, STREAMS

CUSTOMERS, ORDERS = 200, 600


def block_of(state: dict[str, Any]) -> dict[str, Any]:
    """The target's block in a state."""
    block: dict[str, Any] = state["target_fullstory"]
    return block


def check_state(state: dict[str, Any], stream: str, kind: str, count: int) -> None:
    """The tap's bookmark is there, and every record is accounted for."""
    assert state["bookmarks"][stream]["replication_key_value"]
    block = block_of(state)
    assert block["streams"] == {
        stream: {
            "kind": kind,
            "received": count,
            "delivered": count,
            "rejected": 0,
            "merged": 0,
            "ignored": 0,
            "unchanged": 0,
            "dropped_properties": {},
            "undeclared_values": {},
        }
    }
    (job,) = block["jobs"]
    assert (job["status"], job["imports"], job["errors"]) == ("COMPLETED", count, 0)
    unresolved = {"count": 0, "files": []}
    assert block["rejects"] == {"count": 0, "path": None, "reasons": [], "unresolved": unresolved}


def test_first_load(demo: Demo) -> None:
    check_state(demo.states["customers"], "customers", "users", CUSTOMERS)
    check_state(demo.states["orders"], "orders", "events", ORDERS)


def test_second_load_through_the_schedule(demo: Demo) -> None:
    demo.sh("meltano schedule run nightly")
    second = {stream: demo.project.state(stream) for stream in STREAMS}
    check_state(second["customers"], "customers", "users", CUSTOMERS)
    check_state(second["orders"], "orders", "events", ORDERS)
    for stream, state in second.items():
        assert block_of(state)["run_id"] != block_of(demo.states[stream])["run_id"]
    # tap-jsonl reads its whole file again. Fullstory recognises the same batch of events by its
    # idempotency key and answers with the first load's job; users are updated once more.
    jobs = {stream: block_of(state)["jobs"][0]["id"] for stream, state in second.items()}
    first = {stream: block_of(state)["jobs"][0]["id"] for stream, state in demo.states.items()}
    assert jobs["orders"] == first["orders"]
    assert jobs["customers"] != first["customers"]


def test_meltano_leaves_the_projects_files_alone(demo: Demo) -> None:
    path = demo.project.path
    assert (path / "meltano.yml").read_text() == (ROOT / "meltano.yml").read_text()
    assert not (path / "plugins").exists()


def test_summary_names_files_that_exist(demo: Demo) -> None:
    reports = re.findall(r"output/\S+/run-\S+", demo.printed)
    assert len(reports) == 2
    for report in reports:
        block = json.loads((demo.project.path / report).read_text())
        assert block["run_id"] in report


def test_only_prod_has_the_real_address() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    addresses = {
        environment["name"]: environment["config"]["plugins"]["loaders"][0]["config"]["api_url"]
        for environment in project["environments"]
    }
    assert addresses == {"sandbox": "sandbox", "prod": "https://api.fullstory.com"}
    assert project["default_environment"] == "sandbox"
    assert project["send_anonymous_usage_stats"] is False
