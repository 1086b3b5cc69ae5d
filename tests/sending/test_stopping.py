"""Runs that end while something waits: a part of a batch, or a look at an earlier run's job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from target_fullstory import load as load_module
from target_fullstory.accounting.rejects import Rejects
from target_fullstory.api.responses import Response
from target_fullstory.errors import KeyRefusedError, OutputError
from target_fullstory.load import Load
from target_fullstory.mapping import Chunk
from target_fullstory.settings.model import Settings


class Server:
    """Refuses a batch of two; its jobs never end. Interrupts the run when a part has to wait for one."""

    run: Load

    def __call__(self, settings: Any, url: str) -> Server:
        return self

    def close(self) -> None:
        """Nothing is open."""

    def call(self, method: str, path: str, body: Any = None, **_: Any) -> Response:
        if method == "GET":
            return Response(200, {"job": {"status": "PROCESSING"}})
        if len(body.requests()) > 1:
            return Response(400, {"code": "bad", "message": "bad"})
        self.run.interrupted = True
        self.run._in_flight.give_up_in(0.2)
        return Response(200, {"job": {"id": "1"}})


def test_a_part_that_waits_at_the_end_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(load_module, "Client", server)
    settings = Settings(
        api_key="k", output_dir=str(tmp_path), delivery="batch", max_jobs_in_progress=1, wait_for_jobs=False
    )
    server.run = run = Load(settings, {})
    run.open_stream("users", "users")
    run.add("users", Chunk("users", [{"uid": "a"}, {"uid": "b"}], ["a", "b"], timed=False))
    run.end()
    totals = run.ledger.totals()
    assert (totals.received, totals.delivered) == (2, 1)


class RefusingServer(Server):
    """Refuses the key."""

    def call(self, method: str, path: str, body: Any = None, **_: Any) -> Response:
        raise KeyRefusedError("no")


def test_nobody_waits_for_a_left_job_whose_reject_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(load_module, "Client", RefusingServer())
    monkeypatch.setattr(Rejects, "write", refuse)
    settings = Settings(api_key="k", output_dir=str(tmp_path))
    job = {"id": "j", "kind": "users", "stream": "users", "api_url": settings.api_url}
    line = json.dumps(job | {"since": "2026-01-01T00:00:00Z"})
    (tmp_path / "jobs-20260101T000000Z-00000000.jsonl").write_text(f"{line}\n")
    run = Load(settings, {})
    # Were nobody told of the error, the wait would end without one.
    run._in_flight.give_up_in(5)
    with pytest.raises(OutputError, match="disk is full"):
        run.end()
