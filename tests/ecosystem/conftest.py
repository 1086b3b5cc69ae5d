"""Shared by the tests that use the project as its users do."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
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
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Runs `make demo` once, in a copy of the project."""
    assert (BIN / "meltano").exists(), (
        "Meltano is not installed: run `make test`, or install .[dev]"
    )
    project = Project.copy_to(tmp_path_factory.mktemp("ecosystem") / "project")
    # -o: the environment is this one, whatever its age.
    done = project.run("make", "-o", ".venv/.installed", "demo")
    states = {stream: project.state(stream) for stream in STREAMS}
    return Demo(project, done.stdout, states)
