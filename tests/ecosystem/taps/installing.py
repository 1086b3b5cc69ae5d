"""Puts a tap into an environment of its own and runs it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ecosystem.project import BIN, FOREIGN
from tests.ecosystem.taps.known import Tap

_INSTALL_SECONDS = 300
_RUN_SECONDS = 120


@dataclass(frozen=True)
class Installed:
    """A tap that can be run, with a directory for its files."""

    tap: Tap
    environment: Path
    directory: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin/python"

    def file(self, name: str, content: Any) -> str:
        """Write a JSON file; returns its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def run(self, *arguments: str, program: tuple[str, ...] = ()) -> str:
        """Run the tap, or another program that starts it; returns what it prints."""
        start = program or (str(self.environment / "bin" / self.tap.executable),)
        done = subprocess.run(
            [*start, *arguments],
            cwd=self.directory,
            env={k: v for k, v in os.environ.items() if not FOREIGN.match(k)},
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{self.tap.package}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def read(self, config: dict[str, Any], catalog: Any = None, state: dict[str, Any] | None = None) -> str:
        """Run it on a configuration, a catalog and a state."""
        arguments = ["--config", self.file("config.json", config)]
        if catalog is not None:
            arguments += ["--catalog", self.file("catalog.json", catalog)]
        if state is not None:
            arguments += ["--state", self.file("state.json", state)]
        return self.run(*arguments)

    def discover(self, config: dict[str, Any]) -> Any:
        """Its catalog."""
        return json.loads(self.run("--config", self.file("config.json", config), "--discover"))


def install(tap: Tap, directory: Path) -> Installed:
    """Install a tap below a directory, unless it is there."""
    environment = directory / "environments" / tap.package
    if not (environment / "bin" / tap.executable).exists():
        python = tap.python if tap.python != "3.11" else sys.executable
        _uv("venv", "--quiet", "--clear", "--python", python, str(environment))
        _uv(
            *("pip", "install", "--quiet", "--python", str(environment / "bin/python")),
            *(f"{tap.package}=={tap.version}", *tap.also),
        )
    work = directory / "work" / tap.package
    work.mkdir(parents=True, exist_ok=True)
    return Installed(tap, environment, work)


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [str(BIN / "uv"), *arguments], capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"uv {' '.join(arguments)}: {done.stderr}"


def choose(catalog: Any, **methods: dict[str, Any]) -> Any:
    """The catalog with these streams selected, each with its metadata; the others are not."""
    for stream in catalog["streams"]:
        chosen = methods.get(stream["tap_stream_id"].replace("-", "_"))
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"] |= {"selected": chosen is not None, **(chosen or {})}
    return catalog
