"""Finds the block that a load has left: in a STATE, in what Meltano prints of one, in a run report."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from target_fullstory.api.responses import json_object
from target_fullstory.errors import InputError
from target_fullstory.settings.model import Settings


def read_block(path: str | None, settings: Settings) -> dict[str, Any]:
    """The block in a file, in standard input (`-`), or in the latest run report in `output_dir` (None).

    Understood are a STATE's value, a STATE message, the lines that a target prints (the last one counts),
    what `meltano state get` prints, and a run report.
    """
    if path == "-":
        return _find(sys.stdin.buffer.read(), "standard input", settings.state_key)
    file = _latest_report(settings.output_dir) if path is None else Path(path)
    return _find(file.read_bytes(), path or str(file), settings.state_key)


def _latest_report(output_dir: str) -> Path:
    # A run's id begins with the time of its start; within a second the file's own time decides.
    found = [
        (path.name.split("-")[1], path.stat().st_mtime, path)
        for path in Path(output_dir).glob("run-*-*.json")
    ]
    if not found:
        raise InputError(
            f"There is no run report in {output_dir} (output_dir). Load something first, or give a STATE "
            "with --state."
        )
    return max(found)[2]


def _find(content: bytes, name: str, state_key: str | None) -> dict[str, Any]:
    # Editors and shells on Windows begin a file so.
    content = content.removeprefix(BOM_UTF8).strip()
    if not content:
        raise InputError(f"What {name} holds is empty: the load wrote no STATE, or it was not saved.")
    document = json_object(content) or json_object(content.splitlines()[-1])
    if document is None:
        raise InputError(
            f"What {name} holds is not a STATE: neither JSON nor lines of it. Give what a load prints, "
            "or what `meltano state get` does."
        )
    if document.get("type") == "STATE" and isinstance(document.get("value"), dict):
        document = document["value"]
    if isinstance(document.get("singer_state"), dict):
        document = document["singer_state"]
    block = document.get(state_key) if state_key is not None else None
    block = document if block is None else block
    if not isinstance(block, dict) or not isinstance(block.get("jobs"), list):
        key = "state_key is not set" if state_key is None else f"state_key {state_key!r}"
        raise InputError(
            f"What {name} holds has no block of this target ({key}). Check the setting state_key, and "
            "that the load was this target's."
        )
    return block
