"""The Makefile on a machine without a usable Python."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.ecosystem.project import ROOT, Project


def test_an_old_python_is_refused_clearly(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = Project(tmp_path).run(str(tools / "make"), "install", code=2, PATH=str(tools))
    assert "Python 3.10 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()
