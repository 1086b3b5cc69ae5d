"""A copy of the project as a user has it after `make demo`, and ways to run things in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests import executable

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PARTS = (
    ".env.example",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "examples",
    "meltano.yml",
    "pyproject.toml",
    "scripts",
    "target_fullstory",
)
STREAMS = ("customers", "orders")
FOREIGN = re.compile(r"MAKE|MFLAGS|MELTANO|TAP_|TARGET_|PYTEST")
"""Variables that would make a run depend on who started the tests."""


@dataclass(frozen=True)
class Project:
    """A directory with the project in it."""

    path: Path

    @classmethod
    def copy_to(cls, path: Path) -> Project:
        """Copy the project's files, with this environment as its `.venv`."""
        path.mkdir(parents=True)
        for name in PARTS:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, path / name, ignore=ignored)
            else:
                shutil.copy2(source, path / name)
        (path / ".venv").symlink_to(BIN.parent)
        return cls(path)

    def run(self, *command: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command here; its output is shown where it ends otherwise than expected."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return _as_expected(done, code)

    def execute(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the target here as `run` does, but in a fork; None allows any exit code."""
        done = executable.fork(arguments, directory=self.path, environment=environment())
        return done if code is None else _as_expected(done, code)

    def state(self, stream: str, environment: str = "sandbox") -> dict[str, Any]:
        """The Singer state that Meltano keeps of a stream's load."""
        state_id = f"{environment}:tap-jsonl-{stream}-to-target-fullstory"
        done = self.run("meltano", "--log-level=error", "state", "get", state_id)
        state: dict[str, Any] = json.loads(done.stdout)["singer_state"]
        return state


def _as_expected(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    shown = f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, shown
    # Meltano shows its own where a loader ends before all input is read.
    assert code != 0 or "Traceback" not in shown, shown
    return done


def environment() -> dict[str, str]:
    """The environment without what would make a run depend on who started the tests."""
    own = {k: v for k, v in os.environ.items() if not FOREIGN.match(k)}
    return own | {"PATH": f"{BIN}{os.pathsep}{own['PATH']}"}


def loader(path: Path = ROOT / "meltano.yml") -> dict[str, Any]:
    """The loader's definition in a meltano.yml."""
    plugins = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]
    (found,) = (p for p in plugins["loaders"] if p["name"] == "target-fullstory")
    definition: dict[str, Any] = found
    return definition


@cache
def about() -> dict[str, Any]:
    """What `--about` prints."""
    done = executable.fork(["--about", "--format", "json"], directory=ROOT)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed
