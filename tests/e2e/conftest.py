"""One walk for all tests in this directory: they are its steps, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.contents import Expected
from tests.e2e.postgres import running_postgres
from tests.e2e.walk import Walk, running_sandbox
from tests.ecosystem.project import Project


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A project, a database server and a sandbox."""
    project = Project.copy_to(tmp_path_factory.mktemp("e2e") / "project")
    database = project.path / "output/target-fullstory/sandbox.db"
    with running_postgres() as postgres, running_sandbox(database) as api:
        yield Walk(project, postgres, api, database)


@pytest.fixture(scope="session")
def expected() -> Expected:
    """What Fullstory has to hold, step by step."""
    return Expected()
