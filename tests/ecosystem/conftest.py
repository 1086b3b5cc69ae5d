"""Shared by the tests that use the project as its users do."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.ecosystem.project import BIN, STREAMS, Project

KEY = "NA1.a-key-that-must-not-be-seen"


@dataclass(frozen=True)
class Demo:
    """The project after `make demo`."""

    project: Project
    printed: str
    states: dict[str, dict[str, Any]]
    done: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the documentation, once: several tests look at what it does.

        A key is set, and no other address than the sandbox.
        """
        if script not in self.done:
            self.done[script] = self.project.run(
                *("bash", "-euo", "pipefail", "-c", script),
                TARGET_FULLSTORY_API_KEY=KEY,
                TARGET_FULLSTORY_API_URL="sandbox",
            )
        return self.done[script]


@pytest.fixture(scope="session")
def made_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after `make demo`, which runs once for all processes of the tests: only to be copied."""
    assert (BIN / "meltano").exists(), "Meltano is not installed: run `make test`, or install .[dev]"
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    left = shared / "demo.json"
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not left.exists():
            left.write_text(json.dumps(_make_demo(Project.copy_to(shared / "demo"))))
    return shared / "demo"


@pytest.fixture(scope="session")
def demo(made_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A project after `make demo`: each process of the tests gets a copy."""
    return _copy_of(made_demo, tmp_path_factory.mktemp("ecosystem"))


@pytest.fixture
def untouched_demo(made_demo: Path, tmp_path: Path) -> Demo:
    """A project after `make demo`, in which nothing else has run since."""
    return _copy_of(made_demo, tmp_path)


def _copy_of(made: Path, directory: Path) -> Demo:
    _copy(made, directory / "project")
    return Demo(Project(directory / "project"), **json.loads(made.with_suffix(".json").read_text()))


def _make_demo(project: Project) -> dict[str, Any]:
    # -o: the environment is this one, whatever its age.
    done = project.run("make", "-o", ".venv/.installed", "demo")
    states = {stream: project.state(stream) for stream in STREAMS}
    return {"printed": done.stdout, "states": states}


def _copy(demo: Path, path: Path) -> None:
    """Copy it but for the environments of tap and target, which are large and stay as they are."""
    environments = {".meltano/extractors", ".meltano/loaders"}

    def ignored(directory: str, names: list[str]) -> list[str]:
        here = Path(directory).relative_to(demo)
        return [name for name in names if str(here / name) in environments]

    shutil.copytree(demo, path, symlinks=True, ignore=ignored)
    for name in environments:
        (path / name).symlink_to(demo / name)
