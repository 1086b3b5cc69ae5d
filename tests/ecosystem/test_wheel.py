"""The built wheel, in a clean environment."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.ecosystem.project import BIN, ROOT, Project

SAMPLE = ROOT / "examples/sample.singer.jsonl"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


def uv(*arguments: str | Path, cwd: Path) -> None:
    done = run(BIN / "uv", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Project.copy_to(tmp_path_factory.mktemp("wheel") / "project")
    uv("build", "--wheel", "--out-dir", project.path / "dist", cwd=project.path)
    (built,) = (project.path / "dist").glob("*.whl")
    return built


def test_what_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"target_fullstory"}
    assert "target_fullstory/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_without_the_sandbox_extra_and_with_it(wheel: Path, tmp_path: Path) -> None:
    uv("venv", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    target = python.with_name("target-fullstory")
    load = (target, "--config", ROOT / "examples/config.json", "--input", SAMPLE)

    uv("pip", "install", "--python", python, wheel, cwd=tmp_path)
    assert run(target, "--version", cwd=tmp_path).returncode == 0
    done = run(*load, cwd=tmp_path)
    assert done.returncode == 1
    assert "target-fullstory[sandbox]" in done.stderr
    assert "Traceback" not in done.stderr

    uv("pip", "install", "--python", python, f"{wheel}[sandbox]", cwd=tmp_path)
    done = run(*load, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    block = json.loads(done.stdout.splitlines()[-1])["target_fullstory"]
    delivered = {name: counts["delivered"] for name, counts in block["streams"].items()}
    assert delivered == {"customers": 20, "orders": 40}
    assert "holds 20 users, 40 events" in done.stderr
