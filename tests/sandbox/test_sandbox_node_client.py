"""Fullstory's own Node client works with the sandbox as it does with Fullstory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = "@fullstory/server-api-client"
VERSION = "1.1.0"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node or npm is not installed"
)


@pytest.fixture(scope="module")
def installed_client(pytestconfig):
    """The directory the client is installed in; kept between runs."""
    directory = Path(pytestconfig.cache.mkdir(f"fullstory-node-client-{VERSION}"))
    if not (directory / "node_modules" / CLIENT / "package.json").exists():
        options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(
            ["npm", "install", "--prefix", str(directory), *options, f"{CLIENT}@{VERSION}"],
            check=True,
            capture_output=True,
            timeout=120,
        )
    return directory


def test_the_node_client_creates_reads_lists_updates_deletes_and_imports(api, installed_client):
    script = Path(__file__).with_name("node_client.mjs")
    # The client heeds another host only where it is told that it is under test.
    environment = {**os.environ, "NODE_ENV": "test", "FS_API_HOST": api.url}
    result = subprocess.run(
        ["node", str(script), str(installed_client)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["sameId"] is True
    user = report["user"]
    assert (user["uid"], user["display_name"], user["email"]) == ("n1", "Ann", "n1@example.com")
    assert user["properties"] == {"plan": "pro", "seats": 3}
    assert user["schema"] == {"properties": {"plan": "str", "seats": "real"}}
    assert [listed["uid"] for listed in report["listed"]["results"]] == ["n1"]
    assert report["good"]["status"] == "COMPLETED"
    assert [user["uid"] for user in report["good"]["imports"]] == [f"b{n}" for n in range(7)]
    assert all(user["id"] for user in report["good"]["imports"])
    assert report["mixed"]["status"] == "FAILED"
    [failed] = report["mixed"]["failed"]
    assert (failed["code"], failed["user"]) == ("value_too_long", {"uid": "x" * 257})
    assert report["event"] == {}
    assert len(report["events"]["imports"]) == 2
    assert report["deleted"] == {}
    assert "404" in report["gone"]["text"]
    assert api.get("/sandbox/events")["total"] == 0
    assert api.get("/sandbox/stats")["users"] == 7
    sources = {entry["integration_source"] for entry in api.get("/sandbox/requests")["results"]}
    assert sources == {"node-client-test"}
