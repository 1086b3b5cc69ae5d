"""The main job through Meltano: first load, second load, and what Meltano keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.ecosystem.conftest import Demo
from tests.ecosystem.project import ROOT, STREAMS

CUSTOMERS, ORDERS = 200, 600


def block_of(state: dict[str, Any]) -> dict[str, Any]:
    """The target's block in a state."""
    block: dict[str, Any] = state["target_fullstory"]
    return block


def check_state(state: dict[str, Any], stream: str, kind: str, count: int, *, unchanged: bool) -> None:
    """The tap's bookmark is there, and every record is accounted for: sent, or known from the load before."""
    assert state["bookmarks"][stream]["replication_key_value"]
    block = block_of(state)
    assert block["streams"] == {
        stream: {
            "kind": kind,
            "received": count,
            "delivered": 0 if unchanged else count,
            "rejected": 0,
            "merged": 0,
            "ignored": 0,
            "unchanged": count if unchanged else 0,
            "dropped_properties": {},
            "undeclared_values": {},
        }
    }
    jobs = [(job["status"], job["imports"], job["errors"]) for job in block["jobs"]]
    assert jobs == ([] if unchanged else [("COMPLETED", count, 0)])
    unresolved = {"count": 0, "files": []}
    assert block["rejects"] == {"count": 0, "path": None, "reasons": [], "unresolved": unresolved}


def test_first_load(demo: Demo) -> None:
    check_state(demo.states["customers"], "customers", "users", CUSTOMERS, unchanged=False)
    check_state(demo.states["orders"], "orders", "events", ORDERS, unchanged=False)


@pytest.mark.meltano
def test_second_load_through_the_schedule(untouched_demo: Demo) -> None:
    """tap-jsonl reads its whole files again, and nothing of them is sent."""
    demo = untouched_demo
    demo.sh("meltano schedule run nightly")
    second = {stream: demo.project.state(stream) for stream in STREAMS}
    check_state(second["customers"], "customers", "users", CUSTOMERS, unchanged=True)
    check_state(second["orders"], "orders", "events", ORDERS, unchanged=True)
    for stream, state in second.items():
        assert block_of(state)["run_id"] != block_of(demo.states[stream])["run_id"]
    printed = demo.sh("python scripts/summary.py").stdout
    assert "  200 users, 600 events, 2 jobs\n" in printed
    table = printed[printed.index("Where every record went:") : printed.index("\nThe run reports:")]
    assert f"```\n{table}```" in (ROOT / "README.md").read_text()


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
