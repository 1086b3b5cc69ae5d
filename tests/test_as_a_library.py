"""The target used from Python, as singer-sdk's users do."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from target_fullstory.errors import InputError
from target_fullstory.sandbox import Sandbox
from target_fullstory.target import TargetFullstory
from tests.conftest import USERS, SandboxApi, state, user


@pytest.fixture
def target(config: dict[str, Any], sandbox: Sandbox) -> TargetFullstory:
    return TargetFullstory(config=config | {"api_url": sandbox.url})


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def users(api: SandboxApi) -> int:
    return int(api.get("/v2/users")["total_records"])


def test_a_stream_in_memory(target: TargetFullstory, api: SandboxApi, capsys: Any) -> None:
    target.listen(io.StringIO(text(USERS, user(1), user(2), state(n=1))))
    assert users(api) == 2
    assert '"n": 1' in capsys.readouterr().out


def test_a_file_that_was_read_from_goes_on_where_it_is(
    target: TargetFullstory, api: SandboxApi, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_text(text("a header line", USERS, user(1), state(n=1)))
    with path.open(encoding="utf-8") as file:
        file.readline()
        target.listen(file)
    assert users(api) == 1


def test_a_stream_that_decompresses(target: TargetFullstory, api: SandboxApi, tmp_path: Path) -> None:
    path = tmp_path / "input.gz"
    path.write_bytes(gzip.compress(text(USERS, user(1), state(n=1)).encode()))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        target.listen(file)  # type: ignore[arg-type]
    assert users(api) == 1


def test_an_error_ends_the_run_in_order(target: TargetFullstory, api: SandboxApi, capsys: Any) -> None:
    with pytest.raises(InputError, match="Line 4"):
        target.listen(io.StringIO(text(USERS, user(1), state(n=1), "oops")))
    assert users(api) == 1
    assert '"n": 1' in capsys.readouterr().out
