"""Lets days pass for a snapshot: what it knows was entered so many days earlier."""

from __future__ import annotations

import json
from pathlib import Path

import lmdb

from target_fullstory.snapshot.store import DAY_BYTES, WIDTHS

_TABLES = {table[:1].encode(): width for table, width in WIDTHS.items()}


def let_days_pass(snapshot_path: Path, days: int) -> None:
    for path in snapshot_path.glob("*.mdb"):
        with lmdb.open(str(path), subdir=False, map_size=1 << 30) as file, file.begin(write=True) as writing:
            for key, value in list(writing.cursor()):
                if key == b"about":
                    writing.put(key, _about(value, days))
                else:
                    writing.put(key, _rows(value, _TABLES[key[:1]], days))
        # Its bytes are not those that the last run has left, and a run would take them for damaged.
        path.with_name(f"{path.name}.xxh3").unlink(missing_ok=True)


def _about(value: bytes, days: int) -> bytes:
    about = json.loads(value)
    for facts in about["streams"].values():
        facts["first_day"] = facts["first_day"] and facts["first_day"] - days
    return json.dumps(about).encode()


def _rows(value: bytes, width: int, days: int) -> bytes:
    rows = bytearray(value)
    for end in range(width, len(rows) + 1, width):
        day = int.from_bytes(rows[end - DAY_BYTES : end], "big")
        rows[end - DAY_BYTES : end] = (day - days).to_bytes(DAY_BYTES, "big")
    return bytes(rows)
