"""The documentation as a sequence of fenced blocks, and what a section's blocks are for.

The word after a block's language says what it is for; it does not show on the page:

| block | what it is |
|---|---|
| `yaml` | settings of a load |
| `yaml meltano` | a part of a meltano.yml |
| `json records` | the input: stream name to records |
| `json users`, `json events` | what Fullstory holds then, all of it |
| `json rejects`, `json state` | what the run has written, or a part of it |
| `json` | a `record` and the `request` that it becomes |
| `text error` | the one line that ends the run |
| `sh`, `python` | what a user runs; `text` after it is what that prints |
| `sh new project` | what is run in a Meltano project without plugins |
| `sh postgres` | what `make e2e` runs |
| `sh sandbox` | what starts a sandbox, asks it and stops it |

The blocks of a section are one example, in their order, up to settings that follow a result.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from tests.ecosystem.project import ROOT

_INPUT = {"yaml", "json records"}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
_HEADING_OR_BLOCK = re.compile(
    r"^(?:#+ +(?P<heading>.+)|```(?P<info>.*)\n(?P<text>(?:.*\n)*?)```)$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        document: The page.
        section: The heading above it.
        line: Where it begins.
        language: The first word after the fence.
        role: The words after that.
        text: What is in it.
    """

    document: Path
    section: str
    line: int
    language: str
    role: str
    text: str

    @property
    def info(self) -> str:
        """Language and role."""
        return f"{self.language} {self.role}".strip()

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def _blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found, section = [], ""
    for part in _HEADING_OR_BLOCK.finditer(text):
        if part["heading"]:
            section = part["heading"]
            continue
        line = text.count("\n", 0, part.start()) + 1
        language, _, role = part["info"].partition(" ")
        found.append(Block(document, section, line, language, role.strip(), part["text"]))
    return found


BLOCKS = [block for document in PAGES for block in _blocks_of(document)]
"""All blocks of all pages, in their order."""


@dataclass(frozen=True)
class Example:
    """Blocks of a section: settings of a load, its input, its results."""

    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        return f"{self.blocks[0].document.name}: {self.blocks[0].section}, {self.blocks[0].line}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, those of several blocks together."""
        settings: dict[str, Any] = {}
        for block in self.blocks:
            if block.info == "yaml":
                settings |= yaml.safe_load(block.text)
        return settings

    @property
    def records(self) -> dict[str, list[dict[str, Any]]]:
        """The input: stream name to records."""
        found: dict[str, list[dict[str, Any]]] = {}
        for block in self.blocks:
            if block.info == "json records":
                found |= json.loads(block.text)
            elif block.info == "json":
                # A record and its request, of the one stream there is or of the last one mapped.
                *_, stream = self.settings["streams"]
                found[stream] = [json.loads(block.text)["record"]]
        return found

    @property
    def results(self) -> list[Block]:
        """What is to be looked at after the load, in order."""
        return [block for block in self.blocks if block.info not in _INPUT]


def examples(blocks: list[Block]) -> list[Example]:
    """What there is to load: settings and input, with what follows them in their section."""
    found = []
    for _, section in groupby(blocks, key=lambda block: (block.document, block.section)):
        parts: list[list[Block]] = [[]]
        for block in section:
            begun = any(one.info in _INPUT for one in parts[-1])
            if block.info == "yaml" and begun and parts[-1][-1].info not in _INPUT:
                parts.append([])
            parts[-1].append(block)
        found += [Example(tuple(p)) for p in parts if any(b.info in _INPUT for b in p)]
    return found
