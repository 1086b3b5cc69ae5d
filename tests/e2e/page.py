"""The examples of docs/warehouse.md: its fenced blocks, each with the section that it stands in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.ecosystem.project import ROOT

PAGE = ROOT / "docs/warehouse.md"
_PART = re.compile(r"^## (?P<title>.+)\n|^```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    section: str
    line: int
    language: str
    text: str


def read_page(path: Path = PAGE) -> list[Block]:
    """All blocks of the page, in order."""
    text = path.read_text(encoding="utf-8")
    found = []
    section = ""
    for part in _PART.finditer(text):
        if part["title"]:
            section = part["title"]
            continue
        line = text.count("\n", 0, part.start()) + 1
        found.append(Block(section, line, part["language"], part["text"]))
    return found
