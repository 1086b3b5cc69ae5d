"""CONTRIBUTING.md draws a map of the package; here it is held against the tree."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "target_fullstory"
MODULES = [path for path in PACKAGE.rglob("*.py") if path.stem not in ("__init__", "__main__")]
ROW = re.compile(r"^\| `(?P<room>[a-z_]+)(?:/|\.py)` \|[^|]*\| (?P<imports>[^|]*) \|$", re.MULTILINE)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a module imports from, imports under TYPE_CHECKING and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == PACKAGE.name and rest:
                found.add(rest.split(".")[0])
    return (found & rooms()) - {room_of(path)}


def rooms() -> set[str]:
    return {room_of(path) for path in MODULES}


@pytest.fixture(scope="module")
def drawn() -> dict[str, set[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return {row["room"]: set(re.findall(r"`([a-z_]+)`", row["imports"])) for row in ROW.finditer(text)}


def test_every_room_is_drawn_and_nothing_else(drawn):
    assert set(drawn) == rooms()


def test_each_room_imports_what_the_map_says(drawn):
    actual = defaultdict(set)
    for path in MODULES:
        actual[room_of(path)] |= rooms_imported(path)
    assert drawn == {room: actual[room] for room in drawn}


def test_a_file_name_stands_once():
    names = defaultdict(list)
    for path in MODULES:
        names[path.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in names.items() if len(found) > 1} == {}


def test_no_module_is_longer_than_350_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_no_constructor_takes_more_than_six_arguments():
    long = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                taken = node.args
                count = len(taken.posonlyargs + taken.args + taken.kwonlyargs) - 1
                if count > 6:
                    long[f"{path.name}:{node.lineno}"] = count
    assert long == {}


def test_the_files_that_the_map_sends_to_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## The map of the house")[2]
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))
    assert "api/retry.py" in named
    assert [name for name in named if not (PACKAGE / name).exists()] == []
