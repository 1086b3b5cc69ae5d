"""The example data and its configuration."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from tests.ecosystem.project import ROOT, loader

EXAMPLES = ROOT / "examples"


def test_the_generator_writes_the_committed_files(tmp_path: Path) -> None:
    runpy.run_path(str(EXAMPLES / "generate.py"))["main"](tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in EXAMPLES.glob("*.jsonl")}


def test_the_mapping_is_the_same_with_and_without_meltano() -> None:
    plain = json.loads((EXAMPLES / "config.json").read_text())["streams"]
    globs = loader()["config"]["streams"]
    assert plain == {name.lstrip("*"): mapping for name, mapping in globs.items()}
