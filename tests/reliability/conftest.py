"""Runs in this directory start from a process that has imported the target already: there are many."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.cli import main
from tests.conftest import Outcome

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["target_fullstory.cli"])


def _command_line(config: str, files: tuple[str, str, str]) -> None:
    """The executable's `main` in a process of its own, its three standard streams on files."""
    modes = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for number, (path, mode) in enumerate(zip(files, modes, strict=True)):
        os.dup2(os.open(path, mode, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
    )
    sys.argv = ["target-fullstory", "--config", config]
    main()


@pytest.fixture
def run_target(tmp_path: Path, config: dict[str, Any]) -> Callable[..., Outcome]:
    """Runs the target on lines of input; keywords are settings."""

    def run(lines: list[str] | bytes, *, timeout: float = 60, **settings: Any) -> Outcome:
        full = config | settings
        directory = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        directory.mkdir()
        data = lines if isinstance(lines, bytes) else "".join(f"{li}\n" for li in lines).encode()
        (directory / "config.json").write_text(json.dumps(full))
        (directory / "in").write_bytes(data)
        files = (str(directory / "in"), str(directory / "out"), str(directory / "err"))
        process = _FORKS.Process(target=_command_line, args=(str(directory / "config.json"), files))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired("target-fullstory", timeout)
        out, err = ((directory / name).read_text() for name in ("out", "err"))
        assert process.exitcode is not None
        outcome = Outcome(process.exitcode, out, err, Path(full["output_dir"]))
        assert "Traceback" not in outcome.stderr, outcome.stderr
        return outcome

    return run
