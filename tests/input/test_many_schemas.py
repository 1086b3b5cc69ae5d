"""SCHEMA messages by the thousand: a stream's are not kept once another has come."""

from __future__ import annotations

import gc
from pathlib import Path

from target_fullstory.sink import FullstorySink
from target_fullstory.target import TargetFullstory
from tests.conftest import schema


def test_a_sink_that_another_replaces_is_let_go(tmp_path: Path) -> None:
    source = tmp_path / "input"
    columns = ({"uid": "string", f"column_{n % 2}": "string"} for n in range(50))
    source.write_text("".join(schema("users", one, ["uid"]) + "\n" for one in columns))
    config = {"api_key": "k", "api_url": "http://127.0.0.1:1", "output_dir": str(tmp_path)}
    target = TargetFullstory(config=config)
    with source.open() as lines:
        target.listen(lines)
    gc.collect()
    sinks = [one for one in gc.get_objects() if isinstance(one, FullstorySink) and one.run is target.run]
    assert len(sinks) <= 2
