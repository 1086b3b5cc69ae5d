"""The operator's commands through Meltano: the examples of docs/commands.md, run."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest
import yaml

from tests.ecosystem.conftest import KEY, Demo
from tests.ecosystem.pages import BLOCKS
from tests.ecosystem.project import loader

pytestmark = pytest.mark.meltano

OWN = [block for block in BLOCKS if block.document.name == "commands.md"]
SCRIPTS = [block for block in OWN if block.language == "sh" and not block.text.startswith("#!")]
(UTILITY,) = (block for block in OWN if block.text.startswith("#!"))
(SCHEDULE,) = (block for block in OWN if block.language == "yaml")
COMMANDS = ("check", "preview", "plan", "jobs", "replay", "rejects", "snapshot")
OUTPUT = "output/target-fullstory"


def example(part: str) -> str:
    """The example with this in it."""
    (block,) = (block for block in SCRIPTS if part in block.text)
    return block.text.strip()


def test_every_example_has_a_rule() -> None:
    assert {block.language for block in OWN} == {"sh", "yaml", "text"}
    told = [line for block in SCRIPTS for line in re.findall(r"target-fullstory:(\w+)", block.text)]
    assert set(told) == set(COMMANDS)


def test_the_loader_lists_them(demo: Demo) -> None:
    assert list(loader()["commands"]) == list(COMMANDS)
    printed = demo.sh(example("--list-commands")).stdout
    assert re.findall(r"target-fullstory:(\w+) ", printed) == list(COMMANDS)


def test_check(demo: Demo) -> None:
    done = demo.sh(example("target-fullstory:check"))
    table, brace, shown = done.stdout.partition("{")
    for row in ("stream *customers  ok", "stream *orders     ok", "batch jobs         ok"):
        assert row in table
    assert {one["verdict"] for one in json.loads(brace + shown)["findings"]} == {"ok"}
    assert KEY not in done.stdout + done.stderr


def test_preview(demo: Demo) -> None:
    printed = demo.sh(example("target-fullstory:preview")).stdout
    assert "orders (events): 600 records, 600 would be sent" in printed
    assert '"uid": "user_' in printed, "the mapping came through Meltano"
    assert "customers (users): 20 records, 20 would be sent" in printed


def test_plan(demo: Demo) -> None:
    printed = demo.sh(example("target-fullstory:plan")).stdout
    head, row = (line.split() for line in printed.splitlines()[:2])
    figures = dict(zip(head, row, strict=True))
    assert (figures["stream"], figures["received"]) == ("customers", "200")


def test_an_approved_plan(demo: Demo) -> None:
    """The mapping changes, and so do all users."""
    fields = {"uid": {"template": "user_{id}"}}
    customers = {"kind": "users", "sync": "changed", "fields": fields, "properties": ["plan"]}
    settings = {"API_URL": "sandbox", "OUTPUT_DIR": "output/approved"}

    def run(script: str, code: int = 0, **variables: str) -> dict[str, Any]:
        mapping = {"STREAMS": json.dumps({"customers": customers})}
        given = {f"TARGET_FULLSTORY_{name}": value for name, value in (settings | mapping).items()}
        done = demo.project.run("bash", "-euo", "pipefail", "-c", script, code=code, **given, **variables)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
        return found

    (demo.project.path / "limit.json").write_text('{"max_changed_percent": 5}')
    load = example('--approve "$PLAN_ID"').replace(" --approve", " --config limit.json --approve")
    run(example("target-fullstory:plan").splitlines()[0] + "\n" + load.replace(' --approve "$PLAN_ID"', ""))
    customers["properties"] = ["plan", "seats"]
    run(load.replace(' --approve "$PLAN_ID"', ""), code=1)
    options = "--config limit.json --format json < customers.jsonl | tr -d '\\n'"
    plan = f"meltano --log-level=error invoke target-fullstory:plan {options}"
    planned = run(plan)
    (beyond,) = planned["beyond"]
    assert (beyond["setting"], beyond["known"]) == ("max_changed_percent", 200)
    done = run(load, PLAN_ID=planned["plan_id"])["target_fullstory"]["streams"]["customers"]
    assert (done["received"], done["delivered"]) == (200, beyond["changed"])


def test_jobs(demo: Demo) -> None:
    printed = demo.sh(example("--timeout 600 --format json")).stdout
    _, brace, shown = printed.partition("{")
    (job,) = json.loads(brace + shown)["jobs"]
    assert job == demo.states["orders"]["target_fullstory"]["jobs"][0]


def test_the_nightly_script(untouched_demo: Demo) -> None:
    """Of what is loaded anew: the jobs of the first load have been asked for above."""
    output = untouched_demo.project.path / OUTPUT
    shutil.rmtree(output / "snapshot")
    (output / "sandbox.db").unlink()
    printed = untouched_demo.sh(example("meltano run crm-to-fullstory")).stdout
    assert printed.count("COMPLETED") == 2
    assert printed.rstrip().endswith("Everything is in Fullstory.")


def test_replay(demo: Demo) -> None:
    output = demo.project.path / OUTPUT
    customer = {"id": 900001, "full_name": "Ada", "contact": {"email": "ada@example.com"}}
    reject = {"stream": "customers", "kind": "users", "stage": "map", "code": "x", "message": "y"}
    (output / "rejects-r.jsonl").write_text(json.dumps(reject | {"record": customer}) + "\n")
    before = set(output.glob("run-*.json"))
    demo.sh(example("target-fullstory:replay"))
    (report,) = set(output.glob("run-*.json")) - before
    assert json.loads(report.read_text())["streams"]["customers"]["delivered"] == 1


def test_rejects(demo: Demo) -> None:
    """Those of the test above were replayed; the command fails where one is unresolved."""
    demo.sh(example("target-fullstory:rejects"))
    rejects = demo.project.path / OUTPUT / "rejects-s.jsonl"
    rejects.write_text('{"stream": "s", "kind": "users", "stage": "map", "code": "x", "message": "y"}\n')
    environment = {"TARGET_FULLSTORY_API_KEY": KEY, "TARGET_FULLSTORY_API_URL": "sandbox"}
    demo.project.run("bash", "-c", example("target-fullstory:rejects"), code=1, **environment)
    rejects.unlink()


def test_snapshot(untouched_demo: Demo) -> None:
    done = untouched_demo.sh(example("target-fullstory:snapshot"))
    assert "The snapshot output/target-fullstory/snapshot" in done.stderr
    (shown,) = (block.text for block in OWN if block.language == "text" and "last load" in block.text)
    changing = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d| +$", re.MULTILINE)
    assert changing.sub("", done.stdout) == changing.sub("", shown)


@pytest.fixture
def with_utility(untouched_demo: Demo) -> Demo:
    """The project with the utility and its schedule."""
    project = untouched_demo.project.path / "meltano.yml"
    script = untouched_demo.project.path / "fullstory-jobs.sh"
    value: dict[str, Any] = yaml.safe_load(project.read_text())
    added = yaml.safe_load(SCHEDULE.text)
    for name in ("jobs", "schedules"):
        value[name] += added[name]
    value["plugins"] |= added["plugins"]
    project.write_text(yaml.safe_dump(value))
    script.write_text(UTILITY.text)
    script.chmod(0o755)
    return untouched_demo


def test_the_check_in_the_schedule(with_utility: Demo) -> None:
    demo = with_utility
    # The loads have their own test: here the task behind them is run, and the job is checked.
    done = demo.sh("meltano run fullstory-jobs:wait")
    assert (done.stdout + done.stderr).count("COMPLETED  ") == 2
    listed = demo.sh("meltano schedule list --format json").stdout
    (schedule,) = (
        one for one in json.loads(listed)["schedules"]["job"] if one["name"] == "nightly-and-check"
    )
    assert schedule["job"]["tasks"][-1] == "fullstory-jobs:wait"
    demo.sh("meltano run --dry-run crm-and-check")


def test_meltano_passes_the_exit_code_on(demo: Demo) -> None:
    state = {"jobs": [{"id": "unknown", "kind": "users"}]}
    demo.project.run(
        *("bash", "-c", 'echo "$0" | meltano invoke target-fullstory:jobs --state -'),
        json.dumps(state),
        code=1,
        TARGET_FULLSTORY_API_URL="sandbox",
    )
