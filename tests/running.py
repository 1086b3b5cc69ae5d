"""Runs the operator's commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import executable
from tests.conftest import KEY, Outcome


def command(
    directory: Path,
    config: dict[str, Any],
    *arguments: str,
    text: str = "",
    timeout: float = 60,
    start: bool = False,
) -> Outcome:
    """Run a command; its second argument on follow `--config`.

    Args:
        directory: Where the configuration file goes, and where the command runs.
        config: The configuration.
        arguments: The command's name, then its options.
        text: Its standard input.
        timeout: Seconds that it may take.
        start: Whether to start the executable, as users do; without it the command runs in a fork.
    """
    path = directory / "command.json"
    path.write_text(json.dumps(config))
    name, *options = arguments
    done = (executable.start if start else executable.fork)(
        [name, "--config", str(path), *options], text.encode(), directory=directory, timeout=timeout
    )
    output_dir = directory / config.get("output_dir", "output/target-fullstory")
    outcome = Outcome(done.returncode, done.stdout, done.stderr, output_dir)
    assert KEY not in outcome.stdout + outcome.stderr
    return outcome


def check_refused(done: Outcome, *told: str) -> None:
    """It ended with exit code 1 and one error line that tells so much; nothing was printed."""
    assert done.code == 1, done.stderr
    (line,) = done.error_lines
    for part in told:
        assert part in line
    assert done.stdout == ""
