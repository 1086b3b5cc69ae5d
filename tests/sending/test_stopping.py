"""A signal while a batch is sent in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from target_fullstory import load as load_module
from target_fullstory.api.responses import Response
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
