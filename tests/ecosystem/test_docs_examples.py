"""Every fenced example in the documentation, run or held against the real thing."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from target_fullstory.sandbox import Sandbox, SandboxOptions
from tests.conftest import KEY as SANDBOX_KEY
from tests.ecosystem.conftest import KEY, Demo
from tests.ecosystem.example_run import FILES, RULES, ExampleRun, without_what_changes
from tests.ecosystem.pages import BLOCKS, PAGES, Block, Example, examples
from tests.ecosystem.project import ROOT, Project, loader

ELSEWHERE = {"commands.md", "response-webhook.md", "warehouse.md"}
"""Pages whose examples have a test module of their own, or are run by `make e2e`."""
HERE = [block for block in BLOCKS if block.document.name not in ELSEWHERE]
EXAMPLES = examples(HERE)
OF_EXAMPLES = {block for example in EXAMPLES for block in example.blocks}
OTHERS = [block for block in HERE if block not in OF_EXAMPLES]
"""Blocks of sections without a load of their own: they are about the project after `make demo`."""


def others(info: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [b for b in OTHERS if b.info == info], ids=str)


# Nothing is left out


def test_every_block_has_a_rule() -> None:
    # A block without a language is no example: a line of a log, say.
    known = {"", "sh", "sh new project", "sh postgres", "sh sandbox", "text", "yaml meltano"}
    assert {block.info for block in OTHERS} <= known
    for example in EXAMPLES:
        for block in example.results:
            assert block.info in RULES, f"{block}: no rule for {block.info!r}"


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_example_has_an_input_and_a_result(example: Example) -> None:
    assert example.records, f"{example}: settings without records to load"
    assert example.results, f"{example}: records, and nothing tells what becomes of them"
    streams = example.settings.get("streams", {})
    assert len(streams) <= len(example.records), f"{example}: a stream is mapped and has no record"


def test_a_wrong_page_is_noticed(tmp_path: Path, sandbox: Sandbox) -> None:
    """Each kind of result is compared, not only read."""
    settings = {"streams": {"people": {"kind": "users"}}, "max_rejected_records": -1}
    records = {"people": [{"uid": "a"}, {"uid": None}]}
    run = ExampleRun(Example((_block("yaml", settings), _block("json records", records))), tmp_path, sandbox)
    run.load()
    right: dict[str, Any] = {
        "json users": [{"uid": "a", "properties": {}}],
        "json events": [],
        "json state": {"version": 1},
        "json rejects": [{"code": "missing_uid"}],
    }
    wrong: dict[str, Any] = {
        "json users": [{"uid": "b", "properties": {}}],
        "json events": [{"name": "x"}],
        "json state": {"version": 2},
        "json rejects": [{"code": "missing_name"}],
    }
    for info, shown in right.items():
        run.check(_block(info, shown))
        with pytest.raises(AssertionError, match=PAGES[0].name):
            run.check(_block(info, wrong[info]))


def _block(info: str, value: Any) -> Block:
    language, _, role = info.partition(" ")
    return Block(PAGES[0], "", 1, language, role, json.dumps(value))


# Loads


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(job_seconds=0.05, api_key=SANDBOX_KEY)) as running:
        yield running


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_examples(example: Example, tmp_path: Path, sandbox: Sandbox) -> None:
    run = ExampleRun(example, tmp_path, sandbox)
    run.load()
    for block in example.results:
        run.check(block)


# Meltano


@others("yaml meltano")
def test_parts_of_a_meltano_project(block: Block, tmp_path: Path) -> None:
    (((kind, (shown,)),)) = yaml.safe_load(block.text)["plugins"].items()
    # What a page shows of a plugin of this project comes on top of that.
    ours = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"][kind]
    plugin = next((one for one in ours if one["name"] == shown["name"]), {}) | shown
    head = {"project_id": "docs", "send_anonymous_usage_stats": False}
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(head | {"plugins": {kind: [plugin]}}))
    command = ("meltano", "--log-level=error", "config", "print", plugin["name"])
    printed = json.loads(Project(tmp_path).run(*command).stdout)
    assert shown.get("config", {}).items() <= printed.items()
    extras = json.loads(Project(tmp_path).run(*command, "--extras").stdout)
    for name in shown.keys() & {"schema", "select", "metadata"}:
        assert extras[f"_{name}"] == shown[name]


@others("sh new project")
def test_a_new_project_takes_the_definition(block: Block, tmp_path: Path) -> None:
    """With all settings and commands, installed from a clone."""
    head = "project_id: docs\nsend_anonymous_usage_stats: false\ndefault_environment: dev\n"
    (tmp_path / "meltano.yml").write_text(f"{head}environments:\n- name: dev\n")
    project = Project(tmp_path)
    script = block.text.replace("/path/to/target-fullstory", str(ROOT))
    project.run("bash", "-euo", "pipefail", "-c", script)
    added, ours = loader(tmp_path / "meltano.yml"), loader()
    assert added["pip_url"] == f"-e {ROOT}[sandbox]"
    assert added["commands"] == ours["commands"]
    names, known = ([one["name"] for one in plugin["settings"]] for plugin in (added, ours))
    assert names == known
    text = '{"type":"SCHEMA","stream":"users","schema":{"properties":{"uid":{}}},"key_properties":["uid"]}'
    (tmp_path / "input").write_text(f'{text}\n{{"type":"RECORD","stream":"users","record":{{"uid":"u"}}}}\n')
    project.run("bash", "-c", "meltano invoke target-fullstory < input")
    (report,) = (tmp_path / "output/target-fullstory").glob("run-*.json")
    found = json.loads(report.read_text())
    assert found["config"]["api_url"] == "sandbox"
    assert found["streams"]["users"]["delivered"] == 1


# Commands


def check_long(demo: Demo, command: list[str]) -> None:
    """Check a command that takes longer than a test may (`make demo` has run for the fixture)."""
    if command[0] == "make":
        demo.project.run("make", "-n", *command[1:])
        return
    options = demo.project.run(*command[:3], "--help").stdout
    for option in command[3:]:
        assert option.isdecimal() or option in options, command


@others("sh")
def test_commands_run(demo: Demo, block: Block) -> None:
    lines = [line.partition(" #")[0].split() for line in block.text.splitlines()]
    if all(line[0] == "make" or line[:3] == ["python", "-m", "benchmarks"] for line in lines):
        for line in lines:
            check_long(demo, line)
        return
    if "jq " in block.text and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    data = demo.project.path / "data"
    if not data.exists():
        data.symlink_to("examples")
    done = demo.sh(block.text.strip())
    assert KEY not in done.stdout + done.stderr
    written = [path for path in (demo.project.path / "output").rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


@others("sh sandbox")
def test_the_sandbox_is_asked(demo: Demo, block: Block) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    printed = demo.project.run("bash", "-euc", block.text.replace("8765", port)).stdout
    parts = [part for part in re.split(r"\n|(?<=\})(?=\{)", printed) if part.startswith("{")]
    offered, stats, events, users = map(json.loads, parts)
    assert "GET /sandbox/stats" in offered["sandbox"]
    assert stats["users"] >= 200
    assert [event["user"]["uid"] for event in events["results"]] == ["user_1"] * 2
    assert [user["uid"] for user in users["results"]] == ["user_1"]


@others("text")
def test_the_output_shown_is_what_is_printed(demo: Demo, block: Block) -> None:
    before = BLOCKS[BLOCKS.index(block) - 1]
    if before.text.strip() == "make demo":
        printed = demo.printed[demo.printed.index("In Fullstory") :]
    else:
        printed = demo.sh(before.text.strip()).stdout
    shown, real = (
        re.sub(r"up to \S+", "up to <time>", without_what_changes(text)).strip()
        for text in (block.text, printed)
    )
    assert shown == real


# Links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*\n(?:.*\n)*?```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ +(.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, f"{page.name}: {link}"


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Documentation\n")[2].partition("\n## ")[0]
    for page in PAGES:
        if page.parent == ROOT / "docs":
            assert section.count(f"(docs/{page.name})") == 1, page.name


# For the pages with a test module of their own


def load(directory: Path, config: dict[str, Any], lines: list[Any], code: int = 0) -> Any:
    """Load into the embedded sandbox; the state block."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config | {"api_url": "sandbox"}))
    (directory / "input.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = Project(directory).execute(*FILES, code=code)
    return json.loads(done.stdout.splitlines()[-1])["target_fullstory"]


def shape(value: Any) -> Any:
    """A value's structure: keys and types, an item for a list."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__
