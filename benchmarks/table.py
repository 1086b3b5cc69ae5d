"""The table that is printed: Markdown, to be read as it is or pasted into a document."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import which

_HEAD = ("measure", "target", "reached", "")


@dataclass(frozen=True)
class Row:
    """A measure.

    Attributes:
        measure: What was measured.
        target: What it is to reach.
        reached: What it reached.
        met: Whether that is enough; None where it could not be measured.
    """

    measure: str
    target: str
    reached: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "ok", False: "MISSED", None: "not measured"}[self.met]


def render(rows: list[Row]) -> str:
    """The table, its columns aligned."""
    cells = [_HEAD, *((row.measure, row.target, row.reached, row.verdict) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def machine() -> str:
    """The machine and the versions that the figures hold for, in one line."""
    parts = [
        f"{os.cpu_count()} cores ({_processor()})",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("msgspec", "singer-sdk", "requests")),
        f"Node {_node()}",
    ]
    if hasattr(os, "getloadavg"):
        parts.append(f"load {os.getloadavg()[0]:.1f} at the start")
    return ", ".join(parts)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or sys.platform


def _node() -> str:
    executable = which("node")
    if executable is None:
        return "not installed"
    said = subprocess.run(  # noqa: S603 - our own command
        [executable, "--version"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip().removeprefix("v")
